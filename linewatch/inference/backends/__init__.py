"""The backends that run engines, one file or folder each, and the registry that opens them."""
