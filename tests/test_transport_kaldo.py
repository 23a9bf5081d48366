"""Our kernel against kALDo, another program, which lives in an environment of its own."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
PYTHON = os.environ.get("KAPPAFORGE_KALDO_PYTHON")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not PYTHON,
        reason="no kALDo: python -m venv kaldo-env && kaldo-env/bin/pip install kaldo, and set "
        "KAPPAFORGE_KALDO_PYTHON=kaldo-env/bin/python",
    ),
]


@pytest.fixture(scope="module")
def check():
    sys.path.insert(0, str(BENCHMARKS))
    try:
        import kaldo_check
    finally:
        sys.path.remove(str(BENCHMARKS))
    return kaldo_check


def apart(one: np.ndarray, other: np.ndarray) -> float:
    """Largest difference of two tensors, relative to the largest element."""
    return float(np.abs(one - other).max() / np.abs(other).max())


def test_kappa_is_kaldos_with_the_same_gaussians_where_no_modes_are_degenerate(check):
    """In RTA to round-off; the whole equation counts scattering off the energy shell otherwise, and that fades."""
    constants = check.sheared_constants()
    full = []
    for width_thz in (1.0, 0.5):
        ours = check.our_kappa_by_gaussians(constants, 5, width_thz)
        theirs = check.kaldo_kappa(constants, 5, Path(PYTHON), width_thz)
        assert apart(ours.rta, theirs.rta) < 1e-5
        full.append(apart(ours.full, theirs.full))
    assert full[0] < 0.01
    assert full[1] < full[0] / 2


def test_diamond_has_the_kappa_of_kaldo_the_better_the_finer_the_mesh(check):
    """Each conserves energy in its own way, and both ways are right only where the mesh is fine."""
    constants = check.diamond_constants()
    percent = []
    for mesh in (5, 7):
        theirs = check.kaldo_kappa(constants, mesh, Path(PYTHON))
        percent.append(np.abs(theirs.percent_over(check.our_kappa(constants, mesh))))
    coarse, fine = percent
    assert (fine < coarse).all()
    assert (fine < 5).all()
