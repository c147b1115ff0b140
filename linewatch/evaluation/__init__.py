"""Judges networks, engines and whole cascades, and ships what is good enough."""
