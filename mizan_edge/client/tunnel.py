"""A connection that has switched to another protocol: what either side says is copied to the other."""

import asyncio
import logging

from mizan_edge.client.arriving import Arriving
from mizan_edge.client.writing import Writing
from mizan_edge.http.errors import OriginError, RefusedError
from mizan_edge.origin.exchange import Tunnel
from mizan_edge.system.tasks import Tasks

log = logging.getLogger(__name__)

# For how long the origin may go on when the client has ended.
_LINGER_S = 1.0


async def copy_both_ways(said: Arriving, tunnel: Tunnel, writing: Writing, tasks: Tasks) -> None:
    """Takes what the client has `said` to the origin, and what the origin says to `writing`.

    Until the origin has ended, or the client has and the origin had some time to. Raises ConnectionError where the
    client has left.
    """
    up = tasks.start(_say(said, tunnel), "tunnel")
    try:
        async for data in tunnel.chunks():
            writing.put(data)
            await writing.drain()
    except OriginError as error:
        log.debug("a tunnel broke off: %s", error)
    finally:
        up.cancel()
        tunnel.close()


async def _say(said: Arriving, tunnel: Tunnel) -> None:
    try:
        async for data in said:
            tunnel.write(data)
            await tunnel.drain()
        await asyncio.sleep(_LINGER_S)
    except (OriginError, RefusedError) as error:
        log.debug("a tunnel broke off: %s", error)
    tunnel.close()
