"""VASP's inputs, and its results read back; VASP itself is not needed."""

import gzip
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.units import GPa
from pymatgen.io.vasp.inputs import Incar

from kappaforge.crystal import Crystal
from kappaforge.errors import InputError
from kappaforge.label.dataset import read_labels, write_labels
from kappaforge.label.settings import VaspSettings
from kappaforge.label.vasp import read_vasp_labels, write_vasp_inputs

FORCES = np.array([[0.11, -0.22, 0.33], [-0.14, 0.25, -0.36], [0.03, -0.03, 0.03]])
STRESS_KBAR = np.array([[-165.9, 1.5, 2.5], [1.5, 80.0, -3.5], [2.5, -3.5, 12.0]])
FREE_ENERGY, ZERO_SMEARING = -27.30, -27.25


@pytest.fixture
def crystal(rng: np.random.Generator) -> Crystal:
    """Three atoms whose species are not sorted, in a skewed cell."""
    atoms = Atoms("NBN", positions=rng.normal(size=(3, 3)), cell=[[4.0, 0.5, 0.0], [0.0, 5.0, -0.7], [0.3, 0.0, 6.0]])
    return Crystal.from_ase(atoms, id="bn-1", source="test")


def rows(array: np.ndarray) -> str:
    return "\n".join(f"<v> {' '.join(f'{value:.8f}' for value in row)} </v>" for row in array)


def vasprun(
    crystal: Crystal,
    *,
    iterations: int = 2,
    titels: dict[str, str] | None = None,
    forces: np.ndarray | None = None,
) -> str:
    """What VASP 6 writes of a static calculation, as far as it is about energy, forces, stress and settings.

    As there, the last block's e_0_energy is wrong, and only its e_fr_energy to be used.
    """
    symbols = crystal.to_ase().get_chemical_symbols()
    structure = f"""<crystal><varray name="basis">{rows(crystal.cell)}</varray></crystal>
      <varray name="positions">{rows(crystal.fractional)}</varray>"""
    atoms = "\n".join(f"<rc><c>{symbol}</c><c>1</c></rc>" for symbol in symbols)
    known = {"B": "B 06Sep2000", "N": "N 08Apr2002", "C": "C 08Apr2002", "Si": "Si 05Jan2001"}
    titels = {element: f"PAW_PBE {titel}" for element, titel in known.items()} | (titels or {})
    types = "\n".join(
        f"<rc><c>{symbols.count(each)}</c><c>{each}</c><c>12.0</c><c>4.0</c><c> {titels[each]} </c></rc>"
        for each in sorted(set(symbols))
    )
    energies = f"""<i name="e_fr_energy">{FREE_ENERGY:.8f}</i><i name="e_wo_entrp">-27.20000000</i>
      <i name="e_0_energy">{ZERO_SMEARING:.8f}</i>"""
    scf = f"<scstep><energy>{energies}</energy></scstep>" * iterations
    return f"""<?xml version="1.0" encoding="ISO-8859-1"?>
<modeling>
 <generator><i name="program" type="string">vasp</i><i name="version" type="string">6.3.0</i></generator>
 <incar><i type="string" name="GGA">BO</i><i type="logical" name="LUSE_VDW"> T </i></incar>
 <kpoints><generation param="Gamma"><v type="int" name="divisions">9 9 9</v></generation>
  <varray name="kpointlist"><v>0.0 0.0 0.0</v></varray><varray name="weights"><v>1.0</v></varray></kpoints>
 <parameters>
  <separator name="electronic"><i type="string" name="PREC">accura</i><i name="ENMAX">600.0</i>
   <i type="int" name="ISPIN">2</i><i type="int" name="NELM">100</i><i type="int" name="ISMEAR">0</i>
   <i name="SIGMA">0.05</i><i name="KSPACING">0.15</i><i type="string" name="GGA">BO</i>
   <i type="int" name="NSW">0</i><i type="int" name="IBRION">-1</i><i name="PSTRESS">0.0</i></separator>
 </parameters>
 <atominfo><atoms>{len(symbols)}</atoms><types>1</types>
  <array name="atoms"><field type="string">element</field><field type="int">atomtype</field><set>{atoms}</set></array>
  <array name="atomtypes"><field type="int">atomspertype</field><field type="string">element</field><field>mass</field>
   <field>valence</field><field type="string">pseudopotential</field><set>{types}</set></array></atominfo>
 <structure name="initialpos">{structure}</structure>
 <calculation>
  {scf}
  <structure>{structure}</structure>
  <varray name="forces">{rows(FORCES[: len(symbols)] if forces is None else forces)}</varray>
  <varray name="stress">{rows(STRESS_KBAR)}</varray>
  <energy><i name="e_fr_energy">{FREE_ENERGY:.8f}</i><i name="e_wo_entrp">{FREE_ENERGY:.8f}</i>
   <i name="e_0_energy">{FREE_ENERGY:.8f}</i></energy>
 </calculation>
 <structure name="finalpos">{structure}</structure>
</modeling>
"""


