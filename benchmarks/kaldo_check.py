"""κ by our kernel and by kALDo (github.com/nanotheorygroup/kaldo), another program, from the same force constants.

    python -m venv kaldo-env && kaldo-env/bin/pip install kaldo
    python benchmarks/kaldo_check.py --python kaldo-env/bin/python [--meshes 5 7 9] [--cutoff 4.0]

At 300 K, without isotopes, on the same Γ-centred q meshes, with force constants of the `carbon` potential by
`kappaforge.transport.orders`. kALDo looks for the images of the supercell's atoms itself, transforms, diagonalises, and
inverts the collision matrix of all q points without any symmetry. What it does in another way:

- It conserves energy by Gaussians, of a width by velocities (ShengBTE's, doi 10.1016/j.cpc.2014.02.015) and cut at
  2√2 standard deviations. These, our cells and our tetrahedra approximate the same delta function, and differ the less
  the finer the mesh is.
- Of degenerate modes it takes the velocities of whichever combinations its eigensolver returns; with them its κ of a
  cubic crystal is not quite isotropic. It matters on the symmetric lines and planes of the zone, and less on finer
  meshes too.
- In the whole equation it takes the occupations of a scattering as they are. Ours are written for one that conserves
  energy exactly, which makes the collision matrix symmetric. The difference goes with the square of the width.
- A triplet of atoms whose shortest connections close around the supercell, rather than to a triangle, has other images
  seen from each of its atoms. We average over the three, kALDo takes those of the first.

Hence two comparisons: diamond on ever finer meshes, each program in its own way; and a sheared diamond, which has no
degenerate modes, with the same ever narrower Gaussians in both and no triplet that long. There RTA has nothing left to
differ in but round-off. Prints Markdown, in ten to twenty minutes.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from math import pi, sqrt
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch

from kappaforge.crystal import Crystal
from kappaforge.errors import KappaforgeError
from kappaforge.potentials.registry import load
from kappaforge.relax.relaxer import relax
from kappaforge.relax.settings import RelaxSettings
from kappaforge.transport.conductivity import conductivity_of_orders
from kappaforge.transport.energy import ABSORB_SECOND, ABSORB_THIRD, DECAY, OnShell
from kappaforge.transport.force_constants import phonopy_with
from kappaforge.transport.interaction import ThreePhonon, lattice_terms
from kappaforge.transport.order_settings import ForceConstantSettings
from kappaforge.transport.orders import Order, SecondOrder, ThirdOrder, order2, order3
from kappaforge.transport.phonon_grid import PhononGrid, Triplets, phonon_grid
from kappaforge.transport.primitive import primitive_crystal
from kappaforge.transport.scattering import three_phonon_scattering
from kappaforge.transport.settings import Collisions, KappaSettings
from kappaforge.transport.solution import solve

RUNNER = Path(__file__).parent / "kaldo_run.py"
TEMPERATURE_K = 300.0
DIAMOND_ANG = 3.5734
"""Lattice constant of diamond by `carbon`."""

SHEAR = np.array([[1.0, 0.02, 0.01], [0.02, 1.03, 0.015], [0.01, 0.015, 1.06]])
"""Leaves diamond inversion as its only symmetry."""

WIDTHS_THZ = (1.0, 0.5)
"""Standard deviations of the Gaussians that both programs are given."""

CUT = 2 * sqrt(2)
"""Where kALDo cuts its Gaussians, in standard deviations."""


@dataclass(frozen=True, eq=False)
class Kappa:
    """κ in the relaxation-time approximation and of the whole equation; shape (3, 3), W/(m·K)."""

    rta: np.ndarray
    full: np.ndarray

    @property
    def means(self) -> np.ndarray:
        """A third of the traces of both, shape (2,), W/(m·K)."""
        return np.array([np.trace(self.rta), np.trace(self.full)]) / 3

    def percent_over(self, other: Kappa) -> np.ndarray:
        """Return by how many per cent both means exceed another's, shape (2,)."""
        excess: np.ndarray = 100 * (self.means / other.means - 1)
        return excess


@dataclass(frozen=True, eq=False)
class Constants:
    """A crystal in its primitive cell and its force constants."""

    crystal: Crystal
    second: SecondOrder
    third: ThirdOrder


def diamond_constants(fc3_cutoff_ang: float = 4.0) -> Constants:
    """Relax diamond and compute its force constants."""
    record = relax([_diamond(np.eye(3))], load("carbon"), RelaxSettings().tightened())[0]
    if record.status != "ok":
        raise KappaforgeError(f"diamond does not relax: {record.reason}")
    return _constants(record.crystal, fc3_cutoff_ang)


