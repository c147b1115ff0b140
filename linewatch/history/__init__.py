"""Stores what services publish in a database and an image archive, and queries them."""
