"""Names of crystals: as pymatgen's own matcher finds them, in any cell, at any volume."""

from dataclasses import replace

import numpy as np
import pytest
from ase.build import bulk, make_supercell
from pymatgen.analysis.structure_matcher import StructureMatcher

from kappaforge.campaign.naming import names_of
from kappaforge.crystal import Crystal
from kappaforge.dataset.known_carbon import known_carbons
from kappaforge.screen.settings import ScreenSettings

KNOWN = [entry.crystal for entry in known_carbons()]
SETTINGS = ScreenSettings()


def test_every_known_carbon_is_named_in_another_cell_strained_and_displaced(rng):
    seen = []
    for crystal in KNOWN:
        atoms = make_supercell(crystal.to_ase(), [[1, 1, 0], [0, 1, 0], [0, 0, 1]])
        atoms.set_cell(atoms.cell * rng.uniform(0.93, 1.07), scale_atoms=True)
        atoms.positions += rng.normal(scale=0.01, size=atoms.positions.shape)
        seen.append(Crystal.from_ase(atoms, id="unnamed"))
    assert [name.known_as for name in names_of(seen, SETTINGS)] == [crystal.id for crystal in KNOWN]


def test_names_are_those_of_pymatgens_matcher(rng):
    matcher = StructureMatcher(ltol=SETTINGS.ltol, stol=SETTINGS.stol, angle_tol=SETTINGS.angle_tol_deg)
    seen = []
    for crystal in KNOWN[:8]:
        for scale in (0.05, 0.25, 0.45):
            atoms = crystal.to_ase()
            atoms.positions += rng.normal(scale=scale, size=atoms.positions.shape)
            seen.append(Crystal.from_ase(atoms))
    expected = [
        next((one.id for one in KNOWN if matcher.fit(one.to_pymatgen(), crystal.to_pymatgen())), "") for crystal in seen
    ]
    assert [name.known_as for name in names_of(seen, SETTINGS)] == expected
    assert "" in expected, "the largest displacements must leave some without a name"


@pytest.mark.parametrize(
    ("atoms", "prototype"),
    [
        (bulk("C", "diamond", a=3.57), "A_cF8_227_a"),
        (bulk("BN", "zincblende", a=3.6), "AB_cF8_216_a_c"),
        (bulk("NaCl", "rocksalt", a=5.6), "AB_cF8_225_a_b"),
    ],
)
def test_prototypes_bear_aflows_labels(atoms, prototype):
    (name,) = names_of([Crystal.from_ase(atoms)], SETTINGS)
    assert name.prototype == prototype
    assert name.known_as == ("diamond" if prototype == "A_cF8_227_a" else "")


def test_crystal_of_no_symmetry_that_can_be_found_has_no_prototype():
    (name,) = names_of([replace(KNOWN[0], positions=np.zeros((2, 3)), id="one upon the other")], SETTINGS)
    assert name.prototype == ""
