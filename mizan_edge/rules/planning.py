"""What is to be done with a request before anything is looked up: routes, calls, identity and policy, asked in turn."""

from mizan_edge.http import forwarding
from mizan_edge.http.cache_status import Forwarded
from mizan_edge.http.message import Request
from mizan_edge.rules import outcome, policy
from mizan_edge.rules.calls import Call, match_call
from mizan_edge.rules.identity import PUBLIC, Partition, is_named, partition
from mizan_edge.rules.policy import Lookup, Pass
from mizan_edge.rules.routes import Resource, Router, Uncacheable
from mizan_edge.rules.site import Rules, Site


def is_call(site: Site, request: Request) -> bool:
    """Whether a request goes where calls are POSTed."""
    return request.method == "POST" and site.router.is_call(request.target.partition("?")[0])


def planned(
    site: Site, rules: Rules, request: Request, call: bytes | None, *, is_call: bool, has_body: bool, now_s: float
) -> Pass | Lookup:
    """What to do with a request, as it leaves for the origin.

    `call`: what is sent to a URL for calls, None where that is too long to be one.
    """
    resource: Resource | Uncacheable
    if forwarding.wants_upgrade(request):
        # An origin that declines may take it for a call.
        affects = outcome.of_call(site.manifest, None) if is_call else outcome.of_view(site.router, request)
        return Pass(Forwarded("bypass"), affects, because="It asks for another protocol (Upgrade).")
    if request.method in ("GET", "HEAD"):
        resource = site.router.match(request.target)
        if isinstance(resource, Resource) and has_body:
            # What an application makes of a GET's body is in no key. RFC 9110 section 9.3.1
            resource = Uncacheable("non-canonical", "It has a body, which no key holds.")
    elif is_call:
        matched = None
        if call is not None:
            matched = match_call(site.manifest, request.target, request.get("content-type"), call)
        if matched is None:
            because = "What is sent is no call that can be read in one way only."
            return Pass(Forwarded("bypass", "non-canonical"), outcome.of_call(site.manifest, None), because)
        if isinstance(matched, Call):
            because = f"No context has a function {matched.name!r}, so it is not a read."
            return Pass(Forwarded("method"), outcome.of_call(site.manifest, matched), because)
        resource = matched
    else:
        return Pass(Forwarded("method"), outcome.of_view(site.router, request))
    if isinstance(resource, Uncacheable):
        return never_cached(site.router, request, resource)
    if resource.context in site.off:
        return Pass(Forwarded("bypass", "disabled"))
    who: Partition | str = Partition(PUBLIC)
    if site.manifest.contexts[resource.context].scope == "user":
        who = partition(request.fields, rules.identity, rules.verifier(now_s))
    named = is_named(request.fields, rules.identity)
    return policy.plan(request, resource, who, named=named, anybody_revalidates=rules.client_revalidation)


def never_cached(router: Router, request: Request, resource: Uncacheable) -> Pass:
    """What to do with a request that is never cached."""
    affects = outcome.of_view(router, request) if request.method == "GET" else None
    return Pass(Forwarded("bypass", resource.detail), affects, resource.because)
