"""How good a generator's crystals are before anything is relaxed."""
