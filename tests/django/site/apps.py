from importlib import import_module

from django.apps import AppConfig


class SiteConfig(AppConfig):
    name = "tests.django.site"
    label = "site"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from mizan.setup import mizan_clients

        mizan_clients("tests.django.site")
        from tests.django.site import classes, team  # noqa: F401
        import_module("tests.django.site.forms")
