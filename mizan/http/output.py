"""Results as JSON: pydantic models, dataclasses, UUIDs, dates, decimals; the same bytes for the same value."""

from typing import Any

from django.db.models import QuerySet
from django.http import HttpResponse
from django.utils.functional import Promise
from pydantic_core import to_json


def json_bytes(value: Any) -> bytes:
    """UTF-8 JSON. NaN and infinities become null. Raises PydanticSerializationError for what has no JSON."""
    return to_json(value, inf_nan_mode="null", fallback=_fallback)


def json_response(body: bytes) -> HttpResponse:
    """A response of JSON that was written already."""
    return HttpResponse(body, content_type="application/json")


def _fallback(value: Any) -> Any:
    if isinstance(value, Promise):
        return str(value)
    if isinstance(value, QuerySet):
        return list(value)
    raise TypeError(
        f"{type(value).__name__} has no JSON: return pydantic models, dataclasses, dicts and lists of values"
    )
