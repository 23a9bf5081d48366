"""A real batch system: munged, slurmctld and slurmd, started on this machine as the current user.

Debian's packages slurm-wlm and munge have them.
"""

import getpass
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine_calls import job
from kappaforge.engine.run import Engine
from kappaforge.engine.settings import EngineSettings, PoolSettings
from kappaforge.engine.worker import Call
from small_campaign import TINY, bits, drive, make_run

pytest.importorskip("parsl", reason="it is not installed: pip install 'kappaforge[cluster]'")
pytestmark = pytest.mark.slow

CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.sock
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
SlurmctldPort={controller_port}
SlurmdPort={node_port}
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
NodeName={host} NodeAddr=127.0.0.1 CPUs={cores} State=UNKNOWN
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP
PartitionName=dft Nodes={host} MaxTime=INFINITE State=UP
"""


def find_daemon(name: str) -> str:
    path = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    if path is None:
        pytest.skip(f"there is no {name} here: apt-get install slurm-wlm munge")
    return path


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@pytest.fixture(scope="module")
def slurm() -> Iterator[None]:
    """SLURM of one node and two partitions, for as long as the tests of this file run."""
    munged, slurmctld, slurmd = map(find_daemon, ("munged", "slurmctld", "slurmd"))
    folder = Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp"))  # sockets want a short path
    started: list[subprocess.Popen] = []
    try:
        folder.chmod(0o755)
        for name in ("state", "spool"):
            (folder / name).mkdir()
        key = folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o400)
        names = {"host": socket.gethostname(), "user": getpass.getuser(), "cores": os.cpu_count(), "folder": folder}
        ports = {"controller_port": free_port(), "node_port": free_port()}
        configuration = folder / "slurm.conf"
        configuration.write_text(CONFIGURATION.format(**names, **ports))
        files = {"socket": "munge.sock", "key-file": "munge.key", "log-file": "munged.log", "pid-file": "munged.pid"}
        files["seed-file"] = "munged.seed"
        options = [f"--{name}={folder / file}" for name, file in files.items()]
        with pytest.MonkeyPatch.context() as patch, (folder / "output").open("w") as output:
            patch.setenv("SLURM_CONF", str(configuration))
            for command in ([munged, "--force", "--foreground", *options], [slurmctld, "-D"], [slurmd, "-D"]):
                started.append(subprocess.Popen(command, stdout=output, stderr=output))
                time.sleep(1)  # munged first makes its socket, slurmctld its port
            wait_until_idle(folder, started)
            yield
    finally:
        for daemon in reversed(started):
            daemon.terminate()
            daemon.wait()
        shutil.rmtree(folder)


def wait_until_idle(folder: Path, started: list[subprocess.Popen]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and all(daemon.poll() is None for daemon in started):
        shown = subprocess.run(["sinfo", "--noheader", "--format=%t"], capture_output=True, text=True)
        if set(shown.stdout.split()) == {"idle"}:
            return
        time.sleep(0.5)
    logs = [folder / name for name in ("output", "munged.log", "slurmctld.log", "slurmd.log")]
    lines = [line for log in logs if log.exists() for line in log.read_text(errors="replace").splitlines()]
    errors = [line for line in lines if "error" in line.lower() or "fatal" in line]
    pytest.skip(f"SLURM does not start here: {' | '.join(errors[-3:]) or 'its node does not become idle'}")


def test_each_pool_has_a_job_of_its_own(slurm: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = [str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(seen))
    dft = {"partition": "dft", "cores_per_node": 1}
    pools = {
        "cpu": PoolSettings("slurm", workers=1, address="127.0.0.1"),
        "dft": PoolSettings("slurm", workers=1, threads_per_worker=2, address="127.0.0.1", options=dft),
    }
    with Engine(EngineSettings("parsl", pools=pools), tmp_path) as engine:
        (cpu,) = engine.run({"a": Call(job, ())}, "cpu")
        (dft,) = engine.run({"a": Call(job, ())}, "dft")
        (again,) = engine.run({"b": Call(job, ())}, "cpu")
    assert cpu.result[1:] == ("main", "1")
    assert dft.result[1:] == ("dft", "2")
    assert cpu.result[0] != dft.result[0]
    assert again.result == cpu.result, "the job stays for the next step"
    wait_for_no_jobs()


def wait_for_no_jobs() -> None:
    deadline = time.monotonic() + 60
    while queued := subprocess.run(["squeue", "--noheader"], capture_output=True, text=True).stdout.strip():
        assert time.monotonic() < deadline, f"jobs are left: {queued}"
        time.sleep(0.5)


def test_campaign_on_slurm_gives_the_table_of_the_in_process_run(slurm: None, tmp_path: Path) -> None:
    on_slurm = """executor = "parsl"
[engine.pools.cpu]
provider = "slurm"
workers = 2
address = "127.0.0.1"
options = { partition = "main", walltime = "00:30:00" }
"""
    spread = drive(make_run(tmp_path / "slurm", TINY + on_slurm))
    assert list((tmp_path / "slurm" / "parsl").rglob("parsl.cpu.block-0.*.stdout")), "a job was submitted"
    assert bits(spread) == bits(drive(make_run(tmp_path / "here", TINY + 'executor = "in-process"\n')))
    wait_for_no_jobs()
