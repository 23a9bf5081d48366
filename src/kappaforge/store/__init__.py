"""The run folder: what was computed, never computed twice."""
