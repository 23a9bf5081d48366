"""README's picture and table of the demo are those of a run; CITATION tells what is true."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from ruamel.yaml import YAML

import kappaforge

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "tools"))

import readme_demo  # noqa: E402  it stands beside no package


def test_readme_shows_the_committed_run_and_nothing_typed() -> None:
    readme = readme_demo.README.read_text(encoding="utf-8")
    assert readme_demo.replaced(readme, readme_demo.block(json.loads(readme_demo.DATA.read_text()))) == readme
    assert readme_demo.MAP.relative_to(ROOT).as_posix() in readme
    assert readme_demo.MAP.stat().st_size <= 150_000
    width, height = Image.open(readme_demo.MAP).size
    assert width >= 800
    assert height >= 600


def test_mark_that_is_lost_is_noticed() -> None:
    with pytest.raises(ValueError, match="has lost one of its marks"):
        readme_demo.replaced("# kappaforge", "text")


@pytest.mark.slow  # four minutes: the demo itself
def test_demo_gives_what_readme_shows(tmp_path: Path) -> None:
    run, command = tmp_path / "demo", [sys.executable, "-c", "from kappaforge.cli.main import main; main()"]
    for arguments in (["init", run, "--template", "demo", "--keep"], ["run", run]):
        subprocess.run([*command, *map(str, arguments)], check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    shown, found = json.loads(readme_demo.DATA.read_text()), readme_demo.facts(run)
    assert found["counts"] == shown["counts"]
    kappas = [{each["id"]: each["kappa_rta_w_per_mk"] for each in demo["crystals"]} for demo in (shown, found)]
    assert kappas[0].keys() == kappas[1].keys()
    for name, kappa in kappas[0].items():
        other = kappas[1][name]
        assert (kappa is None) == (other is None)
        if kappa is not None:  # other processors round otherwise
            assert other == pytest.approx(kappa, rel=0.02, abs=1.0), name


def test_citation_is_of_this_version_and_of_the_paper() -> None:
    citation = YAML(typ="safe").load(ROOT / "CITATION.cff")
    assert citation["version"] == kappaforge.__version__
    assert citation["license"] == "Apache-2.0"
    dois = [reference["doi"] for reference in citation["references"]]
    assert re.search(r"10\.1038/[\w-]+", (ROOT / "README.md").read_text()).group() == dois[0]
    assert all(reference["authors"] and reference["title"] for reference in citation["references"])
