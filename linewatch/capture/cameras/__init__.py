"""The cameras, one file a kind, and the registry that opens them."""
