"""Bridges from a running service to a plant's controllers: each runs in a process of its own and follows the wire."""
