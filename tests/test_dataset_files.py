"""Readers and writers: every format, round trips, and one clear line for whatever is wrong."""

import gzip
import os
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from hypothesis import given, settings
from hypothesis import strategies as st

from kappaforge.crystal import Crystal
from kappaforge.dataset.entry import unique_names
from kappaforge.dataset.formats import FORMATS
from kappaforge.dataset.readers import read
from kappaforge.dataset.writers import write
from kappaforge.errors import InputError

RES = """TITL C-1-2-3 10.00 11.349 -308.52 0 0 2 (Fd-3m) n - 1
REM made by hand
CELL 1.54180 2.52250 2.52250 2.52250 60.0 60.0 60.0
LATT -1
SFAC C
C 1 0.00 0.00 0.00 1.0
C 1 0.25 0.25 0.25 1.0
END
"""
POSCAR = "carbon\n1.0\n0 1.78 1.78\n1.78 0 1.78\n1.78 1.78 0\nC\n2\nDirect\n0 0 0\n0.25 0.25 0.25\n"
CIF = """data_x
_cell_length_a 3.567
_cell_length_b 3.567
_cell_length_c 3.567
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
_symmetry_space_group_name_H-M 'P 1'
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_occupancy
"""
EXTXYZ = """2
Lattice="0 1.78 1.78 1.78 0 1.78 1.78 1.78 0" Properties=species:S:1:pos:R:3 energy=-18.0 pbc="T T T"
C 0 0 0
C 0.89 0.89 0.89
"""


