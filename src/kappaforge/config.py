"""The settings of a campaign: one TOML file, typed, with errors that name the key."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from kappaforge.dataset.settings import DatasetSettings
from kappaforge.describe.settings import DescribeSettings
from kappaforge.engine.settings import EngineSettings
from kappaforge.errors import InputError, suggestion
from kappaforge.generate.settings import GenerateSettings
from kappaforge.label.settings import NO_LABELER, LabelSettings
from kappaforge.learn.settings import LearnSettings
from kappaforge.potentials.allegro_settings import TrainingSettings
from kappaforge.potentials.settings import PotentialSettings
from kappaforge.relax.settings import RelaxSettings
from kappaforge.screen.settings import ScreenSettings
from kappaforge.select.settings import SelectSettings
from kappaforge.transport.best_settings import BestSettings
from kappaforge.transport.error_settings import ErrorBarSettings
from kappaforge.transport.settings import KappaSettings


class CampaignSettings(BaseModel):
    """Everything that decides a campaign's result, one table of the TOML file for each step."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = "campaign"
    seed: int = Field(default=0, ge=0)
    dataset: DatasetSettings = DatasetSettings()
    generate: GenerateSettings = GenerateSettings()
    potential: PotentialSettings = PotentialSettings()
    relax: RelaxSettings = RelaxSettings()
    screen: ScreenSettings = ScreenSettings()
    describe: DescribeSettings = DescribeSettings()
    select: SelectSettings = SelectSettings()
    label: LabelSettings = LabelSettings(labeler=NO_LABELER)
    learn: LearnSettings = LearnSettings()
    training: TrainingSettings = TrainingSettings()
    kappa: KappaSettings = KappaSettings()
    error_bar: ErrorBarSettings = ErrorBarSettings()
    best: BestSettings = BestSettings()
    engine: EngineSettings = EngineSettings()

    @model_validator(mode="after")
    def _check_rest(self) -> CampaignSettings:
        if self.select.rest and self.kappa.method == "paper":
            raise InputError(
                '[select] rest: the ladder needs [kappa] method = "converged", as the paper\'s has one rung'
            )
        return self


def load_campaign(path: Path) -> CampaignSettings:
    """Read a campaign's TOML file.

    Raises
    ------
    InputError
        For a missing file, text that is not TOML, an unknown key or a value of the wrong type or range.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; make a run folder with: kappaforge init {path.parent}") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); make it a file that you may read") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not valid TOML: {error}") from None
    try:
        return CampaignSettings.model_validate(values)
    except ValidationError as error:
        raise InputError(f"{path}: {_explain(error)}") from None
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _explain(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    *table, key = (str(part) for part in first["loc"])
    where = f"[{'.'.join(table)}] " if table else ""
    if first["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        return f"{where}unknown key {key!r}{suggestion(key, _known_keys(table))}"
    return f"{where}{key}: {first['msg'][0].lower()}{first['msg'][1:]}, got {first['input']!r}"


def _known_keys(table: list[str]) -> list[str]:
    if not table:
        return list(CampaignSettings.model_fields)
    settings: Any = CampaignSettings.model_fields[table[0]].annotation
    for name in table[1:]:
        if get_origin(settings) is Mapping:  # of tables whose names are free
            settings = get_args(settings)[1]
            continue
        hints = get_type_hints(settings) if is_dataclass(settings) else {}
        settings = hints.get(name)
    if get_origin(settings) is Mapping:
        return []
    return [field.name for field in fields(settings)] if is_dataclass(settings) else []
