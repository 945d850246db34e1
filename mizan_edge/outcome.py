"""What a request may change, known before its answer comes; and what its answer leaves unknown.

A mutation whose answer is lost may have been carried out, may be carried out yet, or not at all. What the manifest says
it affects is purged then, narrowed by the request's own arguments where they leave no doubt.
"""

from collections.abc import Iterator, Mapping

from mizan_core.canonical import as_declared, value_text
from mizan_core.manifest import Affected, Context, Manifest
from mizan_core.resolve import Purge, longest_hold
from mizan_core.scopes import URL, Scope, widest
from mizan_edge.calls import Call, argument_text
from mizan_edge.http import SAFE_METHODS, Request
from mizan_edge.routes import Resource, Router


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
    return _purge(scopes, manifest)


def of_view(router: Router, request: Request) -> Purge | None:
    """What a request for a view may change: what the mutations at its URL affect; by an unsafe method, its URL too."""
    manifest = router.manifest
    scopes = [
        _narrowed(affected, _path_texts(params, manifest.contexts[affected.context]))
        for name, params in router.mutations(request.target)
        for affected in manifest.mutations[name].affects
    ]
    return _purge([*scopes, *of_url(router, request)], manifest)


def of_url(router: Router, request: Request) -> Iterator[Scope]:
    """The URL that an unsafe method has been applied to. RFC 9111 section 4.4."""
    if request.method in SAFE_METHODS:
        return
    resource = router.match(request.target)
    if isinstance(resource, Resource):
        yield Scope(resource.context, tuple(pair for pair in resource.scope.params if pair[0] == URL))


def _narrowed(affected: Affected, texts: Mapping[str, str | None]) -> Scope:
    known = ((name, texts.get(name)) for name in affected.params)
    return Scope(affected.context, tuple(sorted((name, text) for name, text in known if text is not None)))


def _path_texts(params: Mapping[str, str | None], context: Context) -> dict[str, str | None]:
    texts: dict[str, str | None] = {}
    for name, text in params.items():
        value = as_declared([text], context.types[name]) if text is not None and name in context.types else None
        texts[name] = None if value is None else value_text(value)
    return texts


def _purge(scopes: Iterator[Scope] | list[Scope], manifest: Manifest) -> Purge | None:
    widened = widest(scopes)
    return Purge(widened, hold_s=longest_hold(widened, manifest.contexts)) if widened else None
