"""Growth curves and deviations in a run folder."""

import numpy as np
import pytest

from kappaforge.errors import InputError
from kappaforge.store.distillation import Distillation, stacked


def test_distillation_comes_back_as_written(tmp_path):
    written = Distillation(
        unique=np.array([True, False, True, True]),
        novel=np.array([True, False, False, True]),
        lengths=np.array([[0.1, 0.0, -0.2]]),
        angles=np.array([[0.0, 0.05, 0.0]]),
        sizes=np.array([2]),
        fractional=np.array([[0.1, 0.0, 0.0], [-0.1, 0.0, 0.0]]),
    )
    written.write(tmp_path)
    read = Distillation.read(tmp_path)
    assert read.n_unique.tolist() == [1, 1, 2, 3]
    assert read.n_novel.tolist() == [1, 1, 1, 2]
    for name in ("unique", "novel", "lengths", "angles", "sizes", "fractional"):
        assert np.array_equal(getattr(read, name), getattr(written, name))


def test_a_run_before_its_screening_says_so(tmp_path):
    with pytest.raises(InputError, match=r"holds no distillation.h5 yet"):
        Distillation.read(tmp_path)


def test_nothing_relaxed_gives_empty_arrays():
    assert stacked([]).shape == (0, 3)
