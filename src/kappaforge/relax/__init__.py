"""Bring cell and positions to the nearest minimum of a potential."""
