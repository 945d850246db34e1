"""The functions with `route=` as URL patterns: mounted by `http.mount` behind the site's own, or by hand with
`path("", include("mizan.routes"))`."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, overload

from django.http import HttpRequest, HttpResponseBase
from django.urls import URLPattern, path
from django.views.decorators.csrf import csrf_exempt

from mizan.db.transactions import non_atomic
from mizan.http.route_view import as_view, responder
from mizan.request.csrf import SAFE_METHODS
from mizan_core import registry
from mizan_core.registry import FunctionSpec, Registry


class _Routes(Sequence[URLPattern]):
    """Read from the registry when it has changed: a function may be declared after this module was imported."""

    def __init__(self) -> None:
        self._read: tuple[Registry, int] | None = None
        self._patterns: list[URLPattern] = []

    def _current(self) -> list[URLPattern]:
        functions = registry.default
        if self._read != (functions, functions.generation):
            self._read = (functions, functions.generation)
            self._patterns = _patterns(functions)
        return self._patterns

    @overload
    def __getitem__(self, index: int) -> URLPattern: ...
    @overload
    def __getitem__(self, index: slice) -> list[URLPattern]: ...
    def __getitem__(self, index: int | slice) -> URLPattern | list[URLPattern]:
        return self._current()[index]

    def __len__(self) -> int:
        return len(self._current())

    def __iter__(self) -> Iterator[URLPattern]:
        return iter(list(self._current()))


urlpatterns = _Routes()


def _patterns(functions: Registry) -> list[URLPattern]:
    by_route: dict[str, list[FunctionSpec]] = {}
    for spec in functions:
        if spec.route:
            by_route.setdefault(spec.route.text, []).append(spec)
    return [path(route, _view(specs), name=spec.name) for route, specs in by_route.items() for spec in specs]


def _view(specs: list[FunctionSpec]) -> Callable[..., Any]:
    """The view of one URL. A read and a mutation may share it: GET shows, POST changes."""
    read = next((spec for spec in specs if not spec.is_mutation), None)
    mutation = next((spec for spec in specs if spec.is_mutation), None)
    if read is None or mutation is None:
        return as_view(specs[0].fn)
    shows, changes = responder(read.fn), responder(mutation.fn)

    def by_method(request: HttpRequest, **kwargs: Any) -> HttpResponseBase:
        return (shows if request.method in SAFE_METHODS else changes)(request, (), kwargs)

    return non_atomic(csrf_exempt(by_method))
