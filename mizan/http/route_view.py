"""A function with `route=` as a Django view: found by us, or put into `urlpatterns` by hand, it is the same view.

`@client(route=...)` gives the view in place of the function, since it is called as one: `view(request, **arguments)`.
"""

from collections.abc import Callable, Mapping
from functools import wraps
from inspect import signature as python_signature
from typing import Any

from asgiref.sync import iscoroutinefunction, sync_to_async
from django.core.handlers.exception import response_for_exception
from django.http import FileResponse, Http404, HttpRequest, HttpResponse, HttpResponseBase

from mizan.db.transactions import non_atomic
from mizan.errors import ApiError
from mizan.http.execute import allow, run_in_transactions
from mizan.http.frame import framed, when_rendered
from mizan.http.reading import Reading
from mizan.request.csrf import SAFE_METHODS, check_csrf
from mizan.request.failures import response_for
from mizan.request.settle import remember_changes
from mizan.request.state import state
from mizan_core.registry import FunctionSpec, spec_of
from mizan_core.signature import ArgumentsError

Responder = Callable[[HttpRequest, tuple[Any, ...], dict[str, Any]], HttpResponseBase]

_VIEW = "mizan_view"
_MUTATING = "POST, PUT, PATCH, DELETE, OPTIONS"


def as_view(fn: Callable[..., Any]) -> Callable[..., Any]:
    """The view of a declared function, one for each: tokens, CSRF, `auth=`, validated arguments, and the headers."""
    made = getattr(fn, _VIEW, None)
    if made is not None:
        return made  # type: ignore[no-any-return]
    respond = responder(fn)
    view: Any
    if iscoroutinefunction(fn):

        @wraps(fn)
        async def async_view(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            return await sync_to_async(respond)(request, args, kwargs)

        view = async_view
    else:

        @wraps(fn)
        def sync_view(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            return respond(request, args, kwargs)

        view = sync_view
    # The responder checks, once, and not for requests that a token signed in.
    view.csrf_exempt = True
    view = non_atomic(view)
    setattr(fn, _VIEW, view)
    return view  # type: ignore[no-any-return]


def responder(fn: Callable[..., Any]) -> Responder:
    """What answers a request to a declared function with `route=`."""
    exempt = bool(getattr(fn, "csrf_exempt", False))

    def respond(request: HttpRequest, args: tuple[Any, ...], kwargs: dict[str, Any]) -> HttpResponseBase:
        def answer() -> HttpResponseBase:
            spec = _spec(fn)
            if spec.is_mutation and (response := _without_mutating(request)):
                return response
            if not exempt:
                check_csrf(request)
            return _Request(request, spec).enter(_named(fn, args, kwargs))

        return framed(request, answer)

    return respond


def _without_mutating(request: HttpRequest) -> HttpResponseBase | None:
    """The answer to a safe method where there is only a mutation, which a link or a prefetch must not run; else None.
    Raises ApiError, 405, for all but OPTIONS."""
    if request.method not in SAFE_METHODS:
        return None
    if request.method != "OPTIONS":
        raise ApiError(405, "method_not_allowed", f"this URL takes {_MUTATING}", allow=_MUTATING)
    return HttpResponse(headers={"Allow": _MUTATING, "Content-Length": "0"})


def _spec(fn: Callable[..., Any]) -> FunctionSpec:
    spec = spec_of(fn)
    if spec is None:
        raise TypeError(f"{fn!r} is not declared: put @client(route=...) above it")
    return spec


def _named(fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Unnamed groups of a `re_path` by the names of the parameters they stand for."""
    names = list(python_signature(fn).parameters)[1 : 1 + len(args)]
    return {**dict(zip(names, args, strict=True)), **kwargs}


class _Request:
    """One request to one function, from its arguments to its headers."""

    def __init__(self, request: HttpRequest, spec: FunctionSpec) -> None:
        self.request = request
        self.spec = spec
        self.reading = Reading(request, spec.context) if spec.context else None

    def enter(self, routed: Mapping[str, Any]) -> HttpResponseBase:
        """Raises what stands before the function: ApiError, Http404, ArgumentsError. The function's own is answered."""
        request, spec, reading = self.request, self.spec, self.reading
        try:
            allow(request, spec)
            arguments = self._arguments(routed)
            if reading is not None:
                reading.begin([(spec, arguments)])
            if spec.is_mutation:
                remember_changes(request, spec, arguments)
        except BaseException:
            if reading is not None:
                reading.stop()
            raise
        response = self._run(arguments)
        if reading is None:
            return response

        def answer(response: HttpResponseBase) -> HttpResponseBase:
            return reading.answer(response, refused=self._refused(response), own_ttl=spec.ttl is not None)

        return when_rendered(response, answer)

    def _arguments(self, routed: Mapping[str, Any]) -> dict[str, Any]:
        """The validated arguments. Raises Http404 where the path does not fit, ArgumentsError for the query."""
        signature = self.spec.signature
        try:
            return signature.bind({**signature.from_query(self.request.GET.getlist), **routed})
        except ArgumentsError as error:
            if any(problem["loc"] and problem["loc"][0] in routed for problem in error.details):
                raise Http404("nothing is at this URL") from None
            raise

    def _run(self, arguments: Mapping[str, Any]) -> HttpResponseBase:
        """The function's response, or that to what it raised."""
        try:
            return run_in_transactions(self.request, [(self.spec, arguments)], self._checked)
        except Exception as error:
            state(self.request).raised = True
            if isinstance(error, ApiError):
                return response_for(self.request, error)
            # Django's own answer, since this is a page of the site: but here, where the headers can be put on it.
            return response_for_exception(self.request, error)

    def _checked(self, response: object) -> HttpResponseBase:
        if not isinstance(response, HttpResponseBase):
            returned = type(response).__name__
            raise TypeError(f"{self.spec.name}() has a route= and returned no HttpResponse but {returned}")
        return response

    def _refused(self, response: HttpResponseBase) -> str | None:
        """Why nobody may keep the response to a read, whatever went into it."""
        if state(self.request).raised:
            return "its function raised"
        # What a generator looks at while it streams, nobody sees in time.
        if response.streaming and not isinstance(response, FileResponse):
            return "its body streams"
        if not self.spec.cacheable:
            return "its function is declared with cache=False"
        if self.request.method not in ("GET", "HEAD"):
            return f"it answers {self.request.method}"
        return None
