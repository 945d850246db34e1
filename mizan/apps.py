"""The INSTALLED_APPS entry "mizan"."""

from django.apps import AppConfig
from django.core import checks
from django.core.signals import request_started


class MizanConfig(AppConfig):
    """Registers the system checks, and the routes' mounting before the first request."""

    name = "mizan"
    verbose_name = "Mizan"

    def ready(self) -> None:
        from mizan.checks import check_declarations, check_middleware
        from mizan.conf import check_secrets
        from mizan.mount import mount_routes

        check_secrets()
        checks.register(check_declarations)
        checks.register(check_middleware)
        request_started.connect(mount_routes, dispatch_uid="mizan.mount_routes")