def one_line_error(path: Path | str, format: str = "") -> str:
    with pytest.raises(InputError) as caught:
        read(path, format)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def write_text(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def cif_with(*sites: str) -> str:
    return CIF + "\n".join(f"C{i} {site}" for i, site in enumerate(sites)) + "\n"


@pytest.fixture
def csv_text(diamond, tmp_path) -> str:
    (path,) = write([diamond], tmp_path / "one.cif")
    cif = path.read_text()
    return f'material_id,cif,energy_per_atom\nC-7-8,"{cif}",-154.2\nC-7-9,"{cif}",\n'


def test_cif_is_read(tmp_path):
    (entry,) = read(write_text(tmp_path / "pair.cif", cif_with("C 0 0 0 1", "C 0.25 0.25 0.25 1")))
    assert (entry.crystal.id, entry.crystal.source, entry.energy_ev_per_atom) == ("pair", "pair.cif", None)
    assert entry.crystal.positions[1] == pytest.approx(np.full(3, 3.567 / 4))


@pytest.mark.parametrize("name", ["POSCAR", "CONTCAR", "POSCAR.diamond", "diamond.vasp", "POSCAR.gz"])
def test_poscar_is_read(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(gzip.compress(POSCAR.encode()) if name.endswith(".gz") else POSCAR.encode())
    (entry,) = read(path)
    assert entry.crystal.formula == "C2"
    assert entry.crystal.id == name.removesuffix(".gz").removesuffix(".vasp")


def test_poscar_with_all_atoms_free_is_read(tmp_path):
    text = POSCAR.replace("Direct", "Selective dynamics\nDirect").replace("0 0 0", "0 0 0 T T T")
    text = text.replace("0.25 0.25 0.25", "0.25 0.25 0.25 T T T")
    assert len(read(write_text(tmp_path / "POSCAR", text))) == 1


def test_poscar_without_elements_is_refused(tmp_path):
    assert "names no elements" in one_line_error(write_text(tmp_path / "POSCAR", POSCAR.replace("C\n2", "2")))


def test_extxyz_energy_is_divided_by_the_atoms(tmp_path):
    entries = read(write_text(tmp_path / "two.extxyz", EXTXYZ + EXTXYZ))
    assert [entry.energy_ev_per_atom for entry in entries] == [-9.0, -9.0]
    assert [entry.crystal.id for entry in entries] == ["two-1", "two-2"]


def test_res_enthalpy_comes_from_the_title(tmp_path):
    (entry,) = read(write_text(tmp_path / "some.res", RES))
    assert entry.crystal.id == "C-1-2-3"
    assert entry.energy_ev_per_atom == pytest.approx(-154.26)
    assert entry.crystal.volume_ang3 == pytest.approx(11.349, abs=1e-2)


def test_concatenated_res_is_read_and_ids_stay_unique(tmp_path):
    plain = RES.replace(RES.splitlines()[0], "TITL by hand")
    entries = read(write_text(tmp_path / "many.res", RES + "\n" + plain + RES))
    assert [entry.crystal.id for entry in entries] == ["C-1-2-3", "many-2", "C-1-2-3-2"]
    assert entries[1].energy_ev_per_atom is None


def test_csv_of_cifs_is_read(tmp_path, csv_text, diamond):
    entries = read(write_text(tmp_path / "carbon.csv", csv_text))
    assert [entry.crystal.id for entry in entries] == ["C-7-8", "C-7-9"]
    assert [entry.energy_ev_per_atom for entry in entries] == [-154.2, None]
    assert entries[0].crystal.volume_ang3 == pytest.approx(diamond.volume_ang3)


def test_folder_and_glob_are_read_in_order_of_names(tmp_path):
    write_text(tmp_path / "b.vasp", POSCAR)
    write_text(tmp_path / "a.res", RES)
    write_text(tmp_path / "README.md", "not a crystal")
    assert [entry.crystal.source for entry in read(tmp_path)] == ["a.res", "b.vasp"]
    assert [entry.crystal.id for entry in read(tmp_path / "*.vasp")] == ["b"]


def test_equal_stems_of_a_folder_get_a_suffix(tmp_path):
    write_text(tmp_path / "x.cif", cif_with("C 0 0 0 1"))
    write_text(tmp_path / "x.vasp", POSCAR)
    assert [entry.crystal.id for entry in read(tmp_path)] == ["x", "x-2"]


def test_format_overrides_the_name(tmp_path):
    assert len(read(write_text(tmp_path / "structure.txt", POSCAR), "poscar")) == 1


@given(st.lists(st.sampled_from(["a", "a-2", "a-3", "b", "b-2"]), max_size=9))
def test_unique_names_are_unique_and_keep_first_comers(names):
    unique = unique_names(names)
    assert len(set(unique)) == len(names)
    assert all(new == old for i, (new, old) in enumerate(zip(unique, names, strict=True)) if old not in names[:i])


@settings(max_examples=60, deadline=None)
@given(
    id=st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "S"]), min_size=1, max_size=12)
    | st.sampled_from(["1e5", "T", "1234567890", "07", "nan", 'a "b" c', "back\\slash", '"\\', "a b\\", "[1]", "{x}"]),
    n_parents=st.integers(0, 3),
)
def test_extxyz_round_trip_keeps_identity(tmp_path_factory, id, n_parents):
    parents = ("0" * 64, "1e7", "f" * 64)[:n_parents]
    crystal = Crystal.from_ase(bulk("C", a=3.567), id=id, source="generator x, batch 3", parents=parents)
    path = tmp_path_factory.mktemp("trip") / "out.extxyz"
    write([crystal], path, columns=[{"energy_ev_per_atom": -7.25, "seconds": None}])
    (entry,) = read(path)
    again = entry.crystal
    assert (again.id, again.source, again.parents) == (crystal.id, crystal.source, crystal.parents)
    assert again.digest == crystal.digest
    assert entry.energy_ev_per_atom == -7.25


@pytest.mark.parametrize("name", ["out.cif", "POSCAR", "out.vasp.gz", "out.extxyz.gz"])
def test_single_files_keep_the_geometry(tmp_path, diamond, name):
    (path,) = write([diamond], tmp_path / "new" / name)
    (entry,) = read(path)
    assert entry.crystal.volume_ang3 == pytest.approx(diamond.volume_ang3, rel=1e-8)
    assert entry.crystal.fractional == pytest.approx(diamond.fractional, abs=1e-8)


