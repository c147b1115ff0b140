"""The small service for every test here."""

from small_services import start_service

__all__ = ["start_service"]
