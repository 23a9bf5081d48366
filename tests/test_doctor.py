"""What is installed, whether it works, and what to do for what is not."""

import json
import os
from importlib.metadata import requires, version
from pathlib import Path

from packaging.requirements import Requirement

import kappaforge as package
from commands import kappaforge
from kappaforge.generate import registry as generators
from kappaforge.label.registry import LABELERS
from kappaforge.potentials import registry as potentials


def checks(**changed: str) -> tuple[int, dict[tuple[str, str], dict]]:
    """Return the exit code and what was found, by group and name."""
    ended = kappaforge("doctor", "--json", env=os.environ | changed)
    (answer,) = (json.loads(line) for line in ended.stdout.splitlines())
    assert answer["kappaforge"] == package.__version__
    assert answer["ok"] == (ended.returncode == 0)
    found = {(each["group"], each["name"]): each for each in answer["checks"]}
    assert all(bool(each["remedy"]) == (each["status"] != "ok") for each in found.values())
    return ended.returncode, found


def test_doctor_finds_what_this_process_finds() -> None:
    code, found = checks()
    assert code == 0
    wanted = [Requirement(line) for line in requires("kappaforge") or ()]
    assert wanted
    for each in wanted:
        group = next(group for group, name in found if name == each.name)
        if found[group, each.name]["status"] == "ok":
            assert found[group, each.name]["detail"] == version(each.name)
    assert {name for group, name in found if group == "potentials"} == set(potentials.available())
    assert {name for group, name in found if group == "generators"} == set(generators.available())
    assert {name for group, name in found if group == "labeling engines"} == {*LABELERS, "vasp"}
    carbon = found["potentials", "carbon"]
    assert "committee of 8" in carbon["detail"]
    assert carbon["known"]["digest"] == potentials_digest("carbon")
    assert "DFT labels" in carbon["known"]["card"]["data"]
    assert found["generators", "flow"]["known"]["card"]["data"]
    cores = len(os.sched_getaffinity(0))
    assert f"{cores} of {os.cpu_count()} cores" in found["machine", "processor"]["detail"]
    assert ("GPU", "cuda") in found


def potentials_digest(name: str) -> str:
    from kappaforge.potentials.model_file import model_digest, read_model

    file = potentials.model_file(name)
    assert file is not None
    return model_digest(read_model(file))


def test_doctor_says_what_to_do_for_what_is_missing_or_broken(tmp_path: Path) -> None:
    for name in ("sevenn", "gpaw"):
        (tmp_path / f"{name}.py").write_text("raise ImportError('hidden by the test')")
    (tmp_path / "matscipy-0.1.dist-info").mkdir()
    (tmp_path / "matscipy-0.1.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: matscipy\nVersion: 0.1\n"
    )
    path = os.pathsep.join(filter(None, (str(tmp_path), os.environ.get("PYTHONPATH"))))
    code, found = checks(PYTHONPATH=path, PATH=str(tmp_path))
    assert code == 1
    assert found["packages", "matscipy"]["status"] == "broken"
    assert "pip install 'matscipy" in found["packages", "matscipy"]["remedy"]
    assert found["potentials", "7net-0"]["status"] == "missing"
    assert found["potentials", "7net-0"]["remedy"] == "pip install 'kappaforge[sevenn]'"
    assert "tools/environment gpaw" in found["labeling engines", "gpaw"]["remedy"]
    assert "apt-get install quantum-espresso" in found["labeling engines", "espresso"]["remedy"]
    assert "sbatch" in found["batch systems", "slurm"]["remedy"]
    text = kappaforge("doctor", env=os.environ | {"PYTHONPATH": path})
    assert text.returncode == 1
    assert "broken: matscipy" in text.stdout
    assert "pip install 'kappaforge[sevenn]'" in text.stdout