def sheared_constants(fc3_cutoff_ang: float = 2.6) -> Constants:
    """Compute force constants of diamond without symmetry, as it is.

    No triplet within the default cutoff closes around the supercell.
    """
    return _constants(_diamond(SHEAR), fc3_cutoff_ang)


def _diamond(deformation: np.ndarray) -> Crystal:
    cell, positions = DIAMOND_ANG / 2 * (1 - np.eye(3)), np.array([[0, 0, 0], [1, 1, 1]]) * DIAMOND_ANG / 4
    return Crystal(cell @ deformation, positions @ deformation, np.array([6, 6]), id="diamond")


def _constants(crystal: Crystal, fc3_cutoff_ang: float) -> Constants:
    """Compute force constants, those of third order by a fit to triplets with all three atoms within the cutoff.

    kALDo's time and memory go with the square of the number of lattice vectors that triplets reach, and those of finite
    displacements reach all of the supercell.
    """
    primitive = primitive_crystal(crystal, KappaSettings().symprec_ang)
    fit = ForceConstantSettings(way="fit", fc3_fit_cutoff_ang=fc3_cutoff_ang)
    potential = load("carbon")
    second = order2(primitive, potential, ForceConstantSettings())
    return Constants(primitive.crystal, second, order3(primitive, potential, fit))


def our_kappa(constants: Constants, mesh: int, collisions: Collisions = "cells") -> Kappa:
    """Compute κ as `kappaforge kappa` does, on one mesh."""
    settings = KappaSettings(mesh=(mesh, mesh, mesh), collisions=collisions, temperature_k=TEMPERATURE_K)
    primitive = primitive_crystal(constants.crystal, settings.symprec_ang)
    record = conductivity_of_orders(primitive, constants.second, constants.third, settings, source="carbon")
    if record.kappa_rta_w_per_mk is None or record.kappa_lbte_w_per_mk is None:
        raise KappaforgeError(f"no κ by our kernel: {record.reason}")
    return Kappa(record.kappa_rta_w_per_mk, record.kappa_lbte_w_per_mk)


class GaussianDeltas:
    """Deltas that are Gaussians of one width for all, cut as kALDo does; in place of `CellDeltas`."""

    def __init__(self, grid: PhononGrid, device: torch.device, width_thz: float) -> None:
        self.frequencies = torch.from_numpy(grid.frequencies_thz).to(device)
        self.width_thz = width_thz

    def __call__(self, point: int, triplets: Triplets) -> Iterator[OnShell]:
        """Find what conserves energy at a point."""
        one, two = self.frequencies[triplets.second][:, :, None], self.frequencies[triplets.third][:, None, :]
        for kind, energy in ((DECAY, one + two), (ABSORB_SECOND, two - one), (ABSORB_THIRD, one - two)):
            off = (self.frequencies[point][:, None, None] - energy[:, None]) / self.width_thz
            found = (off.abs() < CUT).nonzero(as_tuple=True)
            yield OnShell.of(kind, found, torch.exp(-off[found].square() / 2) / (sqrt(2 * pi) * self.width_thz))


def our_kappa_by_gaussians(constants: Constants, mesh: int, width_thz: float) -> Kappa:
    """Compute κ by our kernel with Gaussians of a standard deviation in place of its own deltas."""
    phonopy = phonopy_with(constants.crystal, constants.second.choice.matrix)
    phonopy.force_constants = constants.second.fc2
    grid = phonon_grid(phonopy, (mesh, mesh, mesh))
    third = constants.third
    kernel = ThreePhonon(lattice_terms(third.fc3, third.known, third.primitive), grid, third.primitive)
    with patch("kappaforge.transport.scattering.CellDeltas", partial(GaussianDeltas, width_thz=width_thz)):
        (scattering,) = three_phonon_scattering(kernel, [TEMPERATURE_K], "cells")
    solution = solve(grid, scattering)
    assert solution.kappa_lbte_w_per_mk is not None, "the whole equation is solved unless told otherwise"
    return Kappa(solution.kappa_rta_w_per_mk, solution.kappa_lbte_w_per_mk)


