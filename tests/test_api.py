"""κ of one crystal in one call."""

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from pymatgen.core import Lattice, Structure

import kappaforge
from kappaforge.crystal import Crystal
from kappaforge.errors import InputError
from kappaforge.transport.order_settings import ForceConstantSettings

QUICK = {
    "extrapolate": False,
    "mesh_length_ang": 8.0,
    "force_constants": ForceConstantSettings(
        fc2_face_distance_ang=5.0, fc3_face_distance_ang=4.5, fc3_cutoff_ang=2.0, displacement_ang=0.01
    ),
}


def test_atoms_structures_and_crystals_give_the_same_kappa() -> None:
    atoms = bulk("C", "diamond", a=3.56)
    structure = Structure(Lattice(atoms.cell), ["C", "C"], atoms.get_scaled_positions())
    records = [
        kappaforge.conductivity(given, "brenner", level="rta", **QUICK)
        for given in (atoms, structure, Crystal.from_ase(atoms))
    ]
    assert [record.status for record in records] == ["ok"] * 3
    first, *others = (record.kappa.kappa_rta_w_per_mk for record in records)
    for other in others:
        np.testing.assert_allclose(other, first, rtol=1e-6, atol=1e-6 * first.max())


def test_ase_calculator_is_taken_and_told_apart_from_others() -> None:
    record = kappaforge.conductivity(bulk("Cu", a=3.6), EMT(), level="harmonic", **QUICK)
    assert (record.status, record.potential) == ("ok", "ase:ase.calculators.emt:EMT")
    assert record.kappa.potential_digest
    assert record.crystal.cell[0, 1] == pytest.approx(3.59 / 2, abs=0.01), "it was relaxed"


def test_bad_input_is_refused_in_one_line() -> None:
    diamond = bulk("C", "diamond", a=3.56)
    with pytest.raises(InputError, match=r"unknown option 'temperature' .*"):
        kappaforge.conductivity(diamond, "brenner", temperature=300.0)
    with pytest.raises(InputError, match="expected Atoms, a Structure or a Crystal, got str"):
        kappaforge.conductivity("POSCAR", "brenner")
    with pytest.raises(InputError, match="does not know Cu"):
        kappaforge.conductivity(bulk("Cu"), "brenner")
