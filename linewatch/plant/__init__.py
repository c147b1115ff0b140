"""Bridges to a plant's controllers: clients of the service, each in its own process."""
