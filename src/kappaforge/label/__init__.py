"""Labels from electronic-structure codes."""
