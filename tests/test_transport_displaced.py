"""Force constants of forces that are computed elsewhere: plans, the text they live in, matching, folders of files."""

import json
from dataclasses import replace
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator

from kappaforge.campaign.displaced import read_forces, write_displaced
from kappaforge.crystal import Crystal
from kappaforge.errors import InputError
from kappaforge.label.base import Label
from kappaforge.label.dataset import write_labels
from kappaforge.label.registry import load as load_labeler
from kappaforge.label.settings import LabelSettings
from kappaforge.potentials.base import Batch, Potential
from kappaforge.potentials.registry import load
from kappaforge.transport.displaced import Displaced, displace, from_text, supercell_crystals, to_text
from kappaforge.transport.matching import GivenForces, matched_forces
from kappaforge.transport.order_settings import ForceConstantSettings
from kappaforge.transport.orders import order2, order3, solve2, solve3
from kappaforge.transport.plans import plan3, planned_forces
from test_label_vasp import vasprun

EMT = "ase:ase.calculators.emt:EMT"
SMALL = ForceConstantSettings(
    fc2_face_distance_ang=6.5,
    fc3_face_distance_ang=5.5,
    fc3_cutoff_ang=2.4,
    fc3_fit_cutoff_ang=3.2,
    displacement_ang=0.01,  # longer ones bring second neighbours within Tersoff's cutoff
    way="finite",
)
FIT = replace(SMALL, way="fit")


@pytest.fixture(scope="module")
def tersoff() -> Potential:
    return load("tersoff")


@pytest.fixture(scope="module")
def silicon_carbide() -> Crystal:
    """With carbon first, which VASP's inputs put last."""
    return Crystal.from_ase(bulk("CSi", "zincblende", a=4.32), id="3C", source="test")


@pytest.fixture(scope="module", params=["finite", "fit"])
def displaced(request: pytest.FixtureRequest, silicon_carbide: Crystal) -> Displaced:
    return displace(silicon_carbide, replace(SMALL, way=request.param))


def given_by(potential: Potential, displaced: Displaced) -> list[GivenForces]:
    """Return a potential's forces in all supercells, each with the name of its supercell."""
    return [
        GivenForces(crystal, potential.compute(Batch.of([crystal])).forces_ev_per_ang, crystal.id, "tersoff")
        for plan in displaced.plans
        for crystal in supercell_crystals(plan, displaced.primitive)
    ]


def test_plan_forces_and_solving_in_a_row_are_the_orders(displaced: Displaced, tersoff: Potential) -> None:
    second = order2(displaced.primitive, tersoff, displaced.settings)
    third = order3(displaced.primitive, tersoff, displaced.settings)
    forces2, forces3 = (planned_forces(plan, tersoff) for plan in displaced.plans)
    np.testing.assert_allclose(solve2(displaced.second, 2 * forces2).fc2, 2 * second.fc2, atol=1e-10)
    np.testing.assert_allclose(solve3(displaced.third, 2 * forces3).fc3, 2 * third.fc3, atol=1e-8)
    again2, again3 = solve2(displaced.second, forces2), solve3(displaced.third, forces3)  # whatever was solved before
    np.testing.assert_array_equal(again2.fc2, second.fc2)
    np.testing.assert_array_equal(again3.fc3, third.fc3)
    np.testing.assert_array_equal(again3.known, third.known)
    for again, order in ((again2, second), (again3, third)):
        assert (again.way, again.residual, again.n_supercells) == (order.way, order.residual, order.n_supercells)
        assert again.seconds_by_part.keys() == order.seconds_by_part.keys()
        assert again.seconds_by_part["forces"] == 0.0 < order.seconds_by_part["forces"]


def test_solving_names_bad_forces(displaced: Displaced) -> None:
    forces = np.zeros((len(displaced.third.supercells), len(displaced.third.supercell), 3))
    with pytest.raises(InputError, match=r"forces of order 3: expected shape \(\d+, \d+, 3\), got"):
        solve3(displaced.third, forces[1:])
    forces[3, 1, 2] = np.inf
    with pytest.raises(InputError, match=r"forces of order3-0004 are not finite .*; 1 supercells in all"):
        solve3(displaced.third, forces)


