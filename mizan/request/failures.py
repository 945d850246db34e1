"""From exceptions to responses, in one table. No text of an unexpected exception reaches a client."""

from typing import Any

from django.core.exceptions import (
    BadRequest,
    PermissionDenied,
    RequestDataTooBig,
    SuspiciousOperation,
    ValidationError,
)
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse, UnreadablePostError
from django.utils.log import log_response

from mizan.errors import ApiError
from mizan.request.headers import forbid_storing
from mizan_core.signature import ArgumentsError

# The first row whose type fits; a text of None says what the exception says.
_TABLE: tuple[tuple[type[Exception], int, str, str | None], ...] = (
    (RequestDataTooBig, 413, "too_large", "the request body is larger than this site accepts"),
    (UnreadablePostError, 400, "malformed", "the request body could not be read"),
    (SuspiciousOperation, 400, "malformed", "the request was refused"),
    (BadRequest, 400, "malformed", None),
    (PermissionDenied, 403, "forbidden", "not allowed"),
    (Http404, 404, "not_found", None),
    (ArgumentsError, 422, "invalid_arguments", "the arguments do not fit"),
    (ValidationError, 422, "invalid", "the values are not valid"),
)


def response_for(request: HttpRequest, error: Exception) -> HttpResponse:
    """The JSON response to an exception; one that nobody expected is logged, and says nothing about itself."""
    if isinstance(error, ApiError):
        return _response(error)
    for kind, status, code, text in _TABLE:
        if isinstance(error, kind):
            return _response(ApiError(status, code, text or str(error) or code, details=_details(error)))
    response = _response(ApiError(500, "internal", "something went wrong on the server"))
    log_response("Internal Server Error: %s", request.path, response=response, request=request, exception=error)
    return response


def _details(error: Exception) -> Any:
    if isinstance(error, ArgumentsError):
        return error.details
    if isinstance(error, ValidationError):
        return error.message_dict if hasattr(error, "error_dict") else error.messages
    return None


def _response(error: ApiError) -> HttpResponse:
    body = {"code": error.code, "message": error.message}
    if error.details is not None:
        body["details"] = error.details
    response = JsonResponse({"error": body}, status=error.status)
    response.headers["Cache-Control"] = "private, no-cache"
    forbid_storing(response)
    if error.allow:
        response.headers["Allow"] = error.allow
    return response
