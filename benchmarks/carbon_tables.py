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
    "κ at 300 K in W/(m·K): the largest eigenvalue, and in brackets the average of the three. The paper's protocol is "
    "what the paper's κ compares with. The default has larger supercells and extrapolates to an infinitely fine mesh, "
    "and its LBTE, the whole transport equation, is the best value, ± the error the mesh leaves. Lattice constants: "
    "deviation of a, b, c from the published cell. Stable: by the default. Times: the paper's protocol, the default."
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

    def lbte(suffix: str = "") -> list[str]:
        return text("kappa", lambda part: _with_error(part[f"lbte{suffix}"], part[f"mesh_error{suffix}"]))

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
        ["κ(RTA, 300 K) (W/(m·K))", "", "", *beside("kappa", "rta", 0)],
        [
            "κ(LBTE, 300 K) (W/(m·K))",
            EXPERIMENT["kappa_pure"],
            "",
            *lbte(),
        ],
        [
            "κ(LBTE, 300 K), natural isotopes (W/(m·K))",
            EXPERIMENT["kappa_natural"],
            "",
            *lbte("_natural_isotopes"),
        ],
        ["q meshes", "", "", *text("kappa", lambda part: ", ".join(map(_by, part["meshes"])))],
        ["κ(RTA) and κ(LBTE) on each (W/(m·K))", "", "", *text("kappa", lambda part: _pairs(part["by_mesh"]))],
        ["time, lattice (s)", "", "", *seconds("lattice")],
        ["time, phonons (s)", "", "", *seconds("phonons")],
        ["time, κ without and with isotopes (s)", "", "", *seconds("kappa")],
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
    """One row for each crystal and potential; either method may have none."""
    rows = []
    for crystal in published:
        for name, own in potentials.items():
            paper, ours = (own.get(f"{method} {crystal.name}", {}) for method in ("paper", "converged"))
            about = next((part for part in (ours, paper) if "lengths_ang" in part), None)
            geometry = [NONE] * 3
            if about is not None:
                geometry = [
                    ", ".join(f"{each:.4f}" for each in about["lengths_ang"]),
                    ", ".join(f"{each:+.2f}" for each in about["lengths_off_percent"]),
                    "yes" if about["stable"] else f"no: {about['reason']}",
                ]
            rows.append(
                [
                    crystal.name,
                    f"`{name}`",
                    *geometry,
                    _kappa(paper, "rta"),
                    f"{crystal.kappa_paper:g}",
                    crystal.kappa_reported,
                    _kappa(ours, "rta"),
                    _kappa(ours, "lbte"),
                    ", ".join(_value(part.get("wall_seconds"), 0) for part in (paper, ours)),
                ]
            )
    header = ["crystal", "potential", "a, b, c (Å)", "off (%)", "stable", "κ(RTA), paper's protocol", "paper"]
    return _table([*header, "reported", "κ(RTA), default", "κ(LBTE), default", "times (s)"], rows)


def _kappa(part: Results, solution: str) -> str:
    """Write the largest eigenvalue, of LBTE with its mesh error, and the average; or what came instead."""
    if eigenvalues := part.get(f"{solution}_eigenvalues_w_per_mk"):
        error = part["mesh_error_w_per_mk"] if solution == "lbte" else None
        return f"{_with_error(eigenvalues[-1], error)} ({sum(eigenvalues) / 3:.0f})"
    return str(part.get("status", NONE))


def _by(numbers: Sequence[int]) -> str:
    return "×".join(map(str, numbers))


def _value(value: float | None, digits: int, truth: float | None = None) -> str:
    if value is None:
        return NONE
    return f"{value:.{digits}f}" + (f" ({100 * (value / truth - 1):+.2f} %)" if truth else "")


def _pairs(kappas: Sequence[Sequence[float]]) -> str:
    return ", ".join(f"{rta:.0f} and {lbte:.0f}" for rta, lbte in kappas)


def _with_error(kappa: float, error: float | None) -> str:
    return f"{kappa:.0f}" + (f" ± {error:.0f}" if error is not None else "")


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join("| " + " | ".join(row) + " |" for row in (header, ["---"] * len(header), *rows))
