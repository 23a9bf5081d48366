"""κ of whole candidates: the straight way through phono3py and ours, with the same potential in one process.

    OMP_NUM_THREADS=1 RAYON_NUM_THREADS=1 python benchmarks/kappa.py [NAME ...] [--potential NAME] [--nep NEP.TXT]
        [--crystal FILE] [--way ours straight reference] [--json FILE]

The straight way is what the paper, matcalc and others do: a 3×3×3 supercell of the primitive cell, displacements of
0.03 Å within 3 Å, one force call after the other, phono3py's own third-order solver, relaxation-time approximation on a
mesh with m |a| > 25 Å. Ours is the default of ``kappaforge kappa`` with the whole transport equation. Both begin with
the crystal relaxed by our relaxer, whose time counts for both. Times are CPU times, but those of parts, which are wall
times; diamond comes once before all, so that everything is compiled. The reference is phono3py itself (tetrahedra, the
whole equation by its direct solver) on force constants of all pairs in the supercells of ours, on our meshes and
extrapolated alike. Results are written after each crystal.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from math import floor
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from phono3py import Phono3py
from phonopy.structure.atoms import PhonopyAtoms
from potentials import nep

from kappaforge.crystal import Crystal
from kappaforge.dataset.known_carbon import known_carbons
from kappaforge.dataset.readers import read
from kappaforge.errors import InputError
from kappaforge.files import write_text
from kappaforge.potentials.base import Batch, Potential
from kappaforge.potentials.registry import load
from kappaforge.relax.relaxer import relax
from kappaforge.relax.settings import RelaxSettings
from kappaforge.transport.conductivity import conductivity
from kappaforge.transport.primitive import primitive_crystal
from kappaforge.transport.settings import KappaSettings

NAMES = ("diamond", "lonsdaleite", "bct-C4", "Z-carbon", "AA-T12", "polytype-9R")
Measured = dict[str, Any]


def main() -> None:
    """Measure crystal after crystal."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=list(NAMES), help="known carbons")
    parser.add_argument("--crystal", type=Path, action="append", default=[], help="files of further crystals")
    parser.add_argument("--potential", default="carbon")
    parser.add_argument("--nep", type=Path, help="nep.txt for calorine's CPUNEP in place of the potential")
    parser.add_argument("--way", nargs="+", choices=tuple(WAYS), default=["ours", "straight"])
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    known = {entry.name: entry.crystal for entry in known_carbons()}
    if unknown := [name for name in options.names if name not in known]:
        raise InputError(f"{unknown[0]!r} is no known carbon; there are {', '.join(known)}")
    crystals = [known[name] for name in options.names]
    crystals += [entry.crystal for path in options.crystal for entry in read(path)]
    potential = nep(options.nep) if options.nep else load(options.potential)
    print(f"{platform.processor() or platform.machine()}, load {os.getloadavg()[0]:.1f}, {potential.name}", flush=True)
    ours(known["diamond"], potential)
    results: list[Measured] = []
    for crystal in crystals:
        start = time.process_time()
        relaxation = relax([crystal], potential, RelaxSettings().tightened())[0]
        seconds = time.process_time() - start
        if relaxation.status != "ok":
            print(f"{crystal.id}: {relaxation.reason}")
            continue
        primitive = primitive_crystal(relaxation.crystal, KappaSettings().symprec_ang)
        result: Measured = {
            "id": crystal.id,
            "n_atoms": len(primitive.crystal),
            "symmetry_operations": len(primitive.rotations),
            "relax_cpu_seconds": seconds,
        }
        for way in options.way:
            start = time.process_time()
            result[way] = WAYS[way](primitive.crystal, potential)
            result[way]["cpu_seconds"] = time.process_time() - start
            _show(result, way)
        results.append(result)
        if options.json:
            write_text(options.json, json.dumps({"potential": potential.name, "results": results}, indent=1))
    if {"ours", "straight"} <= set(options.way) and results:
        ratios = [_total(result, "straight") / _total(result, "ours") for result in results]
        print(f"straight over ours: {', '.join(f'{ratio:.1f}' for ratio in ratios)}; median {median(ratios):.1f}")


def ours(crystal: Crystal, potential: Potential) -> Measured:
    """κ by the package's default."""
    return _record(crystal, potential, KappaSettings())


def reference(crystal: Crystal, potential: Potential) -> Measured:
    """κ by phono3py on force constants of all pairs, in the supercells and on the meshes of ours."""
    settings = KappaSettings()
    constants = replace(settings.force_constants, fc3_cutoff_ang=None, way="finite", memory_gib=16.0)
    return _record(crystal, potential, replace(settings, collisions="phono3py", force_constants=constants))


