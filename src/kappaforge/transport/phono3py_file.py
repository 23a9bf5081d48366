"""κ in the file that phono3py writes and its tools read, ``kappa-mNNN.hdf5``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import phono3py
from phono3py.file_IO import get_filename_suffix

from kappaforge.errors import InputError
from kappaforge.files import replacing
from kappaforge.transport.modes import (
    heat_capacities_ev_per_k,
    mode_kappas_w_per_mk,
    velocity_products_thz2_ang2,
    w_per_mk,
)
from kappaforge.transport.phonon_grid import PhononGrid
from kappaforge.transport.solution import Solution


def write_phono3py_file(folder: Path, grid: PhononGrid, solutions: Sequence[Solution], *, whole: bool = True) -> Path:
    """Write what phono3py writes with ``write_kappa=True``, so that ``phono3py-kaccum`` and others read it.

    phono3py's own writer takes no folder and leaves half a file when it is stopped.

    ``gamma`` has all scattering, where phono3py has isotopes in another dataset; so ``phono3py-kaccum`` takes mean free
    paths from all of it. Of the whole equation neither phono3py nor we write κ of the modes but in the relaxation-time
    approximation (``mode_kappa_RTA``), which ``phono3py-kaccum`` does not read: accumulate from a file without
    `whole`.

    Parameters
    ----------
    folder
        Where to write; it is made if it is not there. A file of the same mesh is replaced.
    grid
        The phonons.
    solutions
        One for each temperature.
    whole
        Whether ``kappa`` is that of the whole equation where all solutions have it, or of the relaxation-time
        approximation.

    Returns
    -------
    Path
        The file, ``kappa-m`` with the mesh's numbers.

    Raises
    ------
    InputError
        Without a solution.
    """
    if not solutions:
        raise InputError("there is no κ to write: give the solution of at least one temperature")
    path = folder / f"kappa{get_filename_suffix(grid.mesh)}.hdf5"
    with replacing(path) as temporary, h5py.File(temporary, "w") as file:
        for name, content in _datasets(grid, solutions, whole).items():
            # a scalar cannot be, and few numbers need not be
            compression = "gzip" if np.ndim(content) > 1 and name != "kappa" else None
            file.create_dataset(name, data=content, compression=compression)
    return path


def _datasets(grid: PhononGrid, solutions: Sequence[Solution], whole: bool) -> dict[str, Any]:
    irreducible, n_points = grid.irreducible, len(grid.points)
    velocities = grid.velocities_thz_ang[irreducible]
    products = velocity_products_thz2_ang2(grid) * grid.multiplicity[:, None, None, None]
    # phono3py divides by the number of points after the sum over modes
    mode_kappas = np.array([mode_kappas_w_per_mk(grid, solution) for solution in solutions]) * n_points
    rta = np.array([solution.kappa_rta_w_per_mk for solution in solutions])
    tensors = [each.kappa_lbte_w_per_mk for each in solutions if each.kappa_lbte_w_per_mk is not None]
    if whole and len(tensors) == len(solutions):
        kappas = {
            "kappa": voigt(np.array(tensors)),
            "kappa_RTA": voigt(rta),
            "mode_kappa_RTA": voigt(mode_kappas),
        }
    else:
        kappas = {"kappa": voigt(rta), "mode_kappa": voigt(mode_kappas)}
    return {
        "version": np.bytes_(phono3py.__version__),
        "temperature": np.array([solution.temperature_k for solution in solutions], dtype=float),
        "mesh": np.array(grid.mesh, dtype=np.int64),
        "frequency": grid.frequencies_thz[irreducible],
        "group_velocity": velocities,
        "gv_by_gv": voigt(products),
        "heat_capacity": np.array([heat_capacities_ev_per_k(grid, each.temperature_k) for each in solutions]),
        **kappas,
        "gamma": np.array([solution.linewidths_thz for solution in solutions]),
        "qpoint": grid.points[irreducible],
        "weight": grid.multiplicity,
        # phono3py counts points with those on the zone's surface more than once
        "grid_point": grid.bz_grid.grg2bzg[irreducible],
        "kappa_unit_conversion": w_per_mk(grid.volume_ang3) / (2 * np.pi),
    }


def voigt(tensors: np.ndarray) -> np.ndarray:
    """Return the xx, yy, zz, yz, xz, xy of symmetric tensors: shape (…, 6) of (…, 3, 3)."""
    return tensors[..., [0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
