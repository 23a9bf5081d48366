from pathlib import Path

import pytest

from kappaforge.config import CampaignSettings, load_campaign
from kappaforge.errors import InputError

TEMPLATES = Path(__file__).parents[1] / "src/kappaforge/cli/templates"


def refusal(tmp_path: Path, text: str) -> str:
    path = tmp_path / "campaign.toml"
    path.write_text(text)
    with pytest.raises(InputError) as error:
        load_campaign(path)
    message = str(error.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    return message


@pytest.mark.parametrize("template", sorted(TEMPLATES.glob("*.toml")), ids=lambda path: path.stem)
def test_every_template_is_valid(template: Path) -> None:
    assert load_campaign(template).name


def test_carbon_template_has_the_papers_settings_but_for_kappa() -> None:
    settings = load_campaign(TEMPLATES / "carbon.toml")
    assert (settings.screen.ltol, settings.screen.stol, settings.screen.angle_tol_deg) == (0.2, 0.3, 5.0)
    assert (settings.screen.max_atoms, settings.screen.min_symmetry_operations) == (12, 4)
    assert (settings.select.benchmarks, settings.select.neighbours) == (50, 10)
    assert settings.kappa == CampaignSettings().kappa
    assert settings.kappa.method == "converged"


def test_empty_file_gives_the_defaults(tmp_path: Path) -> None:
    path = tmp_path / "campaign.toml"
    path.write_text("")
    assert load_campaign(path) == CampaignSettings()


def test_unknown_key_is_refused_with_a_suggestion(tmp_path: Path) -> None:
    message = refusal(tmp_path, "[kappa.paper]\nsupercel = [3,3,3]")
    assert "[kappa.paper] unknown key 'supercel' (did you mean 'supercell'?)" in message
    message = refusal(tmp_path, "[kapa]\nsupercell = [3,3,3]")
    assert "unknown key 'kapa' (did you mean 'kappa'?)" in message


def test_wrong_type_names_table_and_key(tmp_path: Path) -> None:
    message = refusal(tmp_path, "[screen]\nmax_atoms = 'many'")
    assert "[screen] max_atoms: " in message
    assert "got 'many'" in message


def test_wrong_range_and_wrong_toml_are_refused(tmp_path: Path) -> None:
    assert "workers" in refusal(tmp_path, "[engine]\nworkers = -1")
    assert "not valid TOML" in refusal(tmp_path, "[engine\n")
    assert "seed" in refusal(tmp_path, "seed = -3")
    with pytest.raises(InputError, match="kappaforge init"):
        load_campaign(tmp_path / "nothing" / "campaign.toml")
