"""The INSTALLED_APPS entry "mizan.jwt"."""

from django.apps import AppConfig
from django.core.exceptions import ImproperlyConfigured


class JwtConfig(AppConfig):
    """Declares the functions."""

    name = "mizan.jwt"
    label = "mizan_jwt"
    verbose_name = "Mizan JWT"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from mizan.declare.conf import conf
        from mizan.jwt import functions  # noqa: F401 declares them

        if conf().jwt_secret is None:
            raise ImproperlyConfigured("'mizan.jwt' is in INSTALLED_APPS: set MIZAN_JWT_SECRET, at least 32 bytes")
