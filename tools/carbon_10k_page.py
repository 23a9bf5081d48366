"""The page that tells the carbon campaign's results; no number of it is typed."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

MESH_TOLERANCE = 0.05


def page(
    run: dict[str, Any],
    rows: list[dict[str, Any]],
    finer: list[dict[str, Any]],
    second: dict[str, Any] | None = None,
    dft: dict[str, Any] | None = None,
) -> str:
    """Return the page in Markdown."""
    limit = run["settings"]["select"]["ultrahigh_kappa_w_per_mk"]
    good = [row for row in rows if (row["kappa_rta_max_w_per_mk"] or 0.0) >= limit]
    networks = [row for row in good if is_good(row, limit)]
    unknown = [row for row in networks if not row["known_as"] and row["novel"]]
    counts, generate = run["counts"], run["settings"]["generate"]
    seconds = run["worker_seconds_by_step"]
    return "\n".join(
        [
            "# Ten thousand carbons",
            "",
            f"`examples/carbon-10k/campaign.toml`, run by `kappaforge run` on {run['processor']}, {run['date']}, with "
            f"kappaforge {run['versions']['kappaforge']}, seed {run['settings']['seed']}. Every number on this page is "
            "read from `results/carbon-10k`, which `tools/carbon_10k.py` took from the run folder.",
            "",
            "## What was found",
            "",
            f"Of {counts['generate']:,} crystals that `{generate['generator']}` proposed and {counts['data set']:,} of "
            f"the data set, {counts['symmetric']:,} are candidates: distinct, small, symmetric{_within(run)}. "
            f"κ(RTA) of {len(good)} "
            f"of them reaches {limit:g} W/(m·K) in some direction; {len(networks)} of these are networks, "
            f"{len(unknown)} of which are neither in the data set nor in the library of known carbons.",
            "",
            f"Known carbons that the generator proposed: {', '.join(run['found_again']) or 'none'}.",
            "",
            *_table(networks),
            "",
            *_trust(networks),
            *measured(finer, rows),
            *_superseded(run),
            "",
            "κ in W/(m·K) at 300 K: the eigenvalues of the tensor; ± as far as mesh and committee tell. Mesh: its part "
            "of the error. Spread: standard deviation of ln κ among the members of the committee, in brackets in how "
            "many of them the crystal is stable if not in all. Layers and chains are left out, as their κ does not "
            "converge with the mesh.",
            "",
            "## Growth",
            "",
            "| proposals | unique | unique and novel |",
            "|---|---|---|",
            *(f"| {int(n):,} | {unique:,} | {novel:,} |" for n, (unique, novel) in run["growth"].items()),
            "",
            _extrapolation(run["growth"], seconds, counts),
            "",
            "![Growth of unique and novel crystals](../results/carbon-10k/figures/growth.png)",
            "",
            "## Learning",
            "",
            *_rounds(run),
            "",
            "## What choosing is worth",
            "",
            *_selection(run["selection"], limit),
            "",
            *_second(run, second),
            *_dft(dft),
            "## Time",
            "",
            "| step | worker time, min |",
            "|---|---|",
            *(f"| {step} | {spent / 60:.1f} |" for step, spent in seconds.items() if spent >= 6),
            f"| all | {sum(seconds.values()) / 60:.0f} |",
            "",
            f"The run took {run['elapsed_hours']:.1f} h on two workers, without pauses; it was killed with -9 twice "
            "and started again. The labels are DFT.",
            "",
        ]
    )


def sentence(run: dict[str, Any], rows: list[dict[str, Any]]) -> str:
    """Return what README says of it."""
    counts, limit = run["counts"], run["settings"]["select"]["ultrahigh_kappa_w_per_mk"]
    networks = [row for row in rows if is_good(row, limit)]
    unknown = sum(bool(row["novel"]) and not row["known_as"] for row in networks)
    return (
        f"The carbon campaign, {counts['generate']:,} proposals beside {counts['data set']:,} known crystals in "
        f"{run['elapsed_hours']:.1f} h on two cores, left {counts['symmetric']:,} candidates. "
        f"κ(RTA) of {len(networks)} networks among them reaches {limit:g} W/(m·K); "
        f"{unknown} of these are in no library: [Ten thousand carbons](docs/carbon-10k.md)."
    )


def _within(run: dict[str, Any]) -> str:
    window = run["settings"]["screen"]["energy_window_ev_per_atom"]
    return "" if window is None else f" and within {window:g} eV/atom of the lowest known"


def _table(rows: list[dict[str, Any]]) -> list[str]:
    lines = [
        "| | crystal | known as | atoms | space group | g/cm³ | above hull, eV/atom | κ(RTA) | κ(LBTE) | ± | mesh "
        "| spread |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for rank, row in enumerate(rows, 1):
        cells = (
            str(rank),
            row["id"],
            row["known_as"] or ("–" if row["novel"] else "in the data set"),
            str(row["n_atoms"]),
            str(row["space_group_number"]),
            f"{row['density_g_per_cm3']:.2f}",
            _number(row["energy_above_hull_ev_per_atom"], 2),
            _kappas(row["kappa_rta_eigenvalues_w_per_mk"]),
            _kappas(row["kappa_lbte_eigenvalues_w_per_mk"]),
            _number(row["kappa_error_w_per_mk"] or row["kappa_mesh_error_w_per_mk"], 0),
            "" if row["kappa_mesh_error_w_per_mk"] is None else f"{mesh_error(row):.1%}",
            _spread(row),
        )
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def _trust(networks: list[dict[str, Any]]) -> list[str]:
    """Say what is known of the κ in the table."""
    n = len(networks)
    fine = sum(row["status"] == "ok" for row in networks)
    converged = sum(mesh_error(row) <= MESH_TOLERANCE for row in networks)
    asked = [row for row in networks if row["kappa_committee_members"] is not None]
    sure = sum(row["kappa_committee_stable"] == row["kappa_committee_members"] for row in asked)
    followed = sum(bool(row["followed"]) for row in networks)
    spreads = [row["kappa_committee_spread"] for row in asked if row["kappa_committee_spread"] is not None]
    typical = f", with a spread of {np.median(spreads):.0%} in the median" if spreads else ""
    return [
        f"- {fine} of {n} have a converged relaxation that kept the space group, and no imaginary mode; {followed} of "
        "them are what an imaginary mode of the candidate led to.",
        f"- {converged} of {n} have a mesh that is to leave {MESH_TOLERANCE:.0%} or less.",
        f"- {len(asked)} of {n} were computed with every member of the committee; {sure} are stable in all of "
        f"them{typical}.",
    ]


def measured(finer: list[dict[str, Any]], rows: list[dict[str, Any]]) -> list[str]:
    """Say what finer meshes made of the κ of a random sample, and of others."""
    by_id = {row["id"]: row for row in rows}
    known = [each for each in finer if "kappa_lbte_max_w_per_mk" in each]

    def change(each: dict[str, Any]) -> float:
        return float(each["kappa_lbte_max_w_per_mk"] / by_id[each["id"]]["kappa_lbte_max_w_per_mk"] - 1)

    told = []
    drawn = [each for each in known if not each.get("chosen")]
    if drawn:
        changes = np.array([change(each) for each in drawn])
        shares = np.abs(changes) / [mesh_error(by_id[each["id"]]) for each in drawn]
        within = int(np.sum(np.abs(changes) <= MESH_TOLERANCE))
        told.append(
            f"- On meshes 1.5 times as fine, extrapolated too, κ(LBTE) of {len(drawn)} networks, at random of those "
            f"whose mesh is to leave more, changed by {np.median(np.abs(changes)):.1%} in the median, "
            f"{changes.min():+.1%} to {changes.max():+.1%} (by {MESH_TOLERANCE:.0%} or less in {within}); that is "
            f"{np.median(shares):.0%} of what the table gives in the median and {shares.max():.0%} at most.",
        )
    chosen = [each for each in known if each.get("chosen")]
    if chosen:
        by_name = ", ".join(
            f"{each['id']} by {change(each):+.0%} (table: {mesh_error(by_id[each['id']]):.1%})" for each in chosen
        )
        told.append(f"- Others were chosen, most as κ falls from the coarser to the finer mesh: {by_name}.")
    return told


def _superseded(run: dict[str, Any]) -> list[str]:
    """Say so where κ is from before falls from mesh to mesh were left as they are."""
    if run.get("extrapolated_version", 5) >= 6:
        return []
    return [
        "- This table is from before [a fault was mended](method/kappa.md#meshes-supercells-fits): κ was extrapolated "
        "also where it falls from mesh to mesh, and the error was of the largest eigenvalue alone. It is being "
        "computed again.",
    ]


def is_good(row: dict[str, Any], limit_w_per_mk: float) -> bool:
    """Whether it is a network whose κ reaches the limit; that of layers and chains does not converge."""
    return row["dimensionality"] == "3D" and (row["kappa_rta_max_w_per_mk"] or 0.0) >= limit_w_per_mk


def mesh_error(row: dict[str, Any]) -> float:
    """Return what the mesh leaves, relative to κ; infinite where it is not known."""
    kappa = row["kappa_lbte_max_w_per_mk"] or row["kappa_rta_max_w_per_mk"]
    error = row["kappa_mesh_error_w_per_mk"]
    return math.inf if error is None or not kappa else float(error / kappa)


def _second(run: dict[str, Any], second: dict[str, Any] | None) -> list[str]:
    """Compare the yield of the second campaign with that of as many proposals of the first."""
    if second is None:
        return []
    lines = [
        "## Turned towards what conducts well",
        "",
        f"The networks of the table were given to `kappaforge train-generator --start flow --prior-only`, and "
        f"{second['counts']['generate']:,} crystals proposed by the flow that draws sizes, space groups and sites like "
        "theirs. Its candidates went the same way. Of the first proposals, these are networks above the limit, among "
        "the candidates or the same as one:",
        "",
        "| proposals | before | distinct | after | distinct |",
        "|---|---|---|---|---|",
    ]
    for n, after in second["yields"].items():
        before = run["yields"].get(n, {"crystals": "", "distinct": ""})
        lines.append(
            f"| {int(n):,} | {before['crystals']} | {before['distinct']} | {after['crystals']} | {after['distinct']} |"
        )
    new = second["not_in_the_first"]
    lines += [
        "",
        f"{second['in_no_library']} of the last are in no library; {len(new)} of these were not among the candidates "
        f"of the first campaign{' (' if new else ''}{', '.join(new)}{' in `again.extxyz`)' if new else ''}.",
    ]
    return [*lines, ""]


def _dft(found: dict[str, Any] | None) -> list[str]:
    """Put what DFT says of some crystals beside what the potential says."""
    if found is None:
        return []
    lines = [
        "## DFT of some",
        "",
        "By GPAW, optB88-vdW, each at its own minimum: the lengths of the conventional cell, the energy above diamond, "
        "the phonons along the standard path in the same supercell.",
        "",
        "| crystal | by | lattice, Å | above diamond, eV/atom | highest, THz | RMS apart, THz | κ(RTA) | κ(LBTE) |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, each in found.items():
        for way, by in (("dft", "DFT"), ("carbon", "`carbon`")):
            known, phonons, kappa = each[way], each.get("phonons", {}), each[way].get("kappa") or {}
            cells = (
                name if way == "dft" else "",
                by,
                ", ".join(f"{length:.3f}" for length in known["lattice_ang"]),
                f"{known['above_diamond_ev_per_atom']:.3f}",
                _number(phonons.get("max_frequency_thz"), 1) if way == "dft" else "",
                _number(phonons.get("rms_difference_thz"), 2) if way == "carbon" else "",
                _kappas(kappa.get("rta")),
                _kappas(kappa.get("lbte")),
            )
            lines.append("| " + " | ".join(cells) + " |")
    lines += ["", "κ of both is from the same supercells, which are smaller than those of the table above.", ""]
    for name in (name for name, each in found.items() if "phonons" in each):
        lines += [f"![Phonons of {name} by DFT and by carbon](../results/carbon-10k/dft/{name}-dispersion.png)", ""]
    return lines


def _extrapolation(growth: dict[str, list[int]], seconds: dict[str, float], counts: dict[str, int]) -> str:
    """Say what a hundred thousand proposals would give, by a power law through the last two points; "" for fewer."""
    if len(growth) < 2:
        return ""
    (n_before, (_, before)), (n_last, (_, last)) = ((int(n), found) for n, found in list(growth.items())[-2:])
    power = math.log(last / before) / math.log(n_last / n_before)
    novel = last * (100_000 / n_last) ** power
    cheap = sum(seconds.get(step, 0.0) for step in ("generate", "relax"))
    linear = cheap * 100_000 / (counts["generate"] + counts["data set"])
    rest = (sum(seconds.values()) - cheap) * novel / last
    return (
        f"Novel crystals grow with the power {power:.2f} of the proposals at the end: about {novel:,.0f} of 100,000. "
        f"Those would take about {linear / 3600:.0f} h of one core to generate and relax, and {rest / 3600:.0f} h for "
        "all that follows, if it grows as the novel crystals do."
    )


def _rounds(run: dict[str, Any]) -> list[str]:
    limit = run["settings"]["learn"]["threshold_mev_per_atom"]
    lines = [
        f"| round | labels | crystals under question | above {limit:g} meV/atom | largest, meV/atom | added |",
        "|---|---|---|---|---|---|",
    ]
    for number, turn in enumerate(run["rounds"], 1):
        largest = _number(turn["largest_mev_per_atom"], 1)
        lines.append(
            f"| {number} | {turn['labels']} | {turn['asked_about']} | {turn['above']} | {largest} | {turn['added']} |"
        )
    return lines


def _selection(found: dict[str, Any], limit: float) -> list[str]:
    names = {
        "campaign": "farthest points and neighbours of the good ones",
        "random": "chance, on average",
        "density": "the densest",
        "conduction": "most κ for each ps of lifetime, from harmonic phonons of all, over √N",
    }
    total = max(found["above_limit"], 1)
    return [
        f"{found['evaluations']} of {found['candidates']:,} candidates were chosen by farthest points and neighbours; "
        f"{found['above_limit']} of all are above {limit:g} W/(m·K).",
        "",
        "| as many chosen by | found | of those above |",
        "|---|---|---|",
        *(f"| {names[way]} | {number:.3g} | {number / total:.0%} |" for way, number in found["found"].items()),
    ]


def _spread(row: dict[str, Any]) -> str:
    if row["kappa_committee_members"] is None:
        return ""
    spread = "–" if row["kappa_committee_spread"] is None else f"{row['kappa_committee_spread']:.0%}"
    stable, members = row["kappa_committee_stable"], row["kappa_committee_members"]
    return spread if stable == members else f"{spread} ({stable} of {members})"


def _kappas(eigenvalues: list[float] | None) -> str:
    return "" if eigenvalues is None else ", ".join(f"{abs(value):.0f}" for value in eigenvalues)


def _number(value: float | None, decimals: int) -> str:
    return "" if value is None else f"{value:.{decimals}f}"