def kaldo_kappa(constants: Constants, mesh: int, python: Path, width_thz: float | None = None) -> Kappa:
    """Compute κ by kALDo in another Python.

    Parameters
    ----------
    constants
        The crystal.
    mesh
        Number of q points along each reciprocal vector.
    python
        One that has kALDo.
    width_thz
        Standard deviation of all Gaussians, THz; None for widths by velocities.

    Raises
    ------
    KappaforgeError
        Where kALDo fails, with the end of what it said.
    """
    crystal, third = constants.crystal, constants.third
    with tempfile.TemporaryDirectory() as folder:
        places: dict[str, Any] = {**_places(crystal, constants.second, 2), **_places(crystal, third, 3)}
        given, found = Path(folder) / "given.npz", Path(folder) / "found.npz"
        np.savez(
            given,
            cell=crystal.cell,
            positions=crystal.positions,
            numbers=crystal.numbers,
            masses=third.primitive.masses,
            fc2=constants.second.fc2,
            fc3=third.fc3 * third.known[..., None, None, None],
            mesh=[mesh] * 3,
            temperature_k=TEMPERATURE_K,
            width_thz=width_thz or 0.0,
            **places,
        )
        # kALDo's Python has packages of its own, and TensorFlow much to say
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        run = subprocess.run(
            [str(python.absolute()), str(RUNNER), str(given), str(found)],
            check=False,
            capture_output=True,
            text=True,
            env={"TF_CPP_MIN_LOG_LEVEL": "3", **environment},
            cwd=folder,
        )
        if run.returncode or not found.exists():
            raise KappaforgeError(f"kALDo fails by {python}:\n{(run.stdout + run.stderr)[-2000:]}")
        with np.load(found) as file:
            return Kappa(*(file[f"kappa_{name}_w_per_mk"] for name in ("rta", "lbte")))


def _places(crystal: Crystal, order: Order, number: int) -> dict[str, np.ndarray]:
    """Say where the supercell's atoms are: which of the primitive cell, and in which cell from each first atom."""
    within = order.primitive
    of_supercell = np.array([within.p2p_map[atom] for atom in within.s2p_map])
    # phonopy may have put an atom of the primitive cell into another cell, so positions count from the crystal's
    cells = (order.supercell.positions - crystal.positions[of_supercell]) @ np.linalg.inv(crystal.cell)
    whole = np.rint(cells).astype(int)
    if np.abs(cells - whole).max() > 1e-4:
        raise KappaforgeError("the supercell's atoms are not those of the primitive cell")
    return {
        f"matrix{number}": order.choice.matrix,
        f"atom_of{number}": of_supercell,
        f"cells{number}": whole - whole[within.p2s_map][:, None],
    }


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", type=Path, required=True, help="a Python that has kALDo")
    parser.add_argument("--meshes", type=int, nargs="+", default=[5, 7, 9], help="numbers of the q meshes of diamond")
    parser.add_argument("--cutoff", type=float, default=4.0, help="Å; between all atoms of diamond's triplets")
    parser.add_argument("--shear-mesh", type=int, default=5, help="number of the q mesh of sheared diamond")
    return parser.parse_args()


def row(crystal: str, mesh: int, energy: str, ours: Kappa, theirs: Kappa) -> str:
    """Return a row of the table: mean κ of both programs, RTA / full, and how far kALDo's are above ours."""
    values = (f"{each.means[0]:.1f} / {each.means[1]:.1f}" for each in (ours, theirs))
    rta, full = theirs.percent_over(ours)
    return f"| {crystal} | {mesh}³ | {energy} | {' | '.join(values)} | {rta:+.3f} % / {full:+.3f} % |"


def main() -> None:
    """Print a table, row by row."""
    options = parse()
    print("κ in W/(m·K) at 300 K, RTA / full.\n")
    print("| crystal | mesh | energy conserved by | ours | kALDo | kALDo over ours |\n|---|---|---|---|---|---|")
    sheared = sheared_constants()
    for width_thz in WIDTHS_THZ:
        ours = our_kappa_by_gaussians(sheared, options.shear_mesh, width_thz)
        theirs = kaldo_kappa(sheared, options.shear_mesh, options.python, width_thz)
        energy = f"Gaussians of {width_thz} THz in both"
        print(row("sheared diamond", options.shear_mesh, energy, ours, theirs), flush=True)
    diamond = diamond_constants(options.cutoff)
    for mesh in options.meshes:
        theirs = kaldo_kappa(diamond, mesh, options.python)
        for collisions in ("cells", "tetrahedra"):
            ours = our_kappa(diamond, mesh, collisions)
            print(row("diamond", mesh, f"{collisions}; Gaussians by velocities", ours, theirs), flush=True)


if __name__ == "__main__":
    main()
