"""κ by kALDo, of force constants handed over in a file: what `kaldo_check.py` runs in kALDo's own environment.

    python kaldo_run.py INPUT.npz OUTPUT.npz

Needs kALDo (2.3 was tried) and numpy alone. It is handed force constants by pairs and triplets of atoms of a supercell
and nothing of how its images are chosen, Fourier transforms done, energy conserved or the transport equation solved.
"""

import sys

import numpy as np
from ase import Atoms
from kaldo.conductivity import Conductivity
from kaldo.forceconstants import ForceConstants
from kaldo.observables.secondorder import SecondOrder
from kaldo.observables.thirdorder import ThirdOrder
from kaldo.phonons import Phonons
from sparse import COO


def slots(order, matrix, cells):
    """Return where kALDo has lattice vectors of the supercell, shape (..., 3): the place of each one's class."""
    grid = order.from_supercell(atoms=ATOMS, supercell=matrix, grid_type="C").supercell_grid
    return np.array([grid.class_id(cell) for cell in cells.reshape(-1, 3)]).reshape(cells.shape[:-1])


def second_order(given):
    """Return kALDo's second order: (1, i, 3, R, j, 3), from fc2 (i, supercell atom, 3, 3), eV/Å²."""
    matrix, of, fc2 = given["matrix2"], given["atom_of2"], given["fc2"]
    slot = slots(SecondOrder, matrix, given["cells2"])
    n_atoms, n_slots = len(ATOMS), fc2.shape[1] // len(ATOMS)
    value = np.zeros((1, n_atoms, 3, n_slots, n_atoms, 3))
    for first in range(n_atoms):
        for place, atom in enumerate(of):
            value[0, first, :, slot[first, place], atom] = fc2[first, place]
    return SecondOrder.from_supercell(atoms=ATOMS, supercell=matrix, grid_type="C", value=value)


def third_order(given):
    """Return kALDo's third order: (i, 3, R', j, 3, R'', k, 3), from fc3 (i, two supercell atoms, 3, 3, 3), eV/Å³."""
    matrix, of, fc3 = given["matrix3"], given["atom_of3"], given["fc3"]
    slot = slots(ThirdOrder, matrix, given["cells3"])
    n_atoms, n_slots = len(ATOMS), fc3.shape[1] // len(ATOMS)
    first, second, third, a, b, c = np.nonzero(fc3)
    places = [first, a, slot[first, second], of[second], b, slot[first, third], of[third], c]
    shape = (n_atoms, 3, n_slots, n_atoms, 3, n_slots, n_atoms, 3)
    value = COO(np.array(places), fc3[first, second, third, a, b, c], shape=shape)
    return ThirdOrder.from_supercell(atoms=ATOMS, supercell=matrix, grid_type="C", value=value)


def main(given, output):
    """Compute and write."""
    second, third = second_order(given), third_order(given)
    constants = ForceConstants(
        ATOMS, given["matrix2"], third_supercell=given["matrix3"], second_order=second, third_order=third
    )
    phonons = Phonons(
        forceconstants=constants,
        temperature=float(given["temperature_k"]),
        is_classic=False,
        kpts=tuple(int(number) for number in given["mesh"]),
        third_bandwidth=float(given["width_thz"]) * np.sqrt(2) or None,  # exp(-(ω/width)²)
        broadening_shape="gauss",
        broadening_kernel="shengbte",
        include_isotopes=False,
        is_balanced=False,
        use_q_symmetry=False,
        is_nac=False,
        storage="memory",
    )
    # the matrix first, from which the linewidths of the other follow
    full = Conductivity(phonons=phonons, method="inverse", storage="memory").conductivity.sum(axis=0)
    rta = Conductivity(phonons=phonons, method="rta", n_iterations=0, storage="memory").conductivity.sum(axis=0)
    np.savez(output, kappa_rta_w_per_mk=rta, kappa_lbte_w_per_mk=full)


with np.load(sys.argv[1]) as file:
    GIVEN = dict(file)
ATOMS = Atoms(
    numbers=GIVEN["numbers"], positions=GIVEN["positions"], cell=GIVEN["cell"], masses=GIVEN["masses"], pbc=True
)
main(GIVEN, sys.argv[2])
