"""The documentation builds without a warning, and leads nowhere that is not there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")  # among Sphinx, MyST and napoleon
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("training/**/*.md")])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built pages; a warning is an error, as in `make docs`."""
    build = pytest.importorskip("sphinx.cmd.build", reason="Sphinx is not installed: pip install 'kappaforge[docs]'")
    folder = tmp_path_factory.mktemp("site")
    told = ["-W", "--keep-going", "-q", "-b", "html", "-d", str(folder / "doctrees"), str(ROOT / "docs"), str(folder)]
    assert build.main(told) == 0, "Sphinx warned: see above"
    return folder


def test_site_has_every_page_every_command_and_the_docstrings(site: Path) -> None:
    for page in ROOT.glob("docs/**/*.md"):
        assert (site / page.relative_to(ROOT / "docs")).with_suffix(".html").stat().st_size > 5_000
    commands = (site / "commands.html").read_text()
    for option in ("evaluate-generator", "--committee", "--fc3-distance", "vasp write"):
        assert option in commands
    api = (site / "api.html").read_text()
    assert "Compute the lattice thermal conductivity of a crystal" in api
    assert "stresses_ev_per_ang3" in api
    assert "fc3_face_distance_ang" in (site / "settings.html").read_text()


def test_site_needs_no_network(site: Path) -> None:
    for page in site.rglob("*.html"):
        loads = re.findall(r"<(?:script|img|link)[^>]+(?:src|href)=\"(https?:[^\"]+)", page.read_text())
        assert loads == [], f"{page.name} loads from elsewhere"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_between_files_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if not re.match(r"https?:|#", target):
            file, _, _ = target.partition("#")
            assert (page.parent / file).exists(), f"{target} is not there"
