"""One row per crystal: the stable columns of every table and of ``--json``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Row:
    """What is known of one candidate; None where it was not computed or is not finite.

    `n_atoms` and `symmetry_operations` are those of the primitive cell, `kappa_rta_w_per_mk` is the 3×3 tensor in the
    Cartesian frame of the crystal as stored and `kappa_rta_max_w_per_mk` its largest eigenvalue.
    """

    id: str
    source: str = ""
    formula: str = ""
    n_atoms: int | None = None
    space_group_number: int | None = None
    symmetry_operations: int | None = None
    dimensionality: str = ""
    """In how many directions it is bonded: 3D, 2D for layers, 1D for chains, 0D for molecules, or a mixture."""
    known_as: str = ""
    """Name of the known crystal that is the same by pymatgen's StructureMatcher."""
    prototype: str = ""
    """Its type as AFLOW labels it, such as A_cF8_227_a, by pymatgen."""
    density_g_per_cm3: float | None = None
    energy_ev_per_atom: float | None = None
    energy_above_hull_ev_per_atom: float | None = None
    """By the potential that relaxed the campaign's crystals; see `kappaforge.hull`."""
    status: str = "ok"
    reason: str = ""
    followed: str = ""
    """The imaginary modes that led from the candidate to the stable crystal whose κ this is."""
    potential: str = ""
    temperature_k: float | None = None
    mesh: tuple[int, ...] | None = None
    kappa_rta_w_per_mk: np.ndarray | None = None
    kappa_rta_max_w_per_mk: float | None = None
    kappa_lbte_w_per_mk: np.ndarray | None = None
    """Tensor of the whole transport equation."""
    kappa_lbte_max_w_per_mk: float | None = None
    kappa_mesh_error_w_per_mk: float | None = None
    """What the mesh may leave in the largest eigenvalue of the better solution."""
    kappa_supercell_error_w_per_mk: float | None = None
    """What larger supercells change in it."""
    kappa_cutoff_error_w_per_mk: float | None = None
    """What a wider cutoff of third order changes in it."""
    kappa_committee_spread: float | None = None
    """Standard deviation of ln κ among the members of the potential's committee in which the crystal is stable."""
    kappa_committee_members: int | None = None
    """Members of that committee; None where it was not asked, or there is none."""
    kappa_committee_stable: int | None = None
    """Those in which the crystal is stable."""
    kappa_error_w_per_mk: float | None = None
    """All of these errors together, the spread times κ among them, as if they were independent; None where none but the
    mesh was looked at."""
    kappa_error_notes: str = ""
    """What became of members, supercells and cutoffs that gave no κ."""
    conduction_w_per_mk_per_ps: float | None = None
    """Harmonic: κ for each ps of lifetime."""
    seconds: float | None = None
    # of a campaign:
    stage: str = ""
    """The last step the candidate reached: generate, relax, screen, select, kappa."""
    role: str = ""
    """Why κ was computed: benchmark (farthest points and known crystals) or neighbour (of a good conductor)."""
    novel: bool | None = None
    energy_std_mev_per_atom: float | None = None
    """Uncertainty: standard deviation of the committee's energies, after the last round of learning."""
    map_x: float | None = None
    map_y: float | None = None
    parents: tuple[str, ...] = ()
    """Digests of the geometries that it came from, oldest first."""

    def __post_init__(self) -> None:
        for field in fields(self):  # neither JSON nor a ranking has a place for NaN
            value = getattr(self, field.name)
            if isinstance(value, float | np.ndarray) and not np.isfinite(value).all():
                object.__setattr__(self, field.name, None)

    @property
    def kappa_rta_eigenvalues_w_per_mk(self) -> tuple[float, ...] | None:
        """Of the tensor in the relaxation-time approximation, the largest first."""
        return _eigenvalues(self.kappa_rta_w_per_mk)

    @property
    def kappa_lbte_eigenvalues_w_per_mk(self) -> tuple[float, ...] | None:
        """Of the tensor of the whole transport equation, the largest first."""
        return _eigenvalues(self.kappa_lbte_w_per_mk)

    @property
    def kappa_any_error_w_per_mk(self) -> float | None:
        """Error of the largest eigenvalue of the better solution: of all that was looked at, or of the mesh alone."""
        return self.kappa_mesh_error_w_per_mk if self.kappa_error_w_per_mk is None else self.kappa_error_w_per_mk

    @property
    def history(self) -> str:
        """What became of it, step by step."""
        told = [self.source]
        told += ["relaxed"] if self.stage in ("relax", "screen", "select", "kappa") else []
        told += {None: [], True: ["unique and novel"], False: ["unique, in the data set"]}[self.novel]
        told += ["on the map"] if self.map_x is not None else []
        told += [self.role] if self.role else []
        told += [f"followed {self.followed}"] if self.followed else []
        told += ["κ"] if self.kappa_rta_max_w_per_mk is not None else []
        told += [": ".join(filter(None, ("" if self.status == "ok" else self.status, self.reason)))]
        return " → ".join(part for part in told if part)

    def to_dict(self) -> dict[str, Any]:
        """Return the `COLUMNS` as plain Python values, ready for JSON."""
        plain = asdict(self)
        for name in ("kappa_rta_w_per_mk", "kappa_lbte_w_per_mk"):
            if plain[name] is not None:
                plain[name] = np.asarray(plain[name]).tolist()
        if self.mesh is not None:
            plain["mesh"] = list(self.mesh)
        plain["parents"] = list(self.parents)
        for name in DERIVED:
            value = getattr(self, name)
            plain[name] = list(value) if isinstance(value, tuple) else value
        return plain

    def to_json(self) -> str:
        """Return one line of JSON."""
        return json.dumps(self.to_dict(), allow_nan=False)


DERIVED = ("kappa_rta_eigenvalues_w_per_mk", "kappa_lbte_eigenvalues_w_per_mk", "history")
"""Columns that follow from the fields."""

COLUMNS = (*(field.name for field in fields(Row)), *DERIVED)


def ranked(rows: Sequence[Row]) -> list[Row]:
    """Return the rows by falling largest eigenvalue of κ, those without κ last; ties by id."""
    return sorted(rows, key=lambda row: (-(row.kappa_rta_max_w_per_mk or 0.0), row.id))


def _eigenvalues(tensor: np.ndarray | None) -> tuple[float, ...] | None:
    if tensor is None:
        return None
    whole = np.asarray(tensor, dtype=float)
    return tuple(np.linalg.eigvalsh((whole + whole.T) / 2)[::-1].tolist())
