"""Read crystals from files, rank and split them."""
