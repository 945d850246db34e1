from importlib import import_module

from django.apps import AppConfig


class SiteConfig(AppConfig):
    name = "tests.django.site"
    label = "site"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from mizan.setup import mizan_clients

        mizan_clients("tests.django.site")
        for module in ("classes", "forms", "rooms", "team"):
            import_module(f"tests.django.site.{module}")
