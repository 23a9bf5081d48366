"""Thermal conductivity from force constants by phono3py."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from phono3py import Phono3py

from kappaforge.transport.force_constants import ForceConstants


def phono3py_conductivity(
    phono3py: Phono3py,
    constants: ForceConstants,
    *,
    mesh: tuple[int, int, int],
    temperatures_k: Sequence[float],
    whole: bool = False,
    isotope_scattering: bool = False,
    boundary_length_um: float | None = None,
    negligible: float = 0.0,
) -> list[tuple[np.ndarray, np.ndarray | None]]:
    """Return κ by phono3py's linear tetrahedron method (Phys. Rev. B 91, 094306; 10.1103/PhysRevB.91.094306).

    Integration weights are averaged over degenerate bands and equivalent tetrahedra, which phono3py does not do unless
    told to: without, κ depends on how the crystal lies in space, by up to 0.8 % on coarse meshes.

    Parameters
    ----------
    phono3py
        The crystal and its supercell; its force constants and mesh are set here.
    constants
        From `kappaforge.transport.force_constants.force_constants`.
    mesh
        Numbers of the Γ-centred q mesh of the primitive cell.
    temperatures_k
        Temperatures in K.
    whole
        Whether to solve the whole transport equation too, by phono3py's direct solver.
    isotope_scattering
        Whether phonons also scatter at natural isotopes.
    boundary_length_um
        Mean free path that boundaries allow, µm.
    negligible
        Triplets below this fraction of the largest third-order force constant are skipped.

    Returns
    -------
    list
        For each temperature the tensors of the relaxation-time approximation and of the whole equation (None where it
        was not asked for): shape (3, 3), W/(m·K), in the Cartesian frame of phono3py's cell.
    """
    size = np.abs(constants.fc3).max(axis=(3, 4, 5))
    used = constants.known & (size > negligible * size.max())
    phono3py.fc2 = constants.fc2
    phono3py.fc3 = constants.fc3
    phono3py.fc3_nonzero_indices = np.ascontiguousarray(used, dtype="byte")
    phono3py.sigmas = None
    phono3py.mesh_numbers = list(mesh)
    phono3py.init_phph_interaction(
        symmetrize_fc3q=False,
        symmetrize_tetrahedra=True,
        exclude_gamma_acoustic=False,
        average_degenerate_weights=True,
    )
    with np.errstate(over="ignore"):  # infinite lifetimes are for the caller to judge
        phono3py.run_thermal_conductivity(
            is_LBTE=whole,
            temperatures=list(temperatures_k),
            is_isotope=isotope_scattering,
            boundary_mfp=boundary_length_um,
            is_kappa_star=True,
            gv_delta_q=None,
            is_full_pp=False,
            transport_type=None,
        )
    found = phono3py.thermal_conductivity
    if not whole:
        return [(_tensor(row), None) for row in found.kappa[0]]
    return [(_tensor(rta), _tensor(row)) for rta, row in zip(found.kappa_RTA[0], found.kappa[0], strict=True)]


def _tensor(row: np.ndarray) -> np.ndarray:
    xx, yy, zz, yz, xz, xy = row
    return np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
