"""Fixtures shared by all tests."""

import os
from pathlib import Path

# One thread per test process: results do not depend on the machine's core count, and workers do not fight.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import numpy as np
import pytest
from ase.build import bulk

from kappaforge.crystal import Crystal


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of development data beside the checkout (or $KAPPAFORGE_DATA); none of it is part of the project."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("KAPPAFORGE_DATA", beside))
    if not folder.is_dir():
        pytest.skip("the development data are not here: set KAPPAFORGE_DATA to their folder")
    return folder


@pytest.fixture
def diamond() -> Crystal:
    """Diamond in its primitive cell."""
    return Crystal.from_ase(bulk("C", "diamond", a=3.567), id="diamond", source="test")


@pytest.fixture
def rng() -> np.random.Generator:
    """A generator with a fixed seed."""
    return np.random.default_rng(20251)