@pytest.fixture
def run(crystal: Crystal, tmp_path: Path) -> Path:
    """A folder of inputs of `crystal`."""
    (folder,) = write_vasp_inputs([crystal], tmp_path / "vasp")
    return folder


def as_written(run: Path) -> Crystal:
    return Crystal.from_ase(ase.io.read(run / "POSCAR", format="vasp"))


def test_inputs_are_the_papers(run: Path) -> None:
    incar = Incar.from_file(run / "INCAR")
    expected = {"ENCUT": 600, "KSPACING": 0.15, "ISPIN": 2, "LUSE_VDW": True, "AGGAC": 0.0, "LASPH": True, "NSW": 0}
    assert {key: incar[key] for key in expected} == expected
    assert (incar["GGA"].upper(), incar["PARAM1"], incar["PARAM2"]) == ("BO", 0.18333333, 0.22)
    assert (incar["ISMEAR"], incar["EDIFF"]) == (0, 1e-6)
    assert sorted(path.name for path in run.iterdir()) == ["INCAR", "POSCAR", "POTCAR.spec"]
    assert (run / "POTCAR.spec").read_text().split() == ["B", "N"]


def test_inputs_follow_their_settings(crystal: Crystal, tmp_path: Path) -> None:
    settings = VaspSettings(
        vdw="",
        cutoff_ev=400.0,
        kspacing_per_ang=0.3,
        smearing_ev=0.1,
        spin_polarised=False,
        energy_convergence_ev=1e-8,
    )
    (folder,) = write_vasp_inputs([crystal], tmp_path, settings)
    incar = Incar.from_file(folder / "INCAR")
    assert (incar["ENCUT"], incar["KSPACING"], incar["SIGMA"], incar["ISPIN"]) == (400, 0.3, 0.1, 1)
    assert incar["EDIFF"] == 1e-8
    assert not {"LUSE_VDW", "MAGMOM", "GGA"} & set(incar)


def test_inputs_hold_the_crystal_with_its_species_together(crystal: Crystal, run: Path) -> None:
    assert run.name == "bn-1"
    written, order = as_written(run), [1, 0, 2]
    np.testing.assert_array_equal(written.numbers, crystal.numbers[order])
    np.testing.assert_allclose(written.cell, crystal.cell, atol=1e-12)
    np.testing.assert_allclose(written.positions, crystal.positions[order], atol=1e-12)


@pytest.mark.parametrize("name", ["vasprun.xml", "vasprun.xml.gz"])
def test_results_come_back_as_a_label(run: Path, name: str) -> None:
    text = vasprun(as_written(run))
    (run / name).write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    (label,) = read_vasp_labels(run.parent)
    assert (label.id, label.status, label.reason) == ("bn-1", "ok", "")
    assert label.energy_ev == pytest.approx(ZERO_SMEARING)
    np.testing.assert_allclose(label.forces_ev_per_ang, FORCES)
    np.testing.assert_allclose(label.stress_ev_per_ang3, -0.1 * GPa * STRESS_KBAR)
    for fact in ("vasp 6.3.0", "GGA BO", "ENMAX 600", "KSPACING 0.15", "PAW_PBE B 06Sep2000, PAW_PBE N 08Apr2002"):
        assert fact.lower() in label.engine.lower()


def test_results_are_those_that_ase_reads(run: Path) -> None:
    (run / "vasprun.xml").write_text(vasprun(as_written(run)))
    (label,) = read_vasp_labels(run.parent)
    atoms = ase.io.read(run / "vasprun.xml", format="vasp-xml")
    assert label.energy_ev == pytest.approx(atoms.get_potential_energy())
    np.testing.assert_allclose(label.forces_ev_per_ang, atoms.get_forces())
    np.testing.assert_allclose(label.stress_ev_per_ang3, atoms.get_stress(voigt=False))
    np.testing.assert_array_equal(label.crystal.numbers, atoms.numbers)
    np.testing.assert_allclose(label.crystal.positions, atoms.positions, atol=1e-6)