def _record(crystal: Crystal, potential: Potential, settings: KappaSettings) -> Measured:
    record = conductivity(crystal, potential, settings)
    measured: Measured = {
        "status": record.status,
        "reason": record.reason,
        "seconds_by_part": record.seconds_by_part,
        "gib": max(record.peak_gib_by_part.values()),
        "supercells": record.n_displacements,
        "supercell_atoms": record.n_supercell_atoms,
        "ways": record.ways,
        "meshes": record.meshes,
    }
    if record.solution is not None:
        solution = record.solution
        measured |= {
            "kappa_rta_w_per_mk": np.linalg.eigvalsh(solution.kappa_rta_w_per_mk).tolist(),
            "kappa_lbte_w_per_mk": np.linalg.eigvalsh(solution.kappa_lbte_w_per_mk).tolist(),
            "mesh_error_w_per_mk": solution.mesh_error_w_per_mk,
            "by_mesh": solution.by_mesh,
        }
    return measured


def straight(crystal: Crystal, potential: Potential) -> Measured:
    """κ as scripts around phono3py compute it."""
    seconds: dict[str, float] = {}
    cell = PhonopyAtoms(numbers=crystal.numbers, cell=crystal.cell, positions=crystal.positions)
    with _timed(seconds, "displacements"):
        phono3py = Phono3py(cell, supercell_matrix=[3, 3, 3], primitive_matrix="P", log_level=0)
        phono3py.generate_displacements(distance=0.03, cutoff_pair_distance=3.0)
        displaced = phono3py.supercells_with_displacements
    n_atoms = len(phono3py.supercell)
    with _timed(seconds, "forces"):
        forces = np.zeros((len(displaced), n_atoms, 3))
        for place, supercell in enumerate(displaced):
            if supercell is not None:
                one = Crystal(supercell.cell, supercell.positions, np.array(supercell.numbers))
                forces[place] = potential.compute(Batch.of([one])).forces_ev_per_ang
    with _timed(seconds, "force_constants"):
        phono3py.forces = forces
        phono3py.produce_fc3(symmetrize_fc3r=True)
        phono3py.produce_fc2(symmetrize_fc2=True)
    with _timed(seconds, "collisions"):
        phono3py.mesh_numbers = [floor(25.0 / length + 1e-9) + 1 for length in np.linalg.norm(crystal.cell, axis=1)]
        phono3py.init_phph_interaction()
        phono3py.run_thermal_conductivity(temperatures=[300.0])
    xx, yy, zz, yz, xz, xy = phono3py.thermal_conductivity.kappa[0, 0]
    tensor = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
    return {
        "seconds_by_part": seconds,
        "supercells": sum(supercell is not None for supercell in displaced),
        "supercell_atoms": (n_atoms, n_atoms),
        "meshes": (tuple(int(number) for number in phono3py.mesh_numbers),),
        "kappa_rta_w_per_mk": np.linalg.eigvalsh(tensor).tolist(),
    }


WAYS: dict[str, Callable[[Crystal, Potential], Measured]] = {
    "ours": ours,
    "straight": straight,
    "reference": reference,
}


def _total(result: Measured, way: str) -> float:
    return float(result["relax_cpu_seconds"] + result[way]["cpu_seconds"])


def _show(result: Measured, way: str) -> None:
    measured = result[way]
    parts = ", ".join(f"{name} {seconds:.1f}" for name, seconds in measured["seconds_by_part"].items())
    kappas = [
        f"{name[6:].upper()} " + " ".join(f"{value:.0f}" for value in measured[f"{name}_w_per_mk"])
        for name in ("kappa_rta", "kappa_lbte")
        if f"{name}_w_per_mk" in measured
    ]
    meshes = " ".join("×".join(map(str, mesh)) for mesh in measured["meshes"])
    print(
        f"{result['id']:<14}{result['n_atoms']:>3} atoms {result['symmetry_operations']:>3} ops  {way:<9} "
        f"{_total(result, way):7.1f} s  {measured['supercells']} of {measured['supercell_atoms']}  {meshes}  "
        f"{'; '.join(kappas) or measured.get('reason')}  ({parts})",
        flush=True,
    )


@contextmanager
def _timed(seconds: dict[str, float], part: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[part] = time.perf_counter() - start


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        sys.exit(f"kappa.py: {error}")
