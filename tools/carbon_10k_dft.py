"""DFT of crystals beside the potential `carbon`: lattice, energy above diamond, phonons, and κ where there are forces.

Of each crystal there is a folder: `minimum.extxyz` and `minimum.json` of `tools/dft_minimum.py`, and what
`kappaforge displace` wrote, with the forces of `kappaforge label` in `forces.extxyz`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import spglib

from kappaforge.campaign.candidate import kappa_of
from kappaforge.campaign.displaced import read_forces, read_second_order
from kappaforge.campaign.minimum import tight_minimum
from kappaforge.campaign.phonons import PhononSettings, phonons_of_forces
from kappaforge.crystal import Crystal
from kappaforge.errors import InputError
from kappaforge.files import write_text
from kappaforge.potentials.base import Potential
from kappaforge.potentials.registry import load
from kappaforge.relax.settings import RelaxSettings
from kappaforge.report.canvas import save
from kappaforge.report.phonons import dispersion_figure
from kappaforge.screen.settings import ScreenSettings
from kappaforge.transport.conductivity import conductivity_of_orders
from kappaforge.transport.record import KappaRecord
from kappaforge.transport.settings import KappaSettings

DIAMOND = "diamond"


def compare(folder: Path) -> None:
    """Compare all crystals of a folder, diamond among them, and write `dft.json` and the dispersions into it."""
    potential = load("carbon")
    found = {each.name: compared(each, potential) for each in sorted(folder.iterdir()) if each.is_dir()}
    for each in found.values():  # energies above diamond, by each
        for way in ("dft", "carbon"):
            above = each[way]["energy_ev_per_atom"] - found[DIAMOND][way]["energy_ev_per_atom"]
            each[way]["above_diamond_ev_per_atom"] = above
    write_text(folder / "dft.json", json.dumps(found, indent=1, ensure_ascii=False) + "\n")


def compared(folder: Path, potential: Potential) -> dict[str, Any]:
    """Return what DFT and the potential say of one crystal, each at its own minimum."""
    told = json.loads((folder / "minimum.json").read_text(encoding="utf-8"))
    crystal = Crystal.from_ase(ase.io.read(folder / "minimum.extxyz"), id=folder.name)
    minimum = tight_minimum(crystal, potential, RelaxSettings(), ScreenSettings())
    assert minimum.relaxation is not None, "it was relaxed"
    dft = {**told, "lattice_ang": lattice(crystal)}
    own = {"energy_ev_per_atom": minimum.relaxation.energy_ev_per_atom, "lattice_ang": lattice(minimum.crystal)}
    result: dict[str, Any] = {"n_atoms": len(crystal), "dft": dft, "carbon": own}
    try:
        result["phonons"] = phonons(folder, potential)
        primitive, second, third = read_forces(folder)
    except InputError:  # forces of this order have not been computed
        return result
    displaced, _ = read_second_order(folder)
    settings = KappaSettings(force_constants=displaced.settings)
    by_forces = conductivity_of_orders(primitive, second, third, settings, source="DFT")
    by_carbon = kappa_of(crystal, potential, RelaxSettings(), settings, ScreenSettings()).kappa
    dft["kappa"] = kappas(by_forces)
    own["kappa"] = None if by_carbon is None else kappas(by_carbon)
    return result


def phonons(folder: Path, potential: Potential) -> dict[str, Any]:
    """Draw both dispersions, in the same supercell, and return how far they are apart, THz."""
    displaced, second = read_second_order(folder)
    settings = PhononSettings(displaced.settings)
    record = phonons_of_forces(
        displaced.primitive, second, "DFT", RelaxSettings(), settings, ScreenSettings(), compared_to=potential
    )
    along, other = record.dispersion, record.comparison
    assert along is not None, "forces give phonons"
    assert other is not None, "the potential was asked"
    frequencies = {"DFT": along.frequencies_thz}
    if other.frequencies_thz is not None:
        frequencies["carbon"] = other.frequencies_thz
    figure = dispersion_figure(along.distances_per_ang, frequencies, along.segments, along.labels, along.label_rows)
    save(figure, folder.parent / f"{folder.name}-dispersion")
    apart = None if other.frequencies_thz is None else other.frequencies_thz - along.frequencies_thz
    return {
        "supercell_atoms": record.n_supercell_atoms,
        "status": record.status,
        "min_frequency_thz": record.min_frequency_thz,
        "max_frequency_thz": record.max_frequency_thz,
        "rms_difference_thz": None if apart is None else float(np.sqrt(np.mean(apart**2))),
    }


def kappas(record: KappaRecord) -> dict[str, Any]:
    """Return the eigenvalues of κ in both approximations, the largest first."""
    tensors = {"rta": record.kappa_rta_w_per_mk, "lbte": record.kappa_lbte_w_per_mk}
    known = {way: None if tensor is None else np.asarray(tensor) for way, tensor in tensors.items()}
    return {
        "status": record.status,
        **{way: None if each is None else np.linalg.eigvalsh(each)[::-1].tolist() for way, each in known.items()},
    }


def lattice(crystal: Crystal) -> list[float]:
    """Return the lengths of the conventional cell, Å."""
    cell = (crystal.cell, crystal.fractional, crystal.numbers)
    dataset = spglib.get_symmetry_dataset(cell, symprec=1e-2)
    assert dataset is not None, f"spglib finds no space group of {crystal.id}"
    return np.linalg.norm(dataset.std_lattice, axis=1).tolist()
