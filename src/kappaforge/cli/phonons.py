"""``kappaforge phonons``: dispersion and density of states of the crystals in some files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kappaforge.cli.files import read_crystals, spread
from kappaforge.cli.machine import plain, show_json
from kappaforge.cli.options import INPUT_PATHS, AsJson, PotentialName, Workers, complete_potential
from kappaforge.cli.terminal import out
from kappaforge.errors import InputError, KappaforgeError
from kappaforge.files import file_stem
from kappaforge.potentials.settings import DEFAULT

if TYPE_CHECKING:
    import numpy as np

    from kappaforge.campaign.phonons import Comparison, PhononSettings, PhononsRecord
    from kappaforge.transport.dispersion import DensityOfStates


def phonons(
    paths: Annotated[list[Path] | None, INPUT_PATHS] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder for figures (PNG, SVG) and arrays (CSV, JSON).")
    ] = None,
    potential: PotentialName = DEFAULT,
    compare: Annotated[
        str,
        typer.Option(
            autocompletion=complete_potential,
            help="A second potential, drawn on top at its own minimum of the same crystal.",
        ),
    ] = "",
    forces: Annotated[
        Path | None,
        typer.Option(help="Folder of kappaforge displace with forces in it, of DFT for example, in place of FILES."),
    ] = None,
    relax: Annotated[bool, typer.Option("--relax/--no-relax", help="Relax cell and positions first.")] = True,
    face_distance: Annotated[
        float, typer.Option(help="Least distance between opposite faces of the supercell, Å.")
    ] = 10.5,
    spacing: Annotated[float, typer.Option(help="Between points of the path at most, Å⁻¹ without 2π.")] = 0.01,
    mesh_length: Annotated[float, typer.Option(help="Mesh of the density of states: points = this · |b|, Å.")] = 60.0,
    workers: Workers = 0,
    as_json: AsJson = False,
) -> None:
    """Compute phonons of crystals: relax tightly, force constants, dispersion along the standard path, DOS.

    Says whether each crystal is stable, and where its lowest mode is. Imaginary frequencies are negative. With --forces
    and --compare a potential's modes, in the same supercell, lie over those of DFT; only supercells of second order
    need forces.
    """
    from kappaforge.campaign import tasks
    from kappaforge.campaign.phonons import PhononSettings
    from kappaforge.dataset.entry import unique_names
    from kappaforge.potentials.base import require_elements
    from kappaforge.potentials.registry import load
    from kappaforge.relax.settings import RelaxSettings
    from kappaforge.screen.settings import ScreenSettings
    from kappaforge.transport.order_settings import ForceConstantSettings

    if bool(paths) == (forces is not None):
        raise InputError("phonons: give FILES of crystals, or --forces FOLDER of kappaforge displace")
    settings = PhononSettings(ForceConstantSettings(fc2_face_distance_ang=face_distance), spacing, mesh_length)
    if forces is not None:
        records = [_from_forces(forces, compare, settings)]
    else:
        if compare == potential:
            raise InputError(f"--compare: give another potential than --potential, which is {potential!r} too")
        crystals = read_crystals(paths or [])
        elements = frozenset[str]().union(*(crystal.elements for crystal in crystals))
        for name in filter(None, (potential, compare)):
            require_elements(load(name), elements)
        arguments = [
            (crystal, potential, compare or None, RelaxSettings(), settings, ScreenSettings(), relax)
            for crystal in crystals
        ]
        records = spread("phonons", tasks.compute_phonons, arguments, workers, quiet=as_json)
    names = unique_names([file_stem(record.id) for record in records])
    for name, record in zip(names, records, strict=True):
        written = _write(record, output / name) if output is not None else []
        if as_json:
            show_json([_content(record)])
        else:
            _show(record, written)


def _from_forces(folder: Path, compare: str, settings: PhononSettings) -> PhononsRecord:
    """Compute phonons from forces that were computed elsewhere."""
    from kappaforge.campaign.displaced import read_second_order
    from kappaforge.campaign.phonons import phonons_of_forces
    from kappaforge.potentials.registry import load
    from kappaforge.relax.settings import RelaxSettings
    from kappaforge.screen.settings import ScreenSettings
    from kappaforge.transport.failure import TransportError

    try:
        displaced, second = read_second_order(folder)
    except TransportError as failure:
        raise KappaforgeError(f"{folder}: {failure.status}: {failure.reason}") from None
    other = load(compare) if compare else None
    # what supercells do to frequencies is no difference between potential and forces
    settings = replace(settings, force_constants=displaced.settings)
    arguments = (RelaxSettings(), settings, ScreenSettings())
    return phonons_of_forces(displaced.primitive, second, f"forces in {folder}", *arguments, compared_to=other)


def _write(record: PhononsRecord, stem: Path) -> list[Path]:
    """Write what there is of a crystal to ``stem-…``; return the paths."""
    from kappaforge.files import write_text
    from kappaforge.report.canvas import save
    from kappaforge.report.phonons import density_csv, density_figure, dispersion_csv, dispersion_figure

    paths = [write_text(_named(stem, "phonons.json"), json.dumps(plain(_content(record)), ensure_ascii=False) + "\n")]
    along, density, other = record.dispersion, record.density, record.comparison
    if along is None or density is None:
        return paths
    labels = {int(row): label for row, label in zip(along.label_rows, along.labels, strict=True)}
    frequencies = {record.potential: along.frequencies_thz}
    densities = {record.potential: (density.frequencies_thz, density.states_per_thz)}
    if other is not None and other.frequencies_thz is not None and other.density is not None:
        frequencies[other.potential] = other.frequencies_thz
        densities[other.potential] = (other.density.frequencies_thz, other.density.states_per_thz)
    for suffix, values, dos in zip(("", "-compared"), frequencies.values(), densities.values(), strict=False):
        table = dispersion_csv(along.q_points, along.distances_per_ang, values, labels)
        paths.append(write_text(_named(stem, f"dispersion{suffix}.csv"), table))
        paths.append(write_text(_named(stem, f"dos{suffix}.csv"), density_csv(*dos)))
    figure = dispersion_figure(along.distances_per_ang, frequencies, along.segments, along.labels, along.label_rows)
    paths += save(figure, _named(stem, "dispersion"))
    paths += save(density_figure(densities), _named(stem, "dos"))
    return paths


def _named(stem: Path, ending: str) -> Path:
    return stem.with_name(f"{stem.name}-{ending}")


def _content(record: PhononsRecord) -> dict[str, Any]:
    """Return all of it, ready for JSON; what is not known is None."""
    along, density, other = record.dispersion, record.density, record.comparison
    content: dict[str, Any] = {
        "id": record.id,
        "status": record.status,
        "reason": record.reason,
        "formula": record.crystal.formula,
        "space_group_number": record.symmetry.space_group_number,
        "potential": record.potential,
        "potential_digest": record.potential_digest,
        "min_frequency_thz": record.min_frequency_thz,
        "min_q_point": _rounded(record.min_q_point),
        "max_frequency_thz": record.max_frequency_thz,
        "seconds": round(record.seconds, 3),
        "primitive_cell": {
            "vectors_ang": record.crystal.cell.tolist(),
            "positions_ang": record.crystal.positions.tolist(),
            "atomic_numbers": record.crystal.numbers.tolist(),
        },
        "supercell": None if record.supercell is None else record.supercell.tolist(),
        "n_supercell_atoms": record.n_supercell_atoms,
        "dispersion": None,
        "density_of_states": None,
        "comparison": None,
    }
    if along is not None:
        content["dispersion"] = {
            "labels": list(along.labels),
            "label_rows": along.label_rows.tolist(),
            "segments": along.segments.tolist(),
            "q_points": _rounded(along.q_points, 9),
            "distances_per_ang": _rounded(along.distances_per_ang),
            "frequencies_thz": _rounded(along.frequencies_thz),
            "velocities_thz_ang": _rounded(along.velocities_thz_ang, 4),
        }
    if density is not None:
        content["density_of_states"] = _density(density)
    if other is not None:
        content["comparison"] = {
            "potential": other.potential,
            "status": other.status,
            "reason": other.reason,
            "min_frequency_thz": other.min_frequency_thz,
            "frequencies_thz": _rounded(other.frequencies_thz),
            "density_of_states": None if other.density is None else _density(other.density),
        }
        if along is not None and other.frequencies_thz is not None:
            content["comparison"] |= _differences(along.frequencies_thz, other.frequencies_thz)
    return content


def _density(density: DensityOfStates) -> dict[str, Any]:
    return {
        "mesh": list(density.mesh),
        "frequencies_thz": _rounded(density.frequencies_thz),
        "states_per_thz": _rounded(density.states_per_thz),
    }


def _rounded(values: np.ndarray | None, digits: int = 6) -> Any:
    return None if values is None else (values.round(digits) + 0.0).tolist()


def _differences(one_thz: np.ndarray, other_thz: np.ndarray) -> dict[str, float]:
    """Of frequencies along the path, band by band in the order of frequency."""
    off = other_thz - one_thz
    return {
        "rms_difference_thz": float((off**2).mean() ** 0.5),
        "mean_difference_thz": float(off.mean()),
        "largest_difference_thz": float(abs(off).max()),
    }


def _show(record: PhononsRecord, written: Sequence[Path]) -> None:
    symmetry, along, other = record.symmetry, record.dispersion, record.comparison
    out.print(
        f"{record.id}  {record.crystal.formula}, space group {symmetry.space_group_symbol} "
        f"({symmetry.space_group_number}), {symmetry.n_atoms} atoms in the primitive cell",
        highlight=False,
    )
    facts = {"stability": "stable" if record.status == "ok" else f"{record.status}: {record.reason}"}
    if along is not None and record.min_q_point is not None and record.density is not None:
        where = ", ".join(f"{part:.3g}" for part in record.min_q_point)
        facts["lowest mode"] = f"{_plain(record.min_frequency_thz)} THz at q = ({where})"
        facts["highest mode"] = f"{record.max_frequency_thz:.3f} THz"
        facts["path"] = f"{_path(along.labels, along.label_rows, along.segments)}, {len(along.q_points)} points"
        facts["supercell"] = f"{record.n_supercell_atoms} atoms"
    facts["potential"] = record.potential
    if other is not None and along is not None:
        facts[f"against {other.potential}"] = _comparison(other, along.frequencies_thz)
    facts["time"] = f"{record.seconds:.1f} s"
    if written:
        facts["written"] = f"{written[0].parent}: {', '.join(path.name for path in written)}"
    for name, fact in facts.items():
        out.print(f"  {name:<20} {fact}", highlight=False, soft_wrap=True)
    out.print()


def _comparison(other: Comparison, frequencies_thz: np.ndarray) -> str:
    if other.frequencies_thz is None:
        return f"none: {other.status}: {other.reason}"
    off = _differences(frequencies_thz, other.frequencies_thz)
    text = (
        f"{off['mean_difference_thz']:+.3f} THz on average along the path, rms {off['rms_difference_thz']:.3f}, "
        f"at most {off['largest_difference_thz']:.3f}; lowest mode {_plain(other.min_frequency_thz)} THz"
    )
    return text if other.status == "ok" else f"{text}; {other.status}: {other.reason}"


def _path(labels: Sequence[str], rows: np.ndarray, segments: np.ndarray) -> str:
    """Return the path in words, such as Γ–X|U–Γ."""
    ends = {int(beyond) - 1 for _, beyond in segments}
    joined = "".join(label + ("|" if int(row) in ends else "–") for label, row in zip(labels, rows, strict=True))
    return joined[:-1]


def _plain(value: float | None) -> str:
    """Return a number with three decimals, without the sign of a zero."""
    return "–" if value is None else f"{round(value, 3) + 0.0:.3f}"
