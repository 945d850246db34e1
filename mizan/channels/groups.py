"""The way to everybody who listens: Django Channels' layer, usually in Redis."""

import hashlib
from typing import Any

from asgiref.sync import async_to_sync
from django.core.exceptions import ImproperlyConfigured

from mizan.db.commits import after_all_commits

EXTRA = 'WebSockets need the extra "channels": pip install "mizan-edge[channels]"'
NO_LAYER = (
    "channels need CHANNEL_LAYERS in the settings, for example with the BACKEND "
    "'channels_redis.pubsub.RedisPubSubChannelLayer'"
)


def layer() -> Any:
    """The layer of the settings. Raises ImproperlyConfigured, which says what is missing."""
    try:
        from channels.layers import get_channel_layer
    except ImportError as error:
        raise ImproperlyConfigured(EXTRA) from error
    found = get_channel_layer()
    if found is None:
        raise ImproperlyConfigured(NO_LAYER)
    return found


def group_name(channel: str, group: str) -> str:
    """The layer's name of a channel's group: layers take less than a hundred characters, and not all of them."""
    return "mizan." + hashlib.sha256(f"{channel}\0{group}".encode()).hexdigest()


def publish(group: str, body: str) -> None:
    """Sends a message's JSON to all who listen, after the commit."""
    to = layer()

    def send() -> None:
        async_to_sync(to.group_send)(group, {"type": "mizan.message", "group": group, "body": body})

    after_all_commits(send)
