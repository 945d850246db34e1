"""What the site has said before any request.

conf        the MIZAN_* settings
compiled    what its functions come to: the manifest and scopes, for each state of the registry
scopes      scopes as its code says them
schema      its functions as an OpenAPI document
"""
