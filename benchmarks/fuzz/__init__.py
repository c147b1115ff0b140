"""Throws mutated bytes at what reads files and messages (`python -m benchmarks.fuzz`)."""
