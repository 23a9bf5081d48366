"""Turn crystals into vectors, and vectors into a map."""
