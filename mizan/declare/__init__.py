"""What the site has said before any request.

conf        the MIZAN_* settings
compiled    what its functions come to: the manifest and scopes, for each state of the registry
scopes      scopes as its code says them
calling     its code called, be it sync or async
schema      its functions as an OpenAPI document
"""
