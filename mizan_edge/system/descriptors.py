"""How many files and connections this process may have open."""

import resource
import sys


def raise_limit() -> int:
    """Takes as many as the system lets it have; how many these are, or `resource.RLIM_INFINITY`."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == hard or sys.platform != "linux":
        return soft
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard
