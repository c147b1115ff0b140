"""The runtimes that execute engines, one file or folder a kind, and the registry that opens them."""