def test_plans_come_back_from_their_text_to_the_last_bit(displaced: Displaced) -> None:
    back = from_text(to_text(displaced))
    assert (back.settings, back.primitive.crystal.digest) == (displaced.settings, displaced.primitive.crystal.digest)
    assert (back.primitive.crystal.id, back.primitive.space_group_number) == ("3C", 216)
    for again, plan in zip(back.plans, displaced.plans, strict=True):
        assert again.names == plan.names
        for new, old in zip(again.supercells, plan.supercells, strict=True):
            np.testing.assert_array_equal(new.positions, old.positions)
            np.testing.assert_array_equal(new.cell, old.cell)


def test_plans_go_the_way_they_went_when_estimates_of_cost_change(silicon_carbide: Crystal) -> None:
    dear = displace(silicon_carbide, replace(SMALL, way="auto", fc3_cutoff_ang=None, force_ms_per_atom=1e6))
    assert dear.third.way == "fit"
    content = json.loads(to_text(dear))
    content["settings"]["force_ms_per_atom"] = 1e-6
    cheap = from_text(json.dumps(content))
    assert plan3(cheap.primitive, cheap.settings).way == "finite", "estimates alone would go the other way"
    assert cheap.third.way == "fit"


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("seed", 1, r"order 2 come out otherwise than written \(digest\): use the versions .*phonopy 4"),
        ("displacement_ang", 0.0301, r"order 2 come out otherwise than written \(digest\)"),
        ("oversampling", 30.0, r"order 2 come out otherwise than written \(n_supercells\)"),
        ("fc3_face_distance_ang", 4.5, r"order 3 come out otherwise than written \(supercell_matrix\)"),
        ("way", "best", r"way: expected one of .*got 'best'"),
        ("color", "red", r"not what this version of kappaforge displace writes .*color"),
    ],
)
def test_plans_that_come_out_otherwise_are_refused(
    silicon_carbide: Crystal, key: str, value: object, message: str
) -> None:
    content = json.loads(to_text(displace(silicon_carbide, FIT)))
    content["settings"][key] = value
    with pytest.raises(InputError, match=message) as raised:
        from_text(json.dumps(content))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"crystal": 1}'])
def test_text_of_anything_else_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="not what this version of kappaforge displace writes"):
        from_text(text)


def test_digest_in_the_text_is_blind_to_round_off_alone(displaced: Displaced, rng: np.random.Generator) -> None:
    def shaken(length_ang: float) -> str:
        cells = {kind: [cell.copy() for cell in cells] for kind, cells in displaced.third.displaced.items()}
        for cell in (cell for each in cells.values() for cell in each):
            cell.positions = cell.positions + rng.uniform(-length_ang, length_ang, cell.positions.shape)
        return to_text(displaced._replace(third=replace(displaced.third, displaced=cells)))

    assert shaken(1e-13) == to_text(displaced)
    assert shaken(1e-4) != to_text(displaced)


def test_forces_find_their_supercells_in_any_order_of_frames_and_atoms_and_any_image(
    displaced: Displaced, tersoff: Potential, rng: np.random.Generator
) -> None:
    given = []
    for each in given_by(tersoff, displaced):
        order = rng.permutation(len(each.crystal))
        images = rng.integers(-2, 3, (len(order), 3)) @ each.crystal.cell
        rounding = rng.uniform(-5e-5, 5e-5, (len(order), 3))
        crystal = Crystal(
            each.crystal.cell, (each.crystal.positions + images + rounding)[order], each.crystal.numbers[order]
        )
        given.append(GivenForces(crystal, each.forces_ev_per_ang[order], "somewhere"))
    found = matched_forces(displaced.plans, [given[index] for index in rng.permutation(len(given))])
    for plan, forces in zip(displaced.plans, found, strict=True):
        np.testing.assert_allclose(forces, planned_forces(plan, tersoff), atol=1e-10)


def test_one_supercell_that_both_orders_need_is_computed_once(silicon_carbide: Crystal, tersoff: Potential) -> None:
    displaced = displace(silicon_carbide, replace(FIT, fc2_face_distance_ang=5.5))
    given = given_by(tersoff, displaced)[1:]
    forces, _ = matched_forces(displaced.plans, given)
    np.testing.assert_allclose(forces, planned_forces(displaced.second, tersoff), atol=1e-10)


