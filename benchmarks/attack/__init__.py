"""Attacks on a running service, for `make attack` and for tests."""
