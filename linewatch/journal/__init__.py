"""The journal: decisions on disk before they are published, and replayed from there."""
