"""Pseudopotentials in UPF files: one of each element, chosen from a folder by what the files say of themselves."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ase.data import atomic_numbers
from ase.units import Ry

SPELLINGS = {
    "LDA": {"PZ", "SLA PZ NOGX NOGC"},
    "PBE": {"PBE", "SLA PW PBX PBC", "SLA PW PBE PBE"},
    "PBEsol": {"PBESOL", "SLA PW PSX PSC"},
}
"""How a file's header names the functional it was made with."""


@dataclass(frozen=True)
class Pseudopotential:
    """What a UPF file says of itself.

    Parameters
    ----------
    path
        The file.
    element
        Its chemical symbol.
    functional
        Key of `SPELLINGS`; empty for any other.
    relativistic
        ``scalar``, ``full`` (for spin-orbit coupling) or ``no``.
    kind
        ``PAW``, ``US`` (ultrasoft) or ``NC`` (norm-conserving).
    cutoff_ev, density_cutoff_ev
        Smallest cutoffs the author suggests, eV; 0 where none is given.
    digest
        SHA-256 of the file.
    """

    path: Path
    element: str
    functional: str
    relativistic: str
    kind: str
    cutoff_ev: float
    density_cutoff_ev: float
    digest: str


def choose(folder: Path, functional: str) -> Mapping[str, Pseudopotential]:
    """Return one pseudopotential of each element that `folder` has any of, made with the functional.

    Scalar-relativistic ones come first, then PAW before ultrasoft before norm-conserving, then the latest by name;
    those for spin-orbit coupling are left out. A published set has one file of each element, and the choice is its.

    Returns
    -------
    mapping
        By chemical symbol, in alphabetical order.
    """
    chosen: dict[str, Pseudopotential] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        each = _read(path) if path.suffix.lower() == ".upf" else None
        if each is None or each.functional != functional or each.relativistic == "full":
            continue
        if each.element not in chosen or _rank(each) >= _rank(chosen[each.element]):
            chosen[each.element] = each
    return {element: chosen[element] for element in sorted(chosen)}


def _rank(each: Pseudopotential) -> tuple[bool, int]:
    return each.relativistic == "scalar", {"PAW": 2, "US": 1}.get(each.kind, 0)


def _read(path: Path) -> Pseudopotential | None:
    """Read a header; None for the first version of the format, which says too little, and for other files."""
    data = path.read_bytes()
    header = re.search(r"<PP_HEADER\b(.*?)>", data.decode(errors="replace"), re.DOTALL)
    said = dict(re.findall(r'(\w+)\s*=\s*"\s*([^"]*?)\s*"', header.group(1))) if header else {}
    if said.get("element") not in atomic_numbers:
        return None
    functional = " ".join(said.get("functional", "").upper().split())
    return Pseudopotential(
        path=path,
        element=said["element"],
        functional=next((name for name, spellings in SPELLINGS.items() if functional in spellings), ""),
        relativistic=said.get("relativistic", ""),
        kind=said.get("pseudo_type", "").removesuffix("PP"),  # both US and USPP are written
        cutoff_ev=float(said.get("wfc_cutoff", 0.0)) * Ry,
        density_cutoff_ev=float(said.get("rho_cutoff", 0.0)) * Ry,
        digest=hashlib.sha256(data).hexdigest(),
    )
