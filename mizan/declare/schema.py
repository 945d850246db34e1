"""The declared functions as an OpenAPI 3.1 document: what a generator of typed clients needs, and other tools read.

The three endpoints are its paths, each context one of its own. `x-mizan-functions` describes every function, those with
a route included, whose pages have no schema. Where a type cannot be described (a QuerySet, `Any`) the schema is `{}`.
"""

import inspect
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, get_args, get_origin

from django.conf import settings
from pydantic import TypeAdapter
from pydantic.errors import PydanticUserError
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, JsonSchemaWarningKind

from mizan_core.canonical import ListOf
from mizan_core.compiling import BASE, base_path, compile_registry
from mizan_core.merging import slots
from mizan_core.registry import FunctionSpec, Registry
from mizan_core.view_urls import NONE, ViewUrls

Json = dict[str, Any]

_REF = "#/components/schemas/{model}"
_ERRORS = (400, 401, 403, 404, 405, 413, 415, 422, 500)


def openapi(
    registry: Registry,
    *,
    base: str = BASE,
    release: str | None = None,
    view_urls: ViewUrls = NONE,
    sections: Mapping[str, object] = MappingProxyType({}),
) -> Json:
    """The document. `base` is where `mizan.urls` is mounted, `sections` what else the site has: name -> JSON, under
    `x-mizan-<name>`. Raises DeclarationsError for what is wrong."""
    base = base_path(base)
    compiled = compile_registry(registry, base=base, view_urls=view_urls)
    types = _describe(registry)
    rpc = [spec for spec in registry if spec.path == "rpc"]
    schemas = types.components | _CALLS | {_call_name(spec): _call(spec, types) for spec in rpc}
    read = {context: [spec for spec in specs if spec.path == "rpc"] for context, specs in compiled.contexts.items()}
    paths = {f"{base}ctx/{context}/": _context_path(context, specs, types) for context, specs in read.items() if specs}
    paths[f"{base}session/"] = _session_path()
    if rpc:
        paths[f"{base}call/"] = _call_path(rpc)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Mizan", "version": release or "1"},
        "paths": paths,
        "components": {
            "schemas": schemas,
            "responses": {str(status): _error(status) for status in _ERRORS},
            "securitySchemes": {
                "session": {"type": "apiKey", "in": "cookie", "name": settings.SESSION_COOKIE_NAME},
                "token": {"type": "http", "scheme": "bearer", "bearerFormat": "MWT"},
            },
        },
        "x-mizan-functions": [
            _function(spec, types, compiled.contexts, compiled.document.get("mutations", {})) for spec in registry
        ],
        **{f"x-mizan-{name}": section for name, section in sections.items()},
    }


def dump(document: Json) -> bytes:
    """The same bytes for the same document."""
    return (json.dumps(document, sort_keys=True, indent=2, ensure_ascii=False) + "\n").encode()


@dataclass(frozen=True, slots=True)
class _Types:
    """What pydantic says of arguments and results."""

    inputs: Mapping[str, Json]
    """Function name -> a reference to the schema of its arguments; likewise `outputs`."""
    outputs: Mapping[str, Json]
    components: dict[str, Json]

    def arguments(self, spec: FunctionSpec) -> Json:
        return self.components[self.inputs[spec.name]["$ref"].rpartition("/")[2]]


def _describe(registry: Registry) -> _Types:
    adapters: list[tuple[tuple[str, str], JsonSchemaMode, TypeAdapter[Any]]] = []
    for spec in registry:
        adapters.append(((spec.name, "input"), "validation", TypeAdapter(spec.signature.model)))
        if spec.path == "rpc" and (adapter := _adapter(spec.signature.output)) is not None:
            adapters.append(((spec.name, "output"), "serialization", adapter))
    # All at once, so that a name stands for one type only.
    found, definitions = TypeAdapter.json_schemas(adapters, ref_template=_REF, schema_generator=_Lenient)
    return _Types(
        {spec.name: found[(spec.name, "input"), "validation"] for spec in registry},
        {spec.name: found.get(((spec.name, "output"), "serialization"), {}) for spec in registry},
        dict(definitions.get("$defs", {})),
    )


def _adapter(output: Any) -> TypeAdapter[Any] | None:
    """None for what has no schema."""
    if output is inspect.Signature.empty:
        return None
    if get_origin(output) is Iterator and get_args(output):
        output = list[get_args(output)[0]]  # type: ignore[misc]
    try:
        return TypeAdapter(output)
    except PydanticUserError:
        return None


class _Lenient(GenerateJsonSchema):
    """What has no schema is anything, and a default without JSON is not shown."""

    ignored_warning_kinds: set[JsonSchemaWarningKind] = {"skipped-choice", "non-serializable-default"}  # noqa: RUF012

    def handle_invalid_for_json_schema(self, schema: Any, error_info: str) -> Json:
        return {}


def _function(
    spec: FunctionSpec, types: _Types, contexts: Mapping[str, tuple[FunctionSpec, ...]], mutations: Mapping[str, Any]
) -> Json:
    required = types.arguments(spec).get("required", [])
    function: Json = {
        "name": spec.name,
        "kind": "mutation" if spec.is_mutation else "context" if spec.context else "function",
        "path": spec.path,
        "description": inspect.getdoc(spec.fn) or "",
        "context": spec.context,
        "local": spec.local,
        "affects": mutations[spec.name]["affects"] if spec.is_mutation else [],
        "merge": [
            {"context": context, "slot": function.name, "params": sorted(function.signature.names)}
            for context, function in slots(spec, contexts)
        ],
        "params": [
            {"name": p.name, "type": _type(spec, p.name), "required": p.name in required}
            for p in spec.signature.parameters
        ],
        "input": types.inputs[spec.name],
        "output": types.outputs[spec.name] if spec.path == "rpc" else None,
        "auth": "custom" if callable(spec.auth) else spec.auth or False,
        "websocket": spec.websocket,
        "route": str(spec.route) if spec.route else None,
        "rev": spec.rev,
    }
    return function


