"""The default generator: a flow over positions and cell together, that keeps symmetry."""
