"""System checks; those of forms and of channels are with them.

declarations    what contradicts each other, and which settings do not fit
cacheability    what keeps pages out of every cache
"""
