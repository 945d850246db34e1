"""The INSTALLED_APPS entry "mizan"."""

from django.apps import AppConfig
from django.core import checks
from django.core.signals import request_started
from django.http import HttpRequest


class MizanConfig(AppConfig):
    """Registers the system checks, the models of MIZAN_MODEL_CONTEXTS, what has to be so before the first request, and
    what `request.mizan` says where nobody gives it. A secret that is too short stops the start."""

    name = "mizan"
    verbose_name = "Mizan"

    def ready(self) -> None:
        from mizan.cache.model_contexts import connect
        from mizan.channels.checks import check_channels
        from mizan.checks.cacheability import check_cacheability
        from mizan.checks.declarations import check_cache, check_declarations, check_middleware, check_model_contexts
        from mizan.declare.conf import check_secrets
        from mizan.forms.checks import check_forms
        from mizan.http.mount import begin
        from mizan.request.request_mizan import Missing

        check_secrets()
        HttpRequest.mizan = Missing()  # type: ignore[attr-defined]
        for check in (
            check_declarations,
            check_middleware,
            check_cacheability,
            check_model_contexts,
            check_forms,
            check_channels,
        ):
            checks.register(check)
        checks.register(check_cache, deploy=True)
        connect()
        request_started.connect(begin, dispatch_uid="mizan.begin")