def test_forces_that_do_not_fit_are_named(displaced: Displaced, tersoff: Potential) -> None:
    given = given_by(tersoff, displaced)
    first = len(displaced.second.supercells)
    names, n_all = displaced.third.names, len(given)

    def instead(index: int, **changes: object) -> list[GivenForces]:
        return [*given[:index], given[index]._replace(**changes), *given[index + 1 :]]

    def refused(given: list[GivenForces], **reasons: str) -> str:
        with pytest.raises(InputError) as raised:
            matched_forces(displaced.plans, given, {key.replace("_", "-"): why for key, why in reasons.items()})
        assert "\n" not in str(raised.value)
        return str(raised.value)

    assert refused(given[:-1]) == f"no forces for {names[-1]} of {n_all} supercells"
    assert refused(given[:-2], order3_0001="?").startswith(f"no forces for {names[-2]} and 1 more of {n_all}")
    assert refused(given[1:], order2_0001="not run").endswith("; order2-0001: not run")

    crystal = given[first + 1].crystal
    moved = crystal.positions.copy()
    moved[5] += [0.0, 0.3, 0.4]
    relaxed = instead(first + 1, crystal=replace(crystal, positions=moved))
    assert refused(relaxed) == (
        f"no forces for order3-0002 of {n_all} supercells; order3-0002 comes closest to order3-0002, but its atom 5 of "
        "the supercell is 0.5000 Å off: compute forces without moving atoms"
    )
    strained = instead(first + 1, crystal=replace(crystal, cell=1.001 * crystal.cell))
    assert refused(strained).endswith("; order3-0002 has another cell or other atoms than they have")
    swapped = instead(first + 1, crystal=replace(crystal, numbers=crystal.numbers[::-1]))
    assert refused(swapped).endswith("; order3-0002 has another cell or other atoms than they have")

    broken = np.full_like(given[first].forces_ev_per_ang, np.nan)
    assert refused(instead(first, forces_ev_per_ang=broken)).startswith(
        "order3-0001: forces of order3-0001 are not fin"
    )
    other = given[first]._replace(forces_ev_per_ang=given[first].forces_ev_per_ang + 0.01, where="again")
    assert refused([*given, other]) == "order3-0001 and again give different forces for order3-0001: remove one"
    assert "engines and cannot be mixed: 'tersoff' (order3-0001) and 'emt' (order3-0002)" in refused(
        instead(first + 1, engine="emt")
    )
    assert len(matched_forces(displaced.plans, [*given, given[0]._replace(where="again")])) == 2


def test_labels_of_the_written_supercells_give_the_force_constants_of_the_same_potential(tmp_path: Path) -> None:
    copper = Crystal.from_ase(bulk("Cu", a=3.6), id="copper")
    settings = replace(SMALL, fc2_face_distance_ang=6.0, fc3_face_distance_ang=5.0, fc3_cutoff_ang=3.0)
    folder = tmp_path / "displaced"
    write_displaced(copper, folder, settings)
    with pytest.raises(InputError, match=r"displaced: no forces in it; label its supercells-order2.extxyz and"):
        read_forces(folder)
    engine = load_labeler(LabelSettings(labeler=EMT))
    labels = []
    for order in (3, 2):
        for atoms in ase.io.read(folder / f"supercells-order{order}.extxyz", ":"):
            labels.append(engine.label(Crystal.from_ase(atoms, id=atoms.info["id"])))
    write_labels(labels, folder / "forces.extxyz")
    primitive, second, third = read_forces(folder)
    expected2, expected3 = (order(primitive, load(EMT), settings) for order in (order2, order3))
    np.testing.assert_allclose(second.fc2, expected2.fc2, atol=1e-8 * np.abs(expected2.fc2).max(), rtol=0)
    np.testing.assert_allclose(third.fc3, expected3.fc3, atol=1e-8 * np.abs(expected3.fc3).max(), rtol=0)
    np.testing.assert_array_equal(third.known, expected3.known)

    write_labels(labels[1:], folder / "forces.extxyz")
    with pytest.raises(InputError, match=r"displaced: no forces for order3-0001 of \d+ supercells$"):
        read_forces(folder)
    forces_alone = labels[0].crystal.to_ase()  # as of any program: neither energy nor name
    forces_alone.calc = SinglePointCalculator(forces_alone, forces=labels[0].forces_ev_per_ang)
    ase.io.write(folder / "rest.xyz", forces_alone, format="extxyz")
    np.testing.assert_allclose(read_forces(folder)[2].fc3, third.fc3, atol=1e-5 * np.abs(third.fc3).max(), rtol=0)
    (folder / "rest.xyz").write_text("damaged")
    with pytest.raises(InputError, match=r"rest.xyz is not readable as extended XYZ"):
        read_forces(folder)


