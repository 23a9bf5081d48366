"""Potentials by name."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from pathlib import Path

from kappaforge.errors import InputError, suggestion
from kappaforge.potentials.base import Potential

_POTENTIALS = {
    "tersoff": "kappaforge.potentials.tersoff:tersoff",
    "brenner": "kappaforge.potentials.tersoff:brenner",
    "7net-0": "kappaforge.potentials.sevennet:sevennet_0",
}
"""Name → module and function that builds it; a module is imported only when its potential is asked for."""

_MODELS = Path(__file__).parent / "models"
"""Folder of the trained models that come with the package."""


def available() -> tuple[str, ...]:
    """Return the registered names; beyond them `load` takes model files and any ASE calculator."""
    return (
        *sorted(path.stem for path in _MODELS.glob("*.safetensors") if "-committee-" not in path.stem),
        *_POTENTIALS,
    )


def model_file(name: str) -> Path | None:
    """Return the file of a trained model, given by its path or by its registered name; None for other potentials."""
    if name.endswith(".safetensors"):
        return Path(name)
    return _MODELS / f"{name}.safetensors" if name in {path.stem for path in _MODELS.glob("*.safetensors")} else None


def member_file(model: Path, number: int) -> Path:
    """Return where a member of a model's committee lies: ``model-committee-0.safetensors`` and so on."""
    return model.with_name(f"{model.stem}-committee-{number}.safetensors")


def committee_files(model: Path) -> tuple[Path, ...]:
    """Return the files of the committee that lies beside a model file; none where there is none.

    Raises
    ------
    InputError
        Where one is missing between others.
    """
    found = set(model.parent.glob(f"{model.stem}-committee-*.safetensors"))
    expected = tuple(member_file(model, number) for number in range(len(found)))
    if missing := [path for path in expected if path not in found]:
        raise InputError(f"committee of {model}: {missing[0].name} is missing; copy it again")
    return expected


def committee(name: str) -> tuple[str, ...]:
    """Return the names by which `load` gives the members of a potential's committee; none for one without.

    Raises
    ------
    InputError
        Where a member is missing between others.
    """
    file = model_file(name)
    if file is None:
        return ()
    return tuple(path.stem if file.parent == _MODELS else str(path) for path in committee_files(file))


@cache
def load(name: str) -> Potential:
    """Return the potential of that name; a process loads each once.

    Parameters
    ----------
    name
        One of `available`; or the path of a trained model, ending in ``.safetensors``; or ``ase:module.path:factory``
        where calling ``factory()`` without arguments returns an ASE calculator, such as
        ``ase:ase.calculators.emt:EMT``.

    Raises
    ------
    InputError
        For an unknown name, a package that is not installed, a model file that is missing or damaged, or a factory
        that cannot be imported or called.
    """
    if file := model_file(name):
        from kappaforge.potentials.allegro import allegro  # imports torch, which takes seconds

        return allegro(name, file)
    if name.startswith("ase:"):
        from kappaforge.potentials.ase_calculator import from_import_path

        return from_import_path(name)
    if name not in _POTENTIALS:
        raise InputError(
            f"unknown potential {name!r}{suggestion(name, available())}; "
            "a trained model works as the path of its .safetensors file, "
            "any ASE calculator as 'ase:module.path:factory'"
        )
    module, function = _POTENTIALS[name].split(":")
    potential: Potential = getattr(import_module(module), function)()
    return potential
