"""The INSTALLED_APPS entry "mizan.allauth"."""

from importlib.util import find_spec

from django.apps import AppConfig, apps
from django.core.exceptions import ImproperlyConfigured


class AllauthConfig(AppConfig):
    """Declares the functions."""

    name = "mizan.allauth"
    label = "mizan_allauth"
    verbose_name = "Mizan and django-allauth"

    def ready(self) -> None:
        if find_spec("allauth") is None:
            raise ImproperlyConfigured("'mizan.allauth' needs django-allauth: pip install 'mizan-edge[allauth]'")
        if not apps.is_installed("allauth.account"):
            raise ImproperlyConfigured("'mizan.allauth' needs 'allauth' and 'allauth.account' in INSTALLED_APPS")
        from mizan.allauth import functions  # noqa: F401 declares them
