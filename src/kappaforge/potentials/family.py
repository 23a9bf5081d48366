"""What lies beside a model file: the committee it belongs to, and the labels all of them have learned from."""

from __future__ import annotations

from pathlib import Path

from kappaforge.errors import InputError
from kappaforge.potentials.allegro_model import AllegroModel
from kappaforge.potentials.model_file import read_model, write_model


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
    found = sorted(model.parent.glob(f"{model.stem}-committee-*.safetensors"))
    expected = [member_file(model, number) for number in range(len(found))]
    if missing := sorted(set(expected) - set(found)):
        raise InputError(f"committee of {model}: {missing[0].name} is missing; copy it again")
    members = tuple(read_model(path) for path in expected)
    for path, member in zip(expected, members, strict=True):
        if member.elements != members[0].elements:
            raise InputError(f"committee of {model}: {path.name} knows other elements than the first member")
    return members


def write_committee(model: Path, members: tuple[AllegroModel, ...]) -> list[Path]:
    """Write the members beside a model file and return their paths."""
    paths = [member_file(model, number) for number in range(len(members))]
    for path, member in zip(paths, members, strict=True):
        write_model(member, path)
    return paths


def member_file(model: Path, number: int) -> Path:
    """Where a member of a model's committee lies."""
    return model.with_name(f"{model.stem}-committee-{number}.safetensors")
