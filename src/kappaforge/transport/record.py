"""What is known of the phonons and of κ of one crystal."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from kappaforge.crystal import Crystal
from kappaforge.transport.follow import ImaginaryMode
from kappaforge.transport.settings import Level, Method

Mesh = tuple[int, int, int]


@dataclass(frozen=True, eq=False, kw_only=True)
class KappaAt:
    """κ at one temperature: tensors of shape (3, 3), W/(m·K), in the Cartesian frame of the crystal as given.

    Parameters
    ----------
    temperature_k
        Temperature in K.
    kappa_rta_w_per_mk
        In the relaxation-time approximation.
    kappa_lbte_w_per_mk
        Of the whole transport equation; None where it was not solved.
    kappa_coherence_w_per_mk
        What tunnelling between modes adds to either; None where it was not computed.
    mesh_step_w_per_mk
        How far the better of the two goes on from the finer mesh to infinitely many points, either way, along the
        direction where that is most; None without a second mesh.
    mesh_error_w_per_mk
        Estimate of the error that the mesh leaves in any eigenvalue of the better of the two; None without a second
        mesh.
    by_mesh
        Largest eigenvalues of both solutions on each mesh, coarse to fine.
    """

    temperature_k: float
    kappa_rta_w_per_mk: np.ndarray
    kappa_lbte_w_per_mk: np.ndarray | None = None
    kappa_coherence_w_per_mk: np.ndarray | None = None
    mesh_step_w_per_mk: float | None = None
    mesh_error_w_per_mk: float | None = None
    by_mesh: tuple[tuple[float, float | None], ...] = ()

    @property
    def kappa_w_per_mk(self) -> np.ndarray:
        """The best there is: of the whole equation if solved, with the coherence if computed; shape (3, 3)."""
        best = self.kappa_rta_w_per_mk if self.kappa_lbte_w_per_mk is None else self.kappa_lbte_w_per_mk
        return best if self.kappa_coherence_w_per_mk is None else best + self.kappa_coherence_w_per_mk


@dataclass(frozen=True, eq=False, kw_only=True)
class KappaRecord:
    """Phonons and κ of one crystal; what was not reached is None or empty.

    Parameters
    ----------
    id
        The crystal's.
    status, reason
        ``ok``; ``unstable`` with the worst mode and its q; or ``failed``.
    crystal
        The crystal in its standard primitive cell, in the Cartesian frame it came in; where there is no space group,
        the one that came.
    potential, potential_digest
        Name and digest of the potential.
    method, level
        As in `KappaSettings`.
    n_displacements
        Displaced supercells in all.
    n_supercell_atoms
        Atoms in the supercells of second and of third order.
    ways
        How force constants of both orders were found: "finite" or "fit".
    fit_residual
        The larger residual of the fits among them.
    space_group_number, symmetry_operations
        Of the primitive cell.
    rotation_to_standard
        Turns columns of the crystal's Cartesian frame into those of spglib's standard cell, shape (3, 3): in that frame
        κ is ``rotation @ kappa @ rotation.T``, whichever cell the crystal came in.
    meshes
        Numbers of the q meshes, coarse to fine.
    min_frequency_thz, max_frequency_thz
        Of all modes on the finest mesh and at the q points the supercell holds exactly; imaginary ones count as
        negative.
    imaginary
        Of an unstable crystal, the most imaginary mode among those that fit into a small supercell of `crystal`; None
        where none does. The reason may name another, with a q that needs a larger one.
    conduction_w_per_mk_per_ps
        A third of the trace of what κ would be with lifetimes of 1 ps: Σ C v² / 3V. It ranks crystals before any
        third-order force constant is known.
    solutions
        κ at each temperature, the main one first.
    seconds, seconds_by_part
        Time in all and of each part: displacements, forces, force_constants, stability, collisions, solution.
    peak_gib_by_part
        Most memory that the process had needed by the end of each part, GiB; displacements, forces and force constants
        of one order count together.
    """

    id: str
    status: str = "ok"
    reason: str = ""
    crystal: Crystal
    potential: str
    potential_digest: str
    method: Method
    level: Level
    n_displacements: int = 0
    n_supercell_atoms: tuple[int, ...] = ()
    ways: tuple[str, ...] = ()
    fit_residual: float | None = None
    space_group_number: int | None = None
    symmetry_operations: int | None = None
    rotation_to_standard: np.ndarray | None = None
    meshes: tuple[Mesh, ...] = ()
    min_frequency_thz: float | None = None
    max_frequency_thz: float | None = None
    imaginary: ImaginaryMode | None = None
    conduction_w_per_mk_per_ps: float | None = None
    solutions: tuple[KappaAt, ...] = ()
    seconds: float = 0.0
    seconds_by_part: dict[str, float] = field(default_factory=dict)
    peak_gib_by_part: dict[str, float] = field(default_factory=dict)

    @property
    def mesh(self) -> Mesh | None:
        """The finest mesh."""
        return self.meshes[-1] if self.meshes else None

    @property
    def solution(self) -> KappaAt | None:
        """κ at the main temperature."""
        return self.solutions[0] if self.solutions else None

    @property
    def temperature_k(self) -> float | None:
        """The main temperature, K."""
        return self.solutions[0].temperature_k if self.solutions else None

    @property
    def kappa_rta_w_per_mk(self) -> np.ndarray | None:
        """κ of the relaxation-time approximation at the main temperature, shape (3, 3)."""
        return self.solutions[0].kappa_rta_w_per_mk if self.solutions else None

    @property
    def kappa_lbte_w_per_mk(self) -> np.ndarray | None:
        """κ of the whole equation at the main temperature, shape (3, 3)."""
        return self.solutions[0].kappa_lbte_w_per_mk if self.solutions else None

    @property
    def kappa_rta_max_w_per_mk(self) -> float | None:
        """Largest eigenvalue in the relaxation-time approximation: κ along the best direction."""
        return None if self.kappa_rta_w_per_mk is None else largest_eigenvalue(self.kappa_rta_w_per_mk)

    @property
    def kappa_lbte_max_w_per_mk(self) -> float | None:
        """The same of the whole equation."""
        return None if self.kappa_lbte_w_per_mk is None else largest_eigenvalue(self.kappa_lbte_w_per_mk)

    @property
    def kappa_eigenvalues_w_per_mk(self) -> np.ndarray | None:
        """Eigenvalues of the best tensor there is, ascending, shape (3,)."""
        return np.linalg.eigvalsh(self.solutions[0].kappa_w_per_mk) if self.solutions else None


def largest_eigenvalue(tensor: np.ndarray) -> float:
    """Return κ along the best direction of a tensor of shape (3, 3)."""
    return float(np.linalg.eigvalsh(tensor)[-1])


class Clock:
    """Time and memory by part."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.peak_gib: dict[str, float] = {}

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Add the time spent inside to a part's."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.add({name: time.perf_counter() - start})

    def add(self, seconds: dict[str, float]) -> None:
        """Add times that were measured elsewhere; the memory is that of now."""
        for name, spent in seconds.items():
            self.seconds[name] = self.seconds.get(name, 0.0) + spent
            self.peak_gib[name] = peak_memory_gib()


def peak_memory_gib() -> float:
    """Return the most memory this process has needed so far, in GiB."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30
