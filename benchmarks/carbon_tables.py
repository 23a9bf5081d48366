"""The tables of `carbon.py` in Markdown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from diamond import Reference, at_special_points, path
from diamond import diamond as diamond_crystal
from table1 import Published

EXPERIMENT = {
    "lattice_constant_ang": "3.567",  # doi 10.1103/PhysRevB.44.7123
    "bulk_modulus_gpa": "442",  # doi 10.1063/1.1661636
    "optical_at_gamma_thz": "39.9",  # Raman, 1332 cm⁻¹: doi 10.1103/PhysRevB.1.1687
    "kappa_natural": "2000-2500",  # doi 10.1103/PhysRevB.42.1104, 10.1103/PhysRevLett.70.3764
    "kappa_pure": "3300",  # 99.9 % ¹²C: the same
}
"""Diamond at room temperature."""

PAPER_KAPPA = "2573"
"""W/(m·K) of diamond: doi 10.1038/s41524-025-01592-8, Table 1."""

NONE = "–"
Results = dict[str, Any]


def document(results: Results, reference: Reference, published: Sequence[Published], names: Sequence[str]) -> str:
    """Return all tables for the potentials of these names."""
    potentials = {name: results["potentials"][name] for name in names}
    missing = [f"- `{name}`: {own['unavailable']}" for name, own in potentials.items() if "unavailable" in own]
    there = {name: own for name, own in potentials.items() if "unavailable" not in own}
    blocks = ["## Diamond", _diamond_table(there, reference), _reference_note(reference)]
    if any("labels" in own for own in there.values()):
        blocks += ["## Labels held out", _label_table(there)]
    if published:
        blocks += ["## Table 1", _table1(there, published), TABLE1_NOTE]
    errors = [
        f"- `{name}`, {part}: {result['error']}"
        for name, own in there.items()
        for part, result in own.items()
        if isinstance(result, dict) and "error" in result
    ]
    if missing or errors:
        blocks += ["## Not computed", "\n".join(missing + errors)]
    return "\n\n".join(blocks)


TABLE1_NOTE = (
    "κ(RTA) at 300 K in W/(m·K): the largest eigenvalue, and in brackets the average of the three. "
    "Lattice constants: deviation of a, b, c from the published cell."
)


def _diamond_table(potentials: dict[str, Results], reference: Reference) -> str:
    """One row for each quantity, one column for each potential."""
    dft = reference.results
    optical = dft["diamond"]["optical_at_gamma_thz"]

    def beside(part: str, key: str, digits: int, truth: float | None = None) -> list[str]:
        return [_value(own.get(part, {}).get(key), digits, truth) for own in potentials.values()]

    def text(part: str, write: Callable[[Results], str]) -> list[str]:
        return [write(own[part]) if part in own and "error" not in own[part] else NONE for own in potentials.values()]

    def seconds(part: str) -> list[str]:
        return [_value(own.get(part, {}).get("wall_seconds"), 1) for own in potentials.values()]

    a_ang, modulus = dft["lattice_constant_ang"], dft["bulk_modulus_gpa"]
    rows = [
        [
            "lattice constant (Å)",
            EXPERIMENT["lattice_constant_ang"],
            f"{a_ang:.4f}",
            *beside("lattice", "lattice_constant_ang", 4, a_ang),
        ],
        [
            "bulk modulus (GPa)",
            EXPERIMENT["bulk_modulus_gpa"],
            f"{modulus:.0f}",
            *beside("lattice", "bulk_modulus_gpa", 0, modulus),
        ],
        [
            "optical frequency at Γ (THz)",
            EXPERIMENT["optical_at_gamma_thz"],
            f"{optical:.2f}",
            *beside("phonons", "optical_at_gamma_thz", 2, optical),
        ],
        ["dispersion, RMS deviation (%)", "", "", *beside("phonons", "rms_deviation_percent", 2)],
        [
            "dispersion, RMS of relative deviations (%)",
            "",
            "",
            *beside("phonons", "rms_relative_deviation_percent", 2),
        ],
        [
            "dispersion, largest relative deviation (%)",
            "",
            "",
            *text("phonons", lambda part: f"{part['max_deviation_percent']:+.2f} ({part['max_deviation_at']})"),
        ],
        *_special_points(potentials, reference),
        ["forces of one displaced atom, RMS error (%)", "", "", *beside("forces", "diamond", 2)],
        ["the same, lonsdaleite (%)", "", "", *beside("forces", "lonsdaleite", 2)],
        [
            f"κ(RTA, 300 K), paper {PAPER_KAPPA} (W/(m·K))",
            EXPERIMENT["kappa_natural"],
            "",
            *beside("kappa", "rta", 0),
        ],
        ["κ(LBTE, 300 K) (W/(m·K))", EXPERIMENT["kappa_pure"], "", *beside("kappa", "lbte", 0)],
        [
            "κ(LBTE, 300 K), natural isotopes (W/(m·K))",
            EXPERIMENT["kappa_natural"],
            "",
            *beside("kappa", "lbte_natural_isotopes", 0),
        ],
        ["q mesh", "", "", *text("kappa", lambda part: _by(part["mesh"]))],
        ["time, lattice (s)", "", "", *seconds("lattice")],
        ["time, phonons (s)", "", "", *seconds("phonons")],
        ["time, κ: RTA and two LBTE (s)", "", "", *seconds("kappa")],
    ]
    return _table(["", "experiment", "our DFT", *(f"`{name}`" for name in potentials)], rows)


def _special_points(potentials: dict[str, Results], reference: Reference) -> list[list[str]]:
    """Rows of the frequencies at X and L, which the supercell holds exactly."""
    _, labels = path(diamond_crystal(reference.lattice_constant_ang).cell)
    dft = at_special_points(reference.dispersion_thz, labels)

    def row(point: str) -> list[str]:
        ours = [own.get("phonons", {}).get("special_points_thz", {}).get(point, []) for own in potentials.values()]
        return [
            f"modes at {point} (THz)",
            "",
            *(", ".join(f"{each:.2f}" for each in part) for part in (dft[point], *ours)),
        ]

    return [row("X"), row("L")]


def _reference_note(reference: Reference) -> str:
    dft = reference.results["diamond"]
    return (
        f"Our DFT: {dft['engine']}; phonons in {dft['atoms']} atoms with {_by(dft['kpoints'])} k points; lattice "
        f"constant with {_by(reference.results['energies'][0]['kpoints'])} k points in the primitive cell. Each "
        "potential's phonons are those at its own lattice constant, in the same supercell, with the same displacement. "
        "Percentages in brackets are deviations from our DFT."
    )


def _label_table(potentials: dict[str, Results]) -> str:
    rows = []
    for name, own in potentials.items():
        part = own.get("labels", {})
        if "error" in part or not part:
            continue
        shift = ", ".join(f"{element} {each:+.3f}" for element, each in part["shift_ev_per_atom"].items() if each)
        for kind, figures in part.items():
            if isinstance(figures, dict) and "labels" in figures:
                rows.append(
                    [
                        f"`{name}`",
                        kind,
                        str(figures["labels"]),
                        f"{figures['energy_mae_mev_per_atom']:.1f}",
                        f"{figures['force_rmse_mev_per_ang']:.0f}",
                        f"{figures['force_rmse_percent']:.1f}",
                        shift or "none",
                    ]
                )
    header = ["potential", "kind", "labels", "energy MAE (meV/atom)", "force RMSE (meV/Å)", "of the RMS force (%)"]
    return _table([*header, "energies shifted by (eV/atom)"], rows)


def _table1(potentials: dict[str, Results], published: Sequence[Published]) -> str:
    rows = []
    for crystal in published:
        for name, own in potentials.items():
            part = own.get(f"table1 {crystal.name}", {})
            if "error" in part or not part:
                rows.append(
                    [crystal.name, f"`{name}`", *[NONE] * 4, f"{crystal.kappa_paper:g}", crystal.kappa_reported, NONE]
                )
                continue
            eigenvalues = part["kappa_eigenvalues_w_per_mk"]
            rows.append(
                [
                    crystal.name,
                    f"`{name}`",
                    ", ".join(f"{each:.4f}" for each in part["lengths_ang"]),
                    ", ".join(f"{each:+.2f}" for each in part["lengths_off_percent"]),
                    "yes" if part["stable"] else f"no: {part['reason']}",
                    f"{eigenvalues[-1]:.0f} ({sum(eigenvalues) / 3:.0f})" if eigenvalues else part["status"],
                    f"{crystal.kappa_paper:g}",
                    crystal.kappa_reported,
                    _value(part["wall_seconds"], 0),
                ]
            )
    header = ["crystal", "potential", "a, b, c (Å)", "off (%)", "stable", "κ(RTA)", "paper", "reported", "time (s)"]
    return _table(header, rows)


def _by(numbers: Sequence[int]) -> str:
    return "×".join(map(str, numbers))


def _value(value: float | None, digits: int, truth: float | None = None) -> str:
    if value is None:
        return NONE
    return f"{value:.{digits}f}" + (f" ({100 * (value / truth - 1):+.2f} %)" if truth else "")


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join("| " + " | ".join(row) + " |" for row in (header, ["---"] * len(header), *rows))