def test_labels_from_vasp_survive_their_file(run: Path) -> None:
    (run / "vasprun.xml").write_text(vasprun(as_written(run)))
    labels = read_vasp_labels(run.parent)
    write_labels(labels, run.parent / "labels.extxyz")
    (back,) = read_labels(run.parent / "labels.extxyz")
    assert (back.id, back.engine) == (labels[0].id, labels[0].engine)
    np.testing.assert_allclose(back.stress_ev_per_ang3, labels[0].stress_ev_per_ang3, atol=1e-7)


def test_results_that_are_not_self_consistent_are_unconverged(run: Path) -> None:
    (run / "vasprun.xml").write_text(vasprun(as_written(run), iterations=100))
    (label,) = read_vasp_labels(run.parent)
    assert (label.status, label.energy_ev) == ("unconverged", None)
    assert "100 iterations" in label.reason


@pytest.mark.parametrize("share", [0.0, 0.1, 0.4, 0.6, 0.8, 0.95])
def test_damaged_results_are_failed_labels(run: Path, share: float) -> None:
    text = vasprun(as_written(run))
    (run / "vasprun.xml").write_text(text[: int(share * len(text))])
    (label,) = read_vasp_labels(run.parent)
    assert (label.status, label.energy_ev, label.forces_ev_per_ang) == ("failed", None, None)
    assert "damaged or incomplete" in label.reason
    assert "\n" not in label.reason


def test_results_not_of_these_inputs_are_failed_labels(run: Path) -> None:
    (label,) = read_vasp_labels(run.parent)
    assert (label.status, "VASP has not run" in label.reason) == ("failed", True)
    written = as_written(run)
    (run / "vasprun.xml").write_text(vasprun(written.moved_to(written.cell, written.positions + 0.01 * np.eye(3))))
    (label,) = read_vasp_labels(run.parent)
    assert (label.status, "another structure" in label.reason) == ("failed", True)
    (run / "vasprun.xml").write_text(vasprun(written).replace('"PSTRESS">0.0', '"PSTRESS">10.0'))
    (label,) = read_vasp_labels(run.parent)
    assert (label.status, "not a static calculation" in label.reason) == ("failed", True)


def test_crystals_of_other_elements_share_an_engine_unless_a_potential_differs(
    crystal: Crystal, diamond: Crystal, tmp_path: Path
) -> None:
    boron = Crystal.from_ase(bulk("B", "diamond", a=3.8), id="boron")
    runs = write_vasp_inputs([crystal, diamond, boron], tmp_path)
    for run in runs:
        (run / "vasprun.xml").write_text(vasprun(as_written(run)))
    labels = read_vasp_labels(tmp_path)
    assert [label.id for label in labels] == ["bn-1", "boron", "diamond"]
    assert len({label.engine for label in labels}) == 1
    (runs[2] / "vasprun.xml").write_text(vasprun(as_written(runs[2]), titels={"B": "PAW_PBE B_h 07Sep2000"}))
    with pytest.raises(InputError, match=r"boron: potential 'PAW_PBE B_h .*' where another crystal has 'PAW_PBE B 06"):
        read_vasp_labels(tmp_path)


def test_bad_input_is_one_line(crystal: Crystal, run: Path, tmp_path: Path) -> None:
    polonium = Crystal.from_ase(bulk("Po", "sc", a=3.35), id="po")
    unnamable = Crystal(crystal.cell, crystal.positions, crystal.numbers, id="a/b")
    cases = [
        ([crystal], VaspSettings(), run.parent, "exists and may hold results"),
        ([crystal, crystal], VaspSettings(), tmp_path / "new", "'bn-1' occurs more than once"),
        ([unnamable], VaspSettings(), tmp_path / "new", "'a/b' cannot name a folder"),
        ([crystal], VaspSettings(vdw="optB89"), tmp_path / "new", "'optB89'.*optb88"),
        ([polonium], VaspSettings(), tmp_path / "new", "crystal 'po'.*Po"),
        ([crystal], VaspSettings(), run / "POSCAR", "cannot be written"),
        ([], VaspSettings(), tmp_path / "new", "no crystals"),
    ]
    for crystals, settings, folder, message in cases:
        with pytest.raises(InputError, match=message) as caught:
            write_vasp_inputs(crystals, folder, settings)
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "new").exists()
    with pytest.raises(InputError, match="no sub-folder holds a POSCAR"):
        read_vasp_labels(tmp_path / "nothing")
    (run / "POSCAR").write_text("damaged")
    with pytest.raises(InputError, match="POSCAR cannot be read"):
        read_vasp_labels(run.parent)
    with pytest.raises(InputError, match="cutoff_ev: expected a positive number"):
        VaspSettings(cutoff_ev=-1.0)
