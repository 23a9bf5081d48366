"""Committee, uncertainty and active learning."""
