"""The carbon crystals the package knows, built from published crystallographic facts."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

from ase.spacegroup import crystal

from kappaforge.crystal import Crystal
from kappaforge.dataset.entry import DatasetEntry
from kappaforge.dataset.polytypes import polytype, polytype_name, polytype_words

SOURCE = "known carbon"


@dataclass(frozen=True)
class KnownCarbon:
    """Space group, cell and occupied sites of a carbon crystal.

    Parameters
    ----------
    name
        Name and id.
    space_group_number
        In the standard setting: unique axis b, hexagonal axes; origin at the first choice.
    cell
        a, b, c in Å and α, β, γ in degrees.
    sites
        Fractional coordinates of one atom of each orbit.
    reference
        Where cell and coordinates come from.
    """

    name: str
    space_group_number: int
    cell: tuple[float, float, float, float, float, float]
    sites: tuple[tuple[float, float, float], ...]
    reference: str

    def build(self) -> Crystal:
        """Return the crystal in a primitive cell."""
        atoms = crystal(
            ["C"] * len(self.sites),
            basis=self.sites,
            spacegroup=self.space_group_number,
            cellpar=self.cell,
            primitive_cell=True,
        )
        return Crystal.from_ase(atoms, id=self.name, source=SOURCE)


PAPER = "doi 10.1038/s41524-025-01592-8, Table 1"
W_AND_M = "doi 10.1063/1.3610996"

KNOWN = (
    KnownCarbon("diamond", 227, (3.5687, 3.5687, 3.5687, 90, 90, 90), ((0, 0, 0),), PAPER),
    KnownCarbon("lonsdaleite", 194, (2.5067, 2.5067, 4.1899, 90, 90, 120), ((2 / 3, 1 / 3, 0.4373),), PAPER),
    KnownCarbon("bct-C4", 139, (4.3625, 4.3625, 2.4971, 90, 90, 90), ((0.6804, 0.3196, 0.5),), PAPER),
    KnownCarbon("Z-carbon", 65, (4.25, 8.7326, 2.5074, 90, 90, 90), ((0.8151, 0.9108, 0.5), (0.185, 0.6664, 0)), PAPER),
    KnownCarbon("AA-T12", 136, (3.5069, 3.5069, 6.2608, 90, 90, 90), ((0, 0.5, 0.25), (0.3442, 0.6558, 0.376)), PAPER),
    KnownCarbon(
        "M-carbon",
        12,
        (9.1899, 2.5241, 4.1426, 90, 97.03, 90),
        ((0.0573, 0, 0.8796), (0.2143, 0, 0.0593), (0.4418, 0, 0.3463), (0.2713, 0, 0.4147)),
        W_AND_M,
    ),
    KnownCarbon(
        "W-carbon",
        62,
        (9.0866, 2.5255, 4.1561, 90, 90, 90),
        ((0.3051, 0.25, 0.5806), (0.1895, 0.25, 0.3061), (0.5207, 0.25, 0.0978), (0.4635, 0.25, 0.4377)),
        W_AND_M,
    ),
    KnownCarbon(
        "bc8",
        206,
        (4.474, 4.474, 4.474, 90, 90, 90),
        ((0.09395, 0.09395, 0.09395),),
        "structure: doi 10.1103/PhysRevB.36.3373; cell and coordinate relaxed at 0 GPa with 7net-0",
    ),
    KnownCarbon(
        "graphite",
        194,
        (2.464, 2.464, 6.711, 90, 90, 120),
        ((0, 0, 0.25), (1 / 3, 2 / 3, 0.25)),
        "doi 10.1038/258136a0",
    ),
    KnownCarbon(
        "graphite-3R", 166, (2.456, 2.456, 10.044, 90, 90, 120), ((0, 0, 1 / 6),), "doi 10.1098/rspa.1942.0063"
    ),
)


def known_carbons(max_polytype_atoms: int = 12) -> list[DatasetEntry]:
    """Return the known carbon crystals: the five of the paper's Table 1, five more, and diamond's polytypes.

    Parameters
    ----------
    max_polytype_atoms
        Polytypes up to this number of atoms in the primitive cell. 3C and 2H are left to diamond and lonsdaleite.

    Returns
    -------
    list of DatasetEntry
        In primitive cells, without energies; id and name are alike: ``diamond``, ``bct-C4``, ``polytype-4H``. Where
        polytypes share Ramsdell's symbol, the h/c word follows, as in ``polytype-6H-hcc``.
    """
    known = [DatasetEntry(fact.build(), name=fact.name, reference=fact.reference) for fact in KNOWN]
    words = [word for word in polytype_words(max_polytype_atoms) if word not in ("c", "h")]
    symbols = Counter(polytype_name(word) for word in words)
    for word in words:
        symbol = polytype_name(word)
        name = f"polytype-{symbol}" if symbols[symbol] == 1 else f"polytype-{symbol}-{word}"
        entry = replace(polytype(word), id=name, source=SOURCE)
        known.append(DatasetEntry(entry, name=name, reference="ideal stacking, bonds of 1.545 Å"))
    return known
