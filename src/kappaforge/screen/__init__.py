"""Keep the unique, novel, symmetric crystals."""
