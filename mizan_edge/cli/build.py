"""How the modules that run for each request were built."""

from importlib.util import find_spec

# They are compiled together, or not at all. To look for one is faster than to load it.
_HOT = find_spec("mizan_edge.memory.prepared")
BUILD = "pure Python" if _HOT and (_HOT.origin or "").endswith(".py") else "compiled"