@pytest.mark.parametrize("settings", [SMALL, FIT])
def test_vasp_folders_give_the_force_constants_of_their_forces(
    silicon_carbide: Crystal, tersoff: Potential, tmp_path: Path, settings: ForceConstantSettings
) -> None:
    displaced = write_displaced(silicon_carbide, tmp_path / "vasp", settings, format="vasp")
    runs = sorted((tmp_path / "vasp" / "vasp").iterdir())
    assert [run.name for run in runs] == [name for plan in displaced.plans for name in plan.names]
    assert "EDIFF = 1e-08" in (runs[0] / "INCAR").read_text()
    with pytest.raises(InputError, match=r"no forces for order2-0001 and \d+ more .*no vasprun.xml: VASP has not run"):
        read_forces(tmp_path / "vasp")
    for run in runs:
        crystal = Crystal.from_ase(ase.io.read(run / "POSCAR", format="vasp"))
        assert crystal.numbers[0] == 14, "VASP's inputs have the species in another order"
        forces = tersoff.compute(Batch.of([crystal])).forces_ev_per_ang
        (run / "vasprun.xml").write_text(vasprun(crystal, forces=forces))
    primitive, second, third = read_forces(tmp_path / "vasp")
    expected2, expected3 = (order(primitive, tersoff, settings) for order in (order2, order3))
    # vasprun.xml has eight decimals of forces
    np.testing.assert_allclose(second.fc2, expected2.fc2, atol=1e-7 * np.abs(expected2.fc2).max(), rtol=0)
    np.testing.assert_allclose(third.fc3, expected3.fc3, atol=1e-5 * np.abs(expected3.fc3).max(), rtol=0)

    text = vasprun(crystal, forces=forces, iterations=100)
    (runs[-1] / "vasprun.xml").write_text(text)
    with pytest.raises(InputError, match=rf"no forces for {runs[-1].name} of .*: not self-consistent after 100"):
        read_forces(tmp_path / "vasp")


def test_folders_that_cannot_be_used_are_refused(silicon_carbide: Crystal, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"displaced.json cannot be read .*give a folder of kappaforge displace"):
        read_forces(tmp_path / "nothing")
    write_displaced(silicon_carbide, tmp_path / "written", SMALL)
    with pytest.raises(InputError, match=r"written exists and may hold forces; choose another folder"):
        write_displaced(silicon_carbide, tmp_path / "written", SMALL)
    with pytest.raises(InputError, match=r"format: unknown 'vaps' .did you mean 'vasp'"):
        write_displaced(silicon_carbide, tmp_path / "new", SMALL, format="vaps")
    with pytest.raises(InputError, match=r"crystal '3C' cannot be displaced: .*needs about .* GiB, and memory_gib"):
        write_displaced(silicon_carbide, tmp_path / "new", replace(SMALL, memory_gib=1e-6))
    assert not (tmp_path / "new").exists()
    (tmp_path / "written" / "displaced.json").write_text("{}")
    with pytest.raises(InputError, match=r"displaced.json: not what this version of kappaforge displace writes"):
        read_forces(tmp_path / "written")


def test_files_of_supercells_read_back_exactly(silicon_carbide: Crystal, tmp_path: Path) -> None:
    displaced = write_displaced(silicon_carbide, tmp_path / "written", FIT)
    for plan in displaced.plans:
        frames: list[Atoms] = ase.io.read(tmp_path / "written" / f"supercells-order{plan.order}.extxyz", ":")
        assert [atoms.info["id"] for atoms in frames] == plan.names
        for atoms, cell in zip(frames, plan.supercells, strict=True):
            np.testing.assert_array_equal(atoms.positions, cell.positions)
            np.testing.assert_array_equal(atoms.cell.array, cell.cell)
            np.testing.assert_array_equal(atoms.numbers, cell.numbers)


def test_labels_keep_every_digit(tmp_path: Path, silicon_carbide: Crystal, rng: np.random.Generator) -> None:
    label = Label("3C", silicon_carbide, "engine", energy_ev=-1.0, forces_ev_per_ang=rng.normal(size=(2, 3)))
    write_labels([label], tmp_path / "labels.extxyz")
    atoms = ase.io.read(tmp_path / "labels.extxyz")
    np.testing.assert_array_equal(atoms.get_forces(), label.forces_ev_per_ang)


def test_supercell_too_small_for_any_third_order_constant_is_refused() -> None:
    copper = Crystal.from_ase(bulk("Cu", a=3.6), id="copper")
    with pytest.raises(InputError, match=r"crystal 'copper' cannot be displaced: a cutoff of .* leaves no force const"):
        displace(copper, replace(FIT, fc3_face_distance_ang=4.0))
