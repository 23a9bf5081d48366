"""Propose crystals."""
