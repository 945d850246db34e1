"""What the admin API takes and gives: JSON bodies, and RFC 9457 problem documents for all that fails."""

import asyncio
import difflib
import json
import logging
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeVar

import orjson
from aiohttp import web
from pydantic import BaseModel, ValidationError

from mizan_core.errors import MizanError
from mizan_edge.http.errors import problem

log = logging.getLogger(__name__)

_BODY_S = 30.0

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Model = TypeVar("Model", bound=BaseModel)


class Refused(MizanError):
    """A request that the admin API does not serve; becomes a problem document."""

    def __init__(self, status: int, detail: str, **extra: object) -> None:
        super().__init__(detail)
        self.status = status
        self.extra = extra


def answer(document: dict[str, Any]) -> web.Response:
    """A JSON answer."""
    return web.Response(body=orjson.dumps(document), content_type="application/json")


async def body_of(request: web.Request, model: type[Model]) -> Model:
    """The JSON body of a request. Raises Refused, with what is wrong with it."""
    if request.content_type != "application/json":
        raise Refused(415, "Send JSON: Content-Type: application/json")
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise Refused(415, "Send the body as it is, without Content-Encoding.")
    try:
        async with asyncio.timeout(_BODY_S):
            data = await request.read()
    except TimeoutError:
        raise Refused(408, f"The body has not come within {_BODY_S:g} seconds.") from None
    try:
        document = orjson.loads(data)
        # Of a key that stands there twice it takes the last; who wrote both may have meant the first.
        json.loads(data, object_pairs_hook=_each_once)
        return model.model_validate(document)
    except (orjson.JSONDecodeError, RecursionError) as error:
        raise Refused(400, f"The body is not JSON: {error}") from None
    except ValidationError as error:
        raise Refused(422, "; ".join(_lines(error, model))) from None


def _each_once(pairs: list[tuple[str, Any]]) -> None:
    seen = set()
    for name, _ in pairs:
        if name in seen:
            raise Refused(422, f"{name}: the key stands twice in one object")
        seen.add(name)


def _lines(error: ValidationError, model: type[BaseModel]) -> Iterator[str]:
    for problem_ in error.errors():
        place = ".".join(map(str, problem_["loc"]))
        match problem_["type"]:
            case "extra_forbidden":
                close = difflib.get_close_matches(place, model.model_fields, n=1)
                yield f"{place}: there is no such key" + (f"; the nearest is {close[0]!r}" if close else "")
            case "model_type":
                yield "the body: it should be a JSON object"
            case _:
                yield f"{place}: {problem_['msg']}"


@web.middleware
async def problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turns every failure into a problem document."""
    extra: dict[str, Any] = {}
    headers: dict[str, str] = {}
    try:
        return await handler(request)
    except Refused as error:
        status, detail, extra = error.status, str(error), error.extra
    except web.HTTPException as error:
        if error.status < 400:
            raise
        status, detail = error.status, f"{request.method} {request.path}: {error.reason}"
        if isinstance(error, web.HTTPMethodNotAllowed):
            headers["Allow"] = ", ".join(sorted(error.allowed_methods))
            if error.allowed_methods == {"PURGE"}:  # which every path allows
                status, detail = 404, f"There is nothing at {request.path} here."
    except ConnectionError:
        raise  # the client has left
    except Exception:
        log.exception("%s %s failed", request.method, request.path)
        status, detail = 500, "The request failed. The log has the reason."
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return web.Response(
        status=status,
        body=problem(status, detail, extra),
        headers=headers,
        content_type="application/problem+json",
    )