@pytest.mark.parametrize("format", ["cif", "poscar"])
def test_folders_hold_one_file_for_each_crystal(tmp_path, diamond, format):
    crystals = [diamond, replace(diamond, id="a/b"), replace(diamond, id="a/b")]
    paths = write(crystals, tmp_path / "folder", format)
    assert [path.stem for path in paths] == ["diamond", "a_b", "a_b-2"]
    assert len(read(tmp_path / "folder")) == 3


def test_several_crystals_in_one_cif_are_refused(tmp_path, diamond):
    with pytest.raises(InputError, match="holds one crystal, got 2"):
        write([diamond, diamond], tmp_path / "out.cif")


@pytest.mark.parametrize("name", ["out.pdb", "out.csv", "out"])
def test_unknown_output_formats_are_refused(tmp_path, diamond, name):
    with pytest.raises(InputError, match=r"out"):
        write([diamond], tmp_path / name)


def test_a_failed_write_leaves_the_old_file(tmp_path, diamond):
    path = tmp_path / "out.extxyz"
    write([diamond], path)
    before = path.read_bytes()
    with pytest.raises(UnicodeEncodeError):
        write([diamond], path, columns=[{"note": "a lone surrogate \ud800"}])
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["out.extxyz"]


def test_missing_file_suggests_a_sibling(tmp_path):
    write_text(tmp_path / "diamond.cif", cif_with("C 0 0 0 1"))
    error = one_line_error(tmp_path / "diamnod.cif")
    assert "no such file" in error
    assert "diamond.cif" in error
    assert "no such file" in one_line_error(tmp_path / "no" / "such.cif")


def test_impossible_path_is_refused():
    assert "cannot be read" in one_line_error("x" * 5000)


def test_empty_folder_and_empty_pattern_are_refused(tmp_path):
    assert "holds no crystals" in one_line_error(tmp_path)
    assert "holds no crystals" in one_line_error(tmp_path / "*.cif")


def test_unknown_extension_and_format_are_refused(tmp_path):
    path = write_text(tmp_path / "x.pdb", "ATOM")
    assert "cannot tell the format" in one_line_error(path)
    assert "did you mean 'cif'" in one_line_error(path, "ciff")


@pytest.mark.parametrize(
    ("sites", "said"),
    [
        (("C 0 0 0 1", "C 0 0 0.01 1"), "atoms overlap, 0.036 Å apart"),
        (("C 0 0 0.005 1", "C 0 0 0.995 1"), "atoms overlap, 0.036 Å apart"),
        (("C 0 0 0 1", "C 0 0 0 1"), "atoms overlap"),
        (("C 0 0 0 0.5", "C 0.25 0.25 0.25 1"), "partially occupied"),
        (("C 0 0 0 0.5", "N 0 0 0 0.5"), "partially occupied"),
        (("C 0 0 nan 1",), "bad.cif"),
    ],
)
def test_impossible_cifs_are_refused(tmp_path, sites, said):
    error = one_line_error(write_text(tmp_path / "bad.cif", cif_with(*sites)))
    assert said in error
    assert "bad.cif" in error


