"""One request, whichever view answers it.

state           what is remembered of it
identity        who asks, and the cookie that tells the edge; access_tokens are those of `mizan.jwt`
csrf            whether another site has sent it
request_mizan   `request.mizan`: what a view says of it
recording       what else than its partition went into the response
headers         what the response says to caches
failures        the response to an exception
settle          what follows where it changed something
"""
