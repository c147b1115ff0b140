"""Towards an eye that can be trusted on real strip: docs/experiments/eye.md tells what each module is for."""
