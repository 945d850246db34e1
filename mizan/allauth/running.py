"""Running allauth's views inside a call: they answer JSON with where to go next, or with the form's errors."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from allauth.core.exceptions import ImmediateHttpResponse
from django.contrib.messages.storage.base import BaseStorage
from django.http import HttpRequest, HttpResponseBase, QueryDict
from pydantic import BaseModel

from mizan.db.transactions import atomic_requests
from mizan.errors import ApiError
from mizan.request.identity import signed_in_user


class Outcome(BaseModel):
    """What came of it."""

    signed_in: bool
    """Whether somebody is signed in now. False after a sign-in that has another stage, such as e-mail verification."""
    location: str | None
    """Where allauth would go next: its page of the stage, or what the adapter says."""


class _NoMessages(BaseStorage):
    """Takes messages and forgets them: they are meant for the next page, and a call has none. In a cookie they would
    make everything uncacheable until some page shows them."""

    def _get(self, *args: Any, **kwargs: Any) -> Any:
        return [], True

    def _store(self, *args: Any, **kwargs: Any) -> Any:
        return []


def run_view(
    request: HttpRequest, view: Callable[..., HttpResponseBase], data: Mapping[str, str | None], **kwargs: str
) -> Outcome:
    """Runs a view with form data; what is None is not sent. Raises ApiError: 422 "invalid" with the errors by field,
    429 "rate_limited", 403 "forbidden"."""
    form = QueryDict(mutable=True)
    form.update({name: value for name, value in data.items() if value is not None})
    instead = {"POST": form} | ({"_messages": _NoMessages(request)} if hasattr(request, "_messages") else {})
    own = {name: getattr(request, name) for name in instead}
    try:
        for name, value in instead.items():
            setattr(request, name, value)
        # Around the view and no further: what it has written, it has written, also when it is an error to the caller.
        with atomic_requests():
            response = view(request, **kwargs)
    except ImmediateHttpResponse as immediate:
        response = immediate.response
    finally:
        for name, value in own.items():
            setattr(request, name, value)
    return _outcome(request, response)


def _outcome(request: HttpRequest, response: Any) -> Outcome:
    if response.status_code in (301, 302, 303):
        return Outcome(signed_in=signed_in_user(request) is not None, location=response["Location"])
    if response.status_code == 429:
        raise ApiError(429, "rate_limited", "too many attempts: try again later")
    if not response.get("Content-Type", "").startswith("application/json"):
        # A page instead of a step: sign-up is closed.
        raise ApiError(403, "forbidden", "this site does not allow that now")
    body = json.loads(response.content)
    if response.status_code == 200:
        return Outcome(signed_in=signed_in_user(request) is not None, location=body.get("location"))
    raise ApiError(422, "invalid", "the values are not valid", details=_errors(body.get("form", {})))


def _errors(form: Mapping[str, Any]) -> dict[str, list[str]]:
    by_field = {name: field["errors"] for name, field in form.get("fields", {}).items() if field["errors"]}
    return by_field | ({"__all__": form["errors"]} if form.get("errors") else {})
