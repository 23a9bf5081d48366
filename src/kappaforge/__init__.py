"""kappaforge finds crystals with ultrahigh lattice thermal conductivity."""

__version__ = "0.1.0"
