"""Towards an eye that can be trusted on real strip: docs/experiments/eye.md says what each module is for."""
