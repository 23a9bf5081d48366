"""Models of the interatomic energy behind one batched protocol."""