def test_atoms_closer_than_half_an_angstrom_to_their_own_image_are_refused(tmp_path):
    text = EXTXYZ.replace("0 1.78 1.78 1.78 0 1.78 1.78 1.78 0", "0.4 0 0 0 9 0 0 0 9")
    assert "atoms overlap, 0.400 Å" in one_line_error(write_text(tmp_path / "thin.extxyz", text))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("C 0 0 0", "C 0 0 nan", "not finite"),
        ("C 0 0 0", "Qq 0 0 0", "bad.extxyz"),
        ("energy=-18.0", "energy=nan", "the energy is nan"),
        ('Lattice="0 1.78 1.78 1.78 0 1.78 1.78 1.78 0" ', "", "no unit cell"),
        ("2\n", "99999999999999\n", "announces 99999999999999 atoms"),
        ("pos:R:3", "pos:R:99999999999", "announce 100000000000 columns"),
        ("1.78 1.78 0", "1.78 1.7e300 0", "is 1.7e+300 Å"),
        ("2\n", "-5\n", "announces -5 atoms"),
    ],
)
def test_impossible_extxyz_is_refused(tmp_path, old, new, said):
    assert said in one_line_error(write_text(tmp_path / "bad.extxyz", EXTXYZ.replace(old, new, 1)))


def test_errors_of_one_among_many_name_it(tmp_path):
    path = write_text(tmp_path / "some.extxyz", EXTXYZ + EXTXYZ.replace("C 0 0 0", "C 0 0"))
    assert "some.extxyz, crystal 2" in one_line_error(path)


def test_csv_without_cif_column_is_refused(tmp_path):
    assert "no column 'cif'" in one_line_error(write_text(tmp_path / "x.csv", "a,b\n1,2\n"))


def test_partially_occupied_res_is_refused(tmp_path):
    text = RES.replace("0.25 0.25 0.25 1.0", "0.25 0.25 0.25 0.5")
    assert "partially occupied" in one_line_error(write_text(tmp_path / "x.res", text))


def test_damaged_gzip_is_refused(tmp_path):
    path = tmp_path / "x.cif.gz"
    path.write_bytes(gzip.compress(cif_with("C 0 0 0 1").encode())[:-20])
    assert "cannot be read" in one_line_error(path)


def test_readers_are_silent(tmp_path, capfd):
    text = cif_with("C 0 0 0 1", "C 0.33333 0.66667 0.25 1").replace("'P 1'", "'P1 '")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read(write_text(tmp_path / "x.cif", text))
    assert capfd.readouterr() == ("", "")


def _valid(format: str) -> str:
    cif = cif_with("C 0 0 0 1", "C 0.25 0.25 0.25 1")
    csv = f'material_id,cif,energy_per_atom\nC-7-8,"{cif}",-154.2\n'
    return {"cif": cif, "poscar": POSCAR, "extxyz": EXTXYZ + EXTXYZ, "res": RES + RES, "csv": csv}[format]


def _read_or_refuse(folder: Path, content: bytes, format: str) -> None:
    path = folder / "wild"
    path.write_bytes(content)
    try:
        entries = read(path, format)
    except InputError as error:
        message = str(error)
    else:
        message = f"wild gave {len(entries)} crystals"
    assert "\n" not in message
    assert "wild" in message


@pytest.mark.parametrize("format", FORMATS)
def test_truncated_files_are_read_or_refused(tmp_path, format):
    content = _valid(format).encode()
    for end in range(0, len(content), 7):
        _read_or_refuse(tmp_path, content[:end], format)


@settings(max_examples=150, deadline=None)
@given(format=st.sampled_from(FORMATS), content=st.binary(max_size=300))
def test_random_bytes_are_refused(tmp_path_factory, format, content):
    path = tmp_path_factory.mktemp("bytes") / "wild"
    path.write_bytes(content)
    with pytest.raises(InputError):
        read(path, format)


@settings(max_examples=150, deadline=None)
@given(
    format=st.sampled_from(FORMATS),
    place=st.floats(0, 1),
    junk=st.binary(max_size=6) | st.sampled_from([b"9" * 12, b"-", b"nan", b"1e308", b"\x00", b'"', b"\n", b"'", b"{"]),
    length=st.integers(0, 6),
)
def test_damaged_files_are_read_or_refused(tmp_path_factory, format, place, junk, length):
    content = _valid(format).encode()
    start = int(place * len(content))
    _read_or_refuse(tmp_path_factory.mktemp("damaged"), content[:start] + junk + content[start + length :], format)
