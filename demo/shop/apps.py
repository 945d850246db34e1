"""The app, which tells mizan what its clients.py declares."""

from django.apps import AppConfig


class ShopConfig(AppConfig):
    name = "demo.shop"

    def ready(self) -> None:
        from mizan.setup import mizan_clients

        mizan_clients("demo.shop")
