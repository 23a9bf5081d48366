"""Models that go on learning: where they begin, and the committee and labels that lie beside a model file."""

from __future__ import annotations

from pathlib import Path

from kappaforge.errors import InputError, suggestion
from kappaforge.potentials.allegro import AllegroPotential
from kappaforge.potentials.allegro_model import AllegroModel
from kappaforge.potentials.allegro_settings import PRESETS, AllegroSettings
from kappaforge.potentials.model_file import read_model, write_model
from kappaforge.potentials.registry import committee_files, load, member_file


def allegro_start(name: str, preset: str) -> AllegroModel | AllegroSettings:
    """Return the model of that name, to go on from, or where the name is empty the shape of a new one.

    Raises
    ------
    InputError
        For an unknown preset, or a potential that is not an Allegro model.
    """
    if not name:
        if preset not in PRESETS:
            raise InputError(f"unknown preset {preset!r}{suggestion(preset, PRESETS)}")
        return PRESETS[preset]
    potential = load(name)
    if not isinstance(potential, AllegroPotential):
        raise InputError(f"potential {name!r} is not an Allegro model, which alone can go on learning")
    return potential.model


def labels_file(model: Path) -> Path:
    """Where the labels of ``model.safetensors`` lie: ``model-labels.extxyz.gz``."""
    return model.with_name(f"{model.stem}-labels.extxyz.gz")


def read_committee(model: Path) -> tuple[AllegroModel, ...]:
    """Read ``model-committee-0.safetensors`` and so on; none where there are none.

    Raises
    ------
    InputError
        Where one is damaged, missing between others, or knows other elements.
    """
    files = committee_files(model)
    members = tuple(read_model(path) for path in files)
    for path, member in zip(files, members, strict=True):
        if member.elements != members[0].elements:
            raise InputError(f"committee of {model}: {path.name} knows other elements than the first member")
    return members


def write_committee(model: Path, members: tuple[AllegroModel, ...]) -> list[Path]:
    """Write the members beside a model file and return their paths."""
    paths = [member_file(model, number) for number in range(len(members))]
    for path, member in zip(paths, members, strict=True):
        write_model(member, path)
    return paths
