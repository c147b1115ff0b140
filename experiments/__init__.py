"""Experiments that can be repeated. Nothing here is installed or runs on a line; every script has `--help`."""
