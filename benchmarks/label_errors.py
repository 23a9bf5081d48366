"""Errors of a potential against DFT labels."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from ase.data import chemical_symbols

from kappaforge.crystal import Crystal
from kappaforge.label.base import Label
from kappaforge.potentials.base import Batch, Potential

CRYSTALS_PER_BATCH = 64


def errors(potential: Potential, labels: Sequence[Label], *, shifted: bool) -> dict[str, Any]:
    """Return energy and force errors of each kind of label; the kind is the first word of the crystal's source.

    Parameters
    ----------
    shifted
        Take the constant per element out of the energies that makes their squared errors smallest: what the zeros of
        two engines differ by. A model of the labels' own engine must be right without.

    Returns
    -------
    dict
        ``shift_ev_per_atom`` by element, and by kind, with ``all`` last: labels, energy MAE (meV/atom), force RMSE of
        the components (meV/Å), and that relative to the RMS of the forces (%).
    """
    energies, forces = _predictions(potential, [label.crystal for label in labels])
    wanted = np.array([label.energy_ev for label in labels], dtype=float)
    elements = sorted({number for label in labels for number in label.crystal.numbers.tolist()})
    counts = np.array([[(label.crystal.numbers == element).sum() for element in elements] for label in labels])
    shift = np.zeros(len(elements))
    if shifted:
        n_atoms = counts.sum(axis=1)
        finite = np.isfinite(energies)
        per_atom = (wanted - energies) / n_atoms
        shift = np.linalg.lstsq((counts / n_atoms[:, None])[finite], per_atom[finite])[0]
    energy_errors = (energies + counts @ shift - wanted) / counts.sum(axis=1)
    kinds = [label.crystal.source.split(" ")[0] for label in labels]
    answer: dict[str, Any] = {
        "shift_ev_per_atom": {
            chemical_symbols[element]: float(each) for element, each in zip(elements, shift, strict=True)
        }
    }
    for kind in (*sorted(set(kinds)), "all"):
        members = [index for index, each in enumerate(kinds) if kind in (each, "all")]
        ours = np.concatenate([forces[index] for index in members])
        theirs = np.concatenate([labels[index].forces_ev_per_ang for index in members])
        rmse = np.sqrt(((ours - theirs) ** 2).mean())
        answer[kind] = {
            "labels": len(members),
            "energy_mae_mev_per_atom": float(np.abs(energy_errors[members]).mean() * 1e3),
            "force_rmse_mev_per_ang": float(rmse * 1e3),
            "force_rmse_percent": float(100 * rmse / np.sqrt((theirs**2).mean())),
        }
    return answer


def digest(labels: Sequence[Label]) -> str:
    """Hash of which crystals are labelled and by what (hex); empty without labels."""
    content = "".join(f"{label.crystal.digest} {label.engine}" for label in labels)
    return hashlib.sha256(content.encode()).hexdigest() if labels else ""


def _predictions(potential: Potential, crystals: Sequence[Crystal]) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return energies, eV, and the forces of each crystal, eV/Å."""
    energies: list[np.ndarray] = []
    forces: list[np.ndarray] = []
    for start in range(0, len(crystals), CRYSTALS_PER_BATCH):
        batch = Batch.of(crystals[start : start + CRYSTALS_PER_BATCH])
        prediction = potential.compute(batch)
        energies.append(prediction.energies_ev)
        forces += [prediction.forces_ev_per_ang[rows] for rows in batch.slices]
    return np.concatenate(energies), forces
