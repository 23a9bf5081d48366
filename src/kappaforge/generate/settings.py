"""How crystals are proposed."""

from dataclasses import dataclass

from kappaforge.errors import InputError


@dataclass(frozen=True)
class GenerateSettings:
    """What to generate, and how hard to try.

    Parameters
    ----------
    generator
        A name of `kappaforge.generate.registry.available`, or the file of a trained generator.
    n
        Number of crystals.
    elements
        Symbols of the elements; every crystal holds all of them.
    formula
        Fixed proportions, such as ``BN`` or ``SiO2``; empty for any.
    min_atoms, max_atoms
        Bounds of the number of atoms in the primitive cell.
    space_groups
        Numbers of the space groups to draw from; empty for all 230.
    min_operations
        Fewest operations of the point group; 1 for any. For learned generators, as are the next three.
    enumerated
        Share of the crystals whose occupied sites come from the tables of all space groups instead of from the data
        that the generator has seen.
    steps
        Predictions on the way from a random start to a crystal; 0 for the generator's own number.
    solver
        A name of `kappaforge.generate.solvers.SOLVERS`, for the flow.
    best_of
        Drafts of the flow from different starts on the same sites, of which the one is taken that looks best.
    volume_factor
        For ``random``: bounds of the cell's volume in units of the volume of its atoms' covalent spheres. The default
        gives carbon 2.2 to 3.6 g/cm³ and suits covalent crystals; ionic and metallic ones are denser (1.2 to 2.5).
    min_distance_factor
        No two atoms come closer than this times the sum of their covalent radii (1.22 Å for carbon).
    max_attempts
        How often a crystal is tried again, each time from its next sub-seed, before it counts as failed.
    max_placements
        Tries to place an atom in one attempt; ``random`` only, as is the next.
    max_seconds_per_attempt
        The last resort against an attempt that hangs; `max_placements` ends attempts long before, on any machine alike.
    """

    generator: str = "flow"
    n: int = 100
    elements: tuple[str, ...] = ("C",)
    formula: str = ""
    min_atoms: int = 2
    max_atoms: int = 12
    space_groups: tuple[int, ...] = ()
    min_operations: int = 4
    enumerated: float = 0.3
    steps: int = 0
    solver: str = "predictor-corrector"
    best_of: int = 1
    volume_factor: tuple[float, float] = (3.0, 4.9)
    min_distance_factor: float = 0.8
    max_attempts: int = 20
    max_placements: int = 100
    max_seconds_per_attempt: float = 10.0

    def __post_init__(self) -> None:
        for name, least in (
            ("n", 1),
            ("min_atoms", 1),
            ("max_attempts", 1),
            ("max_placements", 1),
            ("min_operations", 1),
            ("steps", 0),
            ("best_of", 1),
        ):
            if getattr(self, name) < least:
                raise InputError(f"[generate] {name}: expected {least} or more, got {getattr(self, name)}")
        if self.max_atoms < self.min_atoms:
            raise InputError(
                f"[generate] max_atoms: expected min_atoms ({self.min_atoms}) or more, got {self.max_atoms}"
            )
        if not self.elements or len(set(self.elements)) < len(self.elements):
            raise InputError(f"[generate] elements: expected distinct symbols such as C, got {self.elements}")
        if unknown := [number for number in self.space_groups if not 1 <= number <= 230]:
            raise InputError(f"[generate] space_groups: expected numbers from 1 to 230, got {unknown[0]}")
        if not 0 <= self.enumerated <= 1:
            raise InputError(f"[generate] enumerated: expected a share from 0 to 1, got {self.enumerated}")
        if len(self.volume_factor) != 2 or not 0 < self.volume_factor[0] <= self.volume_factor[1]:
            raise InputError(f"[generate] volume_factor: expected two rising positive bounds, got {self.volume_factor}")
        if not 0 < self.min_distance_factor <= 1.2:
            raise InputError(
                f"[generate] min_distance_factor: expected above 0 and up to 1.2, got {self.min_distance_factor}"
            )
        if not self.max_seconds_per_attempt > 0:
            raise InputError(
                f"[generate] max_seconds_per_attempt: expected above 0, got {self.max_seconds_per_attempt}"
            )
