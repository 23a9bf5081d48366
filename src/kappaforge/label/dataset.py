"""Labelled crystals in files: extended XYZ with everything that is needed to trust and to mix them."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ase.calculators.singlepoint import SinglePointCalculator

from kappaforge.crystal import Crystal
from kappaforge.errors import InputError
from kappaforge.extxyz import exact_extxyz, read_frames
from kappaforge.files import write_text
from kappaforge.label.base import Label


def write_labels(labels: Sequence[Label], path: Path) -> None:
    """Write labels as extended XYZ (gzip where the name ends in ``.gz``), in ASE's keys and units; atomic.

    Raises
    ------
    InputError
        Where the labels are of different engines.
    """
    same_engine(labels)
    frames = []
    for label in labels:
        atoms = label.crystal.to_ase()
        stress = {} if label.stress_ev_per_ang3 is None else {"stress": label.stress_ev_per_ang3}
        atoms.calc = SinglePointCalculator(atoms, energy=label.energy_ev, forces=label.forces_ev_per_ang, **stress)
        known = {"id": label.id, "source": label.crystal.source, "parents": " ".join(label.crystal.parents)}
        atoms.info |= {key: text for key, text in known.items() if text}  # ASE cannot read an empty text back
        atoms.info |= {"engine": label.engine, "seconds": round(label.seconds, 1)}
        frames.append(atoms)
    write_text(path, exact_extxyz(frames))


def read_labels(path: Path) -> list[Label]:
    """Read what `write_labels` wrote.

    Raises
    ------
    InputError
        For a file that cannot be read or is empty, frames without energy, forces or engine, or labels of different
        engines.
    """
    try:
        data = path.read_bytes()
        text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode()
        frames = read_frames(text)
    except FileNotFoundError:
        raise InputError(f"{path} does not exist") from None
    except Exception as error:  # a damaged file fails in as many ways as there are places to damage it
        raise InputError(f"{path} is not readable as labelled extended XYZ: {error}") from None
    if not frames:
        raise InputError(f"{path} holds no labels; make some with kappaforge label")
    labels = []
    for index, atoms in enumerate(frames):
        results = atoms.calc.results if atoms.calc else {}
        if "energy" not in results or "forces" not in results or "engine" not in atoms.info:
            raise InputError(f"{path}: frame {index} lacks energy, forces or engine; label it with kappaforge label")
        crystal = Crystal.from_ase(
            atoms,
            id=str(atoms.info.get("id", f"{path.stem}-{index}")),
            source=str(atoms.info.get("source", path.name)),
            parents=tuple(str(atoms.info.get("parents", "")).split()),
        )
        labels.append(
            Label(
                id=crystal.id,
                crystal=crystal,
                engine=str(atoms.info["engine"]),
                energy_ev=float(results["energy"]),
                forces_ev_per_ang=np.array(results["forces"]),
                stress_ev_per_ang3=atoms.get_stress(voigt=False) if "stress" in results else None,
                seconds=float(atoms.info.get("seconds", 0.0)),
            )
        )
    same_engine(labels)
    return labels


def same_engine(labels: Sequence[Label]) -> str:
    """Return the engine of all labels; raises `InputError` where there are several: their energies do not compare."""
    engines = sorted({label.engine for label in labels})
    if len(engines) > 1:
        raise InputError(f"labels of different engines cannot be mixed: {engines[0]!r} and {engines[1]!r}")
    return engines[0] if engines else ""
