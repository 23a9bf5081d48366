"""κ of a crystal in words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from kappaforge.cli.terminal import out

if TYPE_CHECKING:
    from kappaforge.campaign.candidate import CandidateRecord
    from kappaforge.campaign.error_bar import ErrorBar
    from kappaforge.transport.record import KappaAt, KappaRecord


def show_candidate(record: CandidateRecord, bar: ErrorBar | None = None) -> None:
    """Print what is known of one crystal, and how sure its κ is."""
    symmetry = record.symmetry
    out.print(
        f"{record.id}  {record.crystal.formula}, space group {symmetry.space_group_symbol} "
        f"({symmetry.space_group_number}), {symmetry.n_atoms} atoms in the primitive cell",
        highlight=False,
    )
    if record.status != "ok":
        out.print(f"  no κ: {record.status}: {record.reason}", highlight=False, soft_wrap=True)
    for step in record.followed:
        out.print(f"  followed {step}", highlight=False, soft_wrap=True)
    for name, fact in _facts(record, bar):
        out.print(f"  {name:<20} {fact}", highlight=False, soft_wrap=True)
    out.print()


def kappa_details(record: CandidateRecord, bar: ErrorBar | None = None) -> dict[str, Any]:
    """Return what a row has no column for: all temperatures, and how κ came about; ready for JSON."""
    kappa = record.kappa
    if kappa is None:
        return {}
    return {
        "method": kappa.method,
        "level": kappa.level,
        "rotation_to_standard": None if kappa.rotation_to_standard is None else kappa.rotation_to_standard.tolist(),
        "meshes": kappa.meshes,
        "n_supercells": kappa.n_displacements,
        "n_supercell_atoms": kappa.n_supercell_atoms,
        "ways": kappa.ways,
        "fit_residual": kappa.fit_residual,
        "min_frequency_thz": kappa.min_frequency_thz,
        "max_frequency_thz": kappa.max_frequency_thz,
        "solutions": [
            {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in vars(solution).items()}
            for solution in kappa.solutions
        ],
        "seconds_by_part": kappa.seconds_by_part,
        "peak_gib_by_part": kappa.peak_gib_by_part,
        "committee": [vars(trial) for trial in bar.members] if bar else [],
        "wider": [vars(trial) for trial in bar.wider] if bar else [],
    }


def _facts(record: CandidateRecord, bar: ErrorBar | None) -> Iterator[tuple[str, str]]:
    kappa = record.kappa
    if kappa is not None:
        for solution in kappa.solutions:
            yield from _solution(solution, bar if solution is kappa.solution else None)
        yield from _phonons(kappa)
    yield "bonding", _bonding(record)
    if record.relaxation is not None and record.relaxation.energy_ev_per_atom is not None:
        yield "energy", f"{record.relaxation.energy_ev_per_atom:.4f} eV/atom after {record.relaxation.steps} steps"
    yield "potential", record.potential
    parts = {"relax": record.relaxation.seconds if record.relaxation else 0.0}
    parts |= kappa.seconds_by_part if kappa else {}
    spent = ", ".join(f"{part.replace('_', ' ')} {seconds:.1f}" for part, seconds in parts.items())
    memory = f"; up to {max(kappa.peak_gib_by_part.values()):.1f} GiB" if kappa and kappa.peak_gib_by_part else ""
    yield "time", f"{record.seconds:.1f} s: {spent}{memory}"


def _bonding(record: CandidateRecord) -> str:
    bonding = record.bonding
    text = f"{bonding.dimensionality}, {' or '.join(str(number) for number, _ in bonding.neighbours)} neighbours"
    if record.crystal.elements == {"C"} and bonding.threefold_fraction:
        text += f" ({bonding.threefold_fraction:.0%} sp²)"
    if bonding.dimensionality != "3D":
        text += "; across the gaps κ does not converge with the mesh, and is 0 for a potential without forces there"
    return text


def _solution(solution: KappaAt, bar: ErrorBar | None) -> Iterator[tuple[str, str]]:
    temperature = f"{solution.temperature_k:g} K"
    yield from _tensor(f"κ(LBTE, {temperature})", solution.kappa_lbte_w_per_mk)
    yield from _tensor(f"κ(RTA, {temperature})", solution.kappa_rta_w_per_mk)
    yield from _tensor(f"coherence, {temperature}", solution.kappa_coherence_w_per_mk)
    largest = np.linalg.eigvalsh(solution.kappa_w_per_mk)[-1]
    error = f" ± {solution.mesh_error_w_per_mk:.3g} (mesh)" if solution.mesh_error_w_per_mk is not None else ""
    if bar is not None and bar.total_w_per_mk is not None:
        error = f" ± {bar.total_w_per_mk:.3g}"
    yield "largest eigenvalue", f"{largest:.2f}{error} W/(m·K)"
    if bar is not None:
        yield from _error_bar(bar)


def _error_bar(bar: ErrorBar) -> Iterator[tuple[str, str]]:
    parts = ", ".join(f"{name} {part:.3g}" for name, part in bar.parts_w_per_mk.items())
    members = f" ({bar.n_stable} of {len(bar.members)} members stable)" if bar.members else ""
    yield "  error of", f"{parts or 'nothing that is known'}{members}; {bar.seconds:.1f} s"
    if bar.notes:
        yield "  not in it", bar.notes


def _tensor(name: str, tensor: np.ndarray | None) -> Iterator[tuple[str, str]]:
    if tensor is not None:
        for title, row in zip((name, "  W/(m·K)", ""), tensor, strict=True):
            yield title, "  ".join(f"{value:10.2f}" for value in row)


def _phonons(kappa: KappaRecord) -> Iterator[tuple[str, str]]:
    if kappa.meshes:
        meshes = ["×".join(map(str, mesh)) for mesh in kappa.meshes]
        beyond = ", extrapolated" if len(meshes) > 1 and kappa.solutions else ""
        yield "mesh", " and ".join(meshes) + beyond
    if kappa.n_displacements:
        ways = f", {' and '.join(dict.fromkeys(kappa.ways))}" if kappa.ways else ""
        atoms = " and ".join(map(str, dict.fromkeys(kappa.n_supercell_atoms)))
        yield "supercells", f"{kappa.n_displacements} of {atoms} atoms{ways}"
    if kappa.min_frequency_thz is not None:
        yield "frequencies", f"{kappa.min_frequency_thz:.3f} to {kappa.max_frequency_thz:.2f} THz"
    if kappa.conduction_w_per_mk_per_ps is not None:
        yield "κ per lifetime", f"{kappa.conduction_w_per_mk_per_ps:.2f} W/(m·K) each ps"
