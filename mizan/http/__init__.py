"""The endpoints, and the pages of functions with `route=`.

views           contexts, calls and the session
bundle          the functions of a context together, from the origin's own cache where that is exact
route_view      a function with `route=` as a view
frame           what is around each of those: tokens in, and out what was changed and the token cookie
mount           puts those into the site's URLs before the first request
reading         what the bundle, a call and a page have in common where they read a context
execute         who may run a function, and inside which transactions it runs
input, output   JSON as clients send it; results as JSON
"""
