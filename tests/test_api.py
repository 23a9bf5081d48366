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


def test_proposals_are_those_of_the_command_whatever_n_is() -> None:
    few = kappaforge.generate(3, "B,N", generator="random", seed=2, max_atoms=6)
    more = kappaforge.generate(5, ["B", "N"], generator="random", seed=2, max_atoms=6)
    assert [crystal.digest for crystal in few] == [crystal.digest for crystal in more[: len(few)]]
    assert all(crystal.elements == {"B", "N"} and len(crystal) <= 6 for crystal in more)


def test_relaxation_takes_one_or_many_of_any_kind() -> None:
    atoms = bulk("C", "diamond", a=3.4)
    structure = Structure(Lattice(atoms.cell), ["C", "C"], atoms.get_scaled_positions())
    record = kappaforge.relax(atoms, "brenner", fmax_ev_per_ang=1e-4)
    assert (record.status, record.id) == ("ok", "C2")
    assert record.fmax_ev_per_ang <= 1e-4
    records = kappaforge.relax([atoms, structure, Crystal.from_ase(atoms)], "brenner")
    assert [each.status for each in records] == ["ok"] * 3
    volumes = [each.crystal.volume_ang3 for each in (record, *records)]
    np.testing.assert_allclose(volumes, volumes[0], rtol=1e-3)
    squeezed = kappaforge.relax(atoms, "brenner", pressure_gpa=50.0)
    assert squeezed.crystal.volume_ang3 < 0.95 * record.crystal.volume_ang3
    assert kappaforge.relax([], "brenner") == []


def test_screening_tells_who_stays_and_why_not() -> None:
    diamond, lonsdaleite = bulk("C", "diamond", a=3.57), bulk("C", "hcp", a=2.5, c=4.1)
    again = diamond.repeat((1, 1, 2))
    again.info["id"] = "again"
    flat = bulk("C", "diamond", a=3.57, cubic=True)
    flat.rattle(0.4, seed=1)
    found = kappaforge.screen([diamond, again, lonsdaleite, flat])
    assert [each.passes for each in found] == [True, False, True, False]
    assert found[1].reason == "same as C2"
    assert "operations" in found[3].reason
    known = kappaforge.screen([diamond, lonsdaleite], known=[again])
    assert [(each.novel, each.passes) for each in known] == [(False, False), (True, True)]
    assert not kappaforge.screen([diamond], max_atoms=1)[0].passes


def test_error_bar_is_that_of_the_mesh_and_of_what_else_is_asked_for() -> None:
    atoms = bulk("C", "diamond", a=3.56)
    plain = kappaforge.conductivity(atoms, "brenner", level="rta", **QUICK)
    assert plain.error_w_per_mk is None, "one mesh tells nothing"
    np.testing.assert_array_equal(plain.kappa_w_per_mk, plain.kappa.kappa_rta_w_per_mk)
    both = kappaforge.conductivity(atoms, "brenner", cutoffs=True, level="rta", **QUICK)
    assert both.error_w_per_mk == pytest.approx(np.hypot(*both.error_bar.parts_w_per_mk.values()))
    assert set(both.error_bar.parts_w_per_mk) == {"supercells", "cutoff"}
    np.testing.assert_array_equal(both.kappa_w_per_mk, plain.kappa_w_per_mk)
    stretched = kappaforge.conductivity(bulk("Cu", a=3.6), EMT(), cutoffs=True, level="rta", **QUICK)
    assert stretched.error_w_per_mk > 0, "also of a calculator that has no name to load it by"


def test_error_bars_that_cannot_be_had_are_refused() -> None:
    atoms = bulk("C", "diamond", a=3.56)
    with pytest.raises(InputError, match="'brenner' has no committee"):
        kappaforge.conductivity(atoms, "brenner", committee=True)
    with pytest.raises(InputError, match="not with level 'harmonic'"):
        kappaforge.conductivity(atoms, "brenner", cutoffs=True, level="harmonic")
    with pytest.raises(InputError, match="leave cutoffs out"):
        kappaforge.conductivity(atoms, "brenner", cutoffs=True, method="paper")


def test_unstable_crystals_have_no_error_bar() -> None:
    record = kappaforge.conductivity(bulk("C", "sc", a=1.8), "brenner", relax=False, cutoffs=True, **QUICK)
    assert record.status != "ok"
    assert (record.kappa_w_per_mk, record.error_bar, record.error_w_per_mk) == (None, None, None)


def test_bad_input_of_the_others_is_refused_in_one_line() -> None:
    diamond = bulk("C", "diamond", a=3.56)
    with pytest.raises(InputError, match=r"relax: unknown option 'fmax' .*"):
        kappaforge.relax(diamond, "brenner", fmax=1e-4)
    with pytest.raises(InputError, match="relax: expected Atoms, a Structure or a Crystal, or a list of them, got str"):
        kappaforge.relax("POSCAR", "brenner")
    with pytest.raises(InputError, match="screen: expected Atoms, a Structure or a Crystal, got int"):
        kappaforge.screen([diamond, 3])
    with pytest.raises(InputError, match=r"did you mean 'max_atoms'"):
        kappaforge.generate(3, max_atom=5)
    with pytest.raises(InputError, match="unknown 'flwo'"):
        kappaforge.generate(3, generator="flwo")


def test_packages_and_functions_share_their_names() -> None:
    import inspect

    from kappaforge import api
    from kappaforge.generate import registry
    from kappaforge.relax import settings

    for name in ("generate", "relax", "screen"):
        assert inspect.signature(getattr(kappaforge, name)) == inspect.signature(getattr(api, name))
    assert kappaforge.generate.registry is registry
    assert kappaforge.relax.settings is settings
    with pytest.raises(AttributeError, match="no attribute 'rlax'"):
        _ = kappaforge.rlax
