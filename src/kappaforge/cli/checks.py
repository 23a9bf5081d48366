"""What `kappaforge doctor` looks at: packages, models, engines, machine; each with what to do where it is missing."""

from __future__ import annotations

import multiprocessing
import os
import platform
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any

from kappaforge.errors import KappaforgeError

OK, MISSING, BROKEN = "ok", "missing", "broken"
"""Of a check; what is missing is optional, what is broken keeps kappaforge from its work."""

BATCH_SYSTEMS = {"slurm": "sbatch", "pbs": "qsub", "kubernetes": "kubectl"}
"""The program by which each takes jobs."""


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Parameters
    ----------
    group, name
        What it is.
    status
        ``ok``, ``missing`` (optional) or ``broken``.
    detail
        What was found.
    remedy
        What to do about it; empty when ok.
    known
        More of it for machines, such as a model's card.
    """

    group: str
    name: str
    status: str
    detail: str
    remedy: str = ""
    known: dict[str, Any] = field(default_factory=dict)


def all_checks() -> Iterator[Check]:
    """Look at everything; takes some seconds, as the libraries and models are really loaded."""
    yield from machine()
    yield from packages()
    yield from potentials()
    yield from generators()
    yield from labelers()
    yield from batch_systems()
    yield gpu()


def machine() -> Iterator[Check]:
    """Look at what tasks would run on."""
    yield Check("machine", "python", OK, f"{platform.python_version()} on {platform.platform(terse=True)}")
    yield Check("machine", "processor", OK, f"{cpu_name()}, {usable_cores()} of {os.cpu_count()} cores usable")
    yield Check("machine", "memory", OK, f"{memory_gib():.0f} GiB")
    from kappaforge.engine.executors import THREAD_VARIABLES

    chosen = ", ".join(f"{name}={os.environ[name]}" for name in THREAD_VARIABLES if name in os.environ)
    yield Check("machine", "threads", OK, f"{chosen or 'of this process: as many as cores'}; each worker process has 1")
    try:
        multiprocessing.get_context("spawn").Lock()
    except OSError as error:
        what = 'make /dev/shm writable, or set executor = "in-process" in [engine]'
        yield Check("machine", "worker processes", BROKEN, f"cannot be started ({error.strerror})", what)


def cpu_name() -> str:
    """Return the processor's name."""
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        found = None
    return found.group(1) if found else platform.processor() or platform.machine()


def usable_cores() -> int:
    """Return the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory_gib() -> float:
    """Return the machine's memory, GiB."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30


def packages() -> Iterator[Check]:
    """Look for the packages that kappaforge asks for, and for those of its extras."""
    from packaging.requirements import Requirement

    try:
        wanted = [Requirement(line) for line in requires("kappaforge") or ()]
    except PackageNotFoundError:
        what = "pip install kappaforge, or pip install . in its folder"
        yield Check("packages", "kappaforge", MISSING, "not installed as a package: what it needs is not known", what)
        return
    for each in wanted:
        found = re.search(r"""extra == ['"]([\w-]+)['"]""", str(each.marker or ""))
        extra = found.group(1) if found else ""
        yield _package(each.name, each.specifier, extra)


def _package(name: str, specifier: Any, extra: str) -> Check:
    group = f"extra {extra}" if extra else "packages"
    lacking = MISSING if extra else BROKEN
    remedy = f"pip install 'kappaforge[{extra}]'" if extra else f"pip install '{name}{specifier}'"
    try:
        found = version(name)
    except PackageNotFoundError:
        return Check(group, name, lacking, f"not installed ({specifier})", remedy)
    if not specifier.contains(found, prereleases=True):
        return Check(group, name, lacking, f"{found} is installed, {specifier} is needed", remedy)
    return Check(group, name, OK, found)


def potentials() -> Iterator[Check]:
    """Load every registered potential."""
    from kappaforge.potentials import registry

    for name in registry.available():
        try:
            loaded = registry.load(name)
            members = registry.committee(name)
        except Exception as error:  # a broken library raises anything
            yield _refused("potentials", name, error, shipped=registry.model_file(name) is not None)
            continue
        detail = _elements(loaded.elements) + (f", committee of {len(members)}" if members else "")
        yield Check("potentials", name, OK, detail, known=_card(registry.model_file(name)))


def generators() -> Iterator[Check]:
    """Load every registered generator."""
    from kappaforge.generate import registry
    from kappaforge.generate.settings import GenerateSettings

    for name in registry.available():
        try:
            registry.load(name, GenerateSettings(generator=name))
        except Exception as error:  # a broken library raises anything
            yield _refused("generators", name, error, shipped=True)
            continue
        card = _card(registry.shipped_file(name))
        yield Check("generators", name, OK, _elements(frozenset(card.get("elements", ())) or None), known=card)


def labelers() -> Iterator[Check]:
    """Look for the engines of electronic structure."""
    from kappaforge.label import registry
    from kappaforge.label.settings import LabelSettings

    for name in registry.LABELERS:
        try:
            fingerprint = registry.load(LabelSettings(labeler=name)).fingerprint
        except Exception as error:  # a broken library raises anything
            yield _refused("labeling engines", name, error, shipped=False)
            continue
        found = re.match(rf"{name} ([^,]+),", fingerprint)
        detail = found.group(1) if found else fingerprint
        yield Check("labeling engines", name, OK, detail, known={"fingerprint": fingerprint})
    detail = "runs elsewhere, with your licence: kappaforge vasp write, then kappaforge vasp read"
    yield Check("labeling engines", "vasp", OK, detail)


def batch_systems() -> Iterator[Check]:
    """Look for the programs that give jobs to a cluster."""
    for name, program in BATCH_SYSTEMS.items():
        where = shutil.which(program)
        if where:
            yield Check("batch systems", name, OK, where)
        else:
            what = f"only to use {name}: start kappaforge where {program} is on the PATH"
            yield Check("batch systems", name, MISSING, f"no {program} here", what)


def gpu() -> Check:
    """Look for a GPU that torch can use."""
    try:
        import torch
    except Exception as error:  # of its own libraries too
        return _refused("GPU", "cuda", error, shipped=False)
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
        return Check("GPU", "cuda", OK, ", ".join(names), known={"devices": names})
    built = f"torch {torch.__version__}"
    why = "sees none" if torch.version.cuda else "was built without CUDA"
    what = "only trainings use one: install a torch with CUDA (pytorch.org) on a machine with a GPU"
    return Check("GPU", "cuda", MISSING, f"{built} {why}", what)


def _refused(group: str, name: str, error: Exception, *, shipped: bool) -> Check:
    """Return what a registry says; its own errors tell what is missing and, behind a colon, what to do."""
    status = BROKEN if shipped else MISSING
    if not isinstance(error, KappaforgeError):
        detail = f"{type(error).__name__}: {' '.join(str(error).split())}"
        return Check(group, name, status, detail, "a library that it needs is broken: install kappaforge anew")
    detail, _, remedy = str(error).partition(": ")
    return Check(group, name, status, detail, remedy or detail)


def _elements(elements: frozenset[str] | None) -> str:
    if not elements:
        return "any elements"
    return ", ".join(sorted(elements)) if len(elements) <= 4 else f"{len(elements)} elements"


def _card(file: Path | None) -> dict[str, Any]:
    """Return what a shipped model's file says of itself; nothing for one that is no file."""
    if file is None:
        return {}
    from kappaforge.weights import about_of

    about = about_of(file)
    return {"file": file.name, "elements": about.get("elements", ()), "digest": about.get("digest", "")} | {
        "card": about.get("card", {})
    }
