"""Phonons and lattice thermal conductivity; the only folder that imports phonopy and phono3py."""
