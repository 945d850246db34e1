"""What an application calls while it starts."""

from importlib import import_module

from mizan.setup.registry import register

__all__ = ["mizan_clients", "register"]


def mizan_clients(app: str) -> None:
    """Imports `<app>.clients`, whose decorators declare the app's functions. Call it in `AppConfig.ready()`."""
    import_module(f"{app}.clients")
