"""What a request may change, known before its answer comes; and what its answer leaves unknown.

A mutation whose answer is lost may have been carried out, may be carried out yet, or not at all. What the manifest says
it affects is purged then, narrowed by the request's own arguments where they leave no doubt.
"""

from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import urljoin, urlsplit

from mizan_core.canonical import as_declared, value_text
from mizan_core.manifest import Affected, Context, Manifest
from mizan_core.purge import By, Purge, longest_hold
from mizan_core.scopes import URL, Scope, widest
from mizan_edge.http import groups
from mizan_edge.http.message import SAFE_METHODS, Request, Response, normal_host, values
from mizan_edge.rules.calls import Call, argument_text
from mizan_edge.rules.routes import Resource, Router


def of_call(manifest: Manifest, call: Call | None) -> Purge | None:
    """What a call may change; None: nothing that is declared. A call that cannot be read may be any mutation."""
    if call is None:
        names = {affected.context for mutation in manifest.mutations.values() for affected in mutation.affects}
        return _purge((Scope(name) for name in names), manifest)
    mutation = manifest.mutations.get(call.name)
    if mutation is None:
        return None
    scopes = []
    for affected in mutation.affects:
        types = manifest.contexts[affected.context].types
        texts = {name: argument_text(name, call.args.get(name), types) for name in affected.params if name in types}
        scopes.append(_narrowed(affected, texts))
    return _purge(scopes, manifest, call.name)


def of_view(router: Router, request: Request) -> Purge | None:
    """What a request for a view may change: what the mutations at its URL affect; by an unsafe method, its URL too."""
    manifest = router.manifest
    mutations = router.mutations(request.target)
    scopes = [
        _narrowed(affected, _path_texts(params, manifest.contexts[affected.context]))
        for name, params in mutations
        for affected in manifest.mutations[name].affects
    ]
    return _purge([*scopes, *of_url(router, request)], manifest, ", ".join(name for name, _ in mutations))


def of_url(router: Router, request: Request) -> Iterator[Scope]:
    """The URL that an unsafe method is applied to. RFC 9111 section 4.4."""
    if request.method not in SAFE_METHODS:
        yield from _of_target(router, request.target)


def of_response(router: Router, request: Request, response: Response) -> tuple[Scope, ...]:
    """What an unsafe request has changed, once its response says that it has succeeded, whatever was declared: its URL,
    those that the response names (RFC 9111 section 4.4), and the groups that it invalidates (RFC 9875 section 3)."""
    if request.method in SAFE_METHODS or not 200 <= response.status < 400:
        return ()
    scopes = list(of_url(router, request))
    for name in ("location", "content-location"):
        for value in values(response.fields, name):
            if (target := _same_origin(request, value)) is not None:
                scopes += _of_target(router, target)
    scopes += groups.invalidated(response.fields, router.manifest.contexts, request.host)
    return tuple(scopes)


def _same_origin(request: Request, reference: str) -> str | None:
    """The target in the request's own origin that a URI reference leads to; None where it leads elsewhere."""
    try:
        url = urlsplit(urljoin(f"{request.scheme}://{request.host}{request.target}", reference.strip()))
    except ValueError:
        return None
    if url.scheme != request.scheme or normal_host(url.netloc, url.scheme) != request.host:
        return None
    return url._replace(scheme="", netloc="", fragment="").geturl() or "/"


def of_resource(resource: Resource) -> Scope:
    """The URL of a resource, in every variant and partition."""
    return Scope(resource.context, tuple(pair for pair in resource.scope.params if pair[0] == URL))


def _of_target(router: Router, target: str) -> Iterator[Scope]:
    resource = router.match(target)
    if isinstance(resource, Resource):
        yield of_resource(resource)


def _narrowed(affected: Affected, texts: Mapping[str, str | None]) -> Scope:
    known = ((name, texts.get(name)) for name in affected.params)
    return Scope(affected.context, tuple(sorted((name, text) for name, text in known if text is not None)))


def _path_texts(params: Mapping[str, str | None], context: Context) -> dict[str, str | None]:
    texts: dict[str, str | None] = {}
    for name, text in params.items():
        value = as_declared([text], context.types[name]) if text is not None and name in context.types else None
        texts[name] = None if value is None else value_text(value)
    return texts


def _purge(scopes: Iterable[Scope], manifest: Manifest, function: str = "") -> Purge | None:
    if not (scopes := list(scopes)):
        return None  # as of nearly every request for a view
    widened = widest(scopes)
    return Purge(widened, hold_s=longest_hold(widened, manifest.contexts), by=By(function=function))