def _type(spec: FunctionSpec, name: str) -> Any:
    type_ = spec.param_types[name]
    return {"list": type_.item} if isinstance(type_, ListOf) else type_


def _call_name(spec: FunctionSpec) -> str:
    # A component's name has fewer characters than a function's may have.
    return re.sub(r"[^A-Za-z0-9._-]", "_", spec.name) + ".call"


def _call(spec: FunctionSpec, types: _Types) -> Json:
    required = ["fn", "args"] if types.arguments(spec).get("required") else ["fn"]
    properties = {"fn": {"const": spec.name, "type": "string"}, "args": types.inputs[spec.name]}
    return {"type": "object", "properties": properties, "required": required}


def _call_path(specs: Iterable[FunctionSpec]) -> Json:
    refs = {spec.name: _REF.format(model=_call_name(spec)) for spec in specs}
    body = {
        "oneOf": [{"$ref": ref} for ref in refs.values()],
        "discriminator": {"propertyName": "fn", "mapping": refs},
    }
    return {
        "post": {
            "operationId": "call",
            "summary": "One function by its name",
            "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
            "responses": _responses(
                _REF.format(model="mizan.CallResult"), (400, 401, 403, 404, 405, 413, 415, 422, 500)
            ),
            "security": [{}, {"session": []}, {"token": []}],
        }
    }


def _context_path(context: str, specs: list[FunctionSpec], types: _Types) -> Json:
    bundle = {
        "type": "object",
        "properties": {spec.name: types.outputs[spec.name] for spec in specs},
        "required": [spec.name for spec in specs],
        "additionalProperties": False,
    }
    guarded = (401, 403) if any(spec.auth for spec in specs) else ()
    operation = {
        "operationId": f"context.{context}",
        "summary": f"What the context {context!r} holds",
        "parameters": list(_query(specs, types)),
        "responses": _responses(bundle, (400, *guarded, 404, 405, 422, 500)),
        "x-mizan-context": context,
    }
    if guarded:
        operation["security"] = [{"session": []}, {"token": []}]
    return {"get": operation}


def _query(specs: list[FunctionSpec], types: _Types) -> Iterator[Json]:
    """The parameters of a context: one that any of its functions cannot do without is required."""
    found: dict[str, list[Json]] = {}
    required: set[str] = set()
    for spec in specs:
        arguments = types.arguments(spec)
        required |= set(arguments.get("required", []))
        for name, schema in arguments["properties"].items() if spec.signature.parameters else ():
            schemas = found.setdefault(name, [])
            if (bare := _without_null(schema)) not in schemas:
                schemas.append(bare)
    for name, schemas in sorted(found.items()):
        schema = schemas[0] if len(schemas) == 1 else {"allOf": schemas}
        yield {"name": name, "in": "query", "required": name in required, "schema": schema}


def _without_null(schema: Json) -> Json:
    """A query has no null: where a parameter is not given, it is absent."""
    bare = {key: value for key, value in schema.items() if not (key == "default" and value is None)}
    some = [choice for choice in bare.get("anyOf", []) if choice != {"type": "null"}]
    if len(some) == 1 and len(bare["anyOf"]) == 2:
        return {key: value for key, value in bare.items() if key != "anyOf"} | dict(some[0])
    return bare


def _session_path() -> Json:
    schema = {
        "type": "object",
        "properties": {
            "csrf_token": {"type": "string"},
            "mwt": {"type": ["string", "null"]},
            "expires_in": {"type": ["integer", "null"], "description": "seconds"},
        },
        "required": ["csrf_token", "mwt", "expires_in"],
    }
    return {
        "get": {
            "operationId": "session",
            "summary": "What a client needs before it can call",
            "responses": _responses(schema, (405, 500)),
            "security": [{}, {"session": []}],
        }
    }


def _responses(schema: str | Json, errors: Iterable[int]) -> Json:
    schema = {"$ref": schema} if isinstance(schema, str) else schema
    succeeded = {"description": "OK", "content": {"application/json": {"schema": schema}}}
    return {"200": succeeded} | {str(status): {"$ref": f"#/components/responses/{status}"} for status in errors}


def _error(status: int) -> Json:
    content = {"application/json": {"schema": {"$ref": _REF.format(model="mizan.Error")}}}
    return {"description": HTTPStatus(status).phrase, "content": content}


# A model's name has no dot.
_SCOPES: Json = {"type": "array", "items": {"type": "string"}, "description": "scopes, such as user;user_id=5"}
_CALLS: dict[str, Json] = {
    "mizan.Error": {
        "type": "object",
        "properties": {
            "error": {
                "type": "object",
                "properties": {"code": {"type": "string"}, "message": {"type": "string"}, "details": {}},
                "required": ["code", "message"],
            }
        },
        "required": ["error"],
    },
    "mizan.Merge": {
        "type": "object",
        "properties": {
            "context": {"type": "string"},
            "slot": {"type": "string"},
            "value": {},
            "params": {"type": "object"},
        },
        "required": ["context", "slot", "value"],
    },
    "mizan.CallResult": {
        "type": "object",
        "properties": {
            "result": {"description": "what the function returns: its `output` in x-mizan-functions"},
            "invalidate": _SCOPES,
            "merge": {"type": "array", "items": {"$ref": _REF.format(model="mizan.Merge")}},
        },
        "required": ["result"],
        "additionalProperties": False,
    },
}
