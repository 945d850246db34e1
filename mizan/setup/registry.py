"""`from mizan.setup.registry import register`."""

from mizan_core.registry import register

__all__ = ["register"]
