"""Mizan's Django adapter: declared functions over HTTP, and everything that a cache in front needs to know of them.

client, setup            `@client`, `register`, `mizan_clients`: what an application writes
server_function          functions that are written as classes
urls, views              contexts, calls and the session endpoint
routes, mount, route_view  functions with `route=` at URLs of their own
identity, recording      who is asking, and whether more than that went into a response
allauth                  optional app: django-allauth's sign-up, sign-in and so on as functions
jwt                      optional app: access and refresh tokens for clients without cookies
headers, errors          what a response says to caches; exceptions -> responses
forms                    Django's forms as functions
transactions             where a request's transactions begin and end
ssr                      React components as templates, rendered by Node or Bun
schema                   the declared functions as an OpenAPI document
cache                    `purge()`, and the origin's own cache of bundles
model_contexts           MIZAN_MODEL_CONTEXTS: models whose changes purge
request, settle          `request.mizan`, and what follows a request that changed something
test                     `assertPurges` and friends, for an application's tests
asgi, channels           WebSockets: `wrap_asgi`, `ReactChannel`, and calls of functions with `websocket=True`
middleware               optional: tokens and `request.mizan` in every view
checks, uncacheable      what the declarations contradict, and what keeps pages out of caches, as system checks
"""

from mizan.asgi import wrap_asgi

__all__ = ["wrap_asgi"]
