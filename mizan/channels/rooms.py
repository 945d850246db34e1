"""The subscriptions of one connection.

Who listens is asked anew: the user comes from the session as it is now, and a connection whose user is no longer who
opened it is closed. That and `authorize` and `group` are asked at the subscription, for each message of the client, and
before a message goes out if the last time was `recheck_s` ago.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from pydantic import BaseModel, ValidationError

from mizan.channels import registry
from mizan.channels.channel import ReactChannel
from mizan.channels.commands import Command
from mizan.channels.groups import group_name, layer
from mizan.channels.limits import Limits
from mizan.channels.threads import in_thread
from mizan.channels.visitor import Visitor, identity
from mizan.db.transactions import atomic_requests
from mizan.declare.calling import awaited
from mizan.errors import ApiError
from mizan.request.failures import response_for
from mizan_core.signature import ArgumentsError

logger = logging.getLogger("mizan.channels")

FAILED, SOMEBODY_ELSE = 1011, 4401

Key: TypeAlias = tuple[str, str]
"""What tells subscriptions of a connection apart: the channel's name, and the params with their defaults as JSON."""


class Closed(Exception):
    """The connection ends, with this code and reason."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


@dataclass(slots=True, eq=False)
class Subscription:
    """A channel with params."""

    channel: type[ReactChannel]
    params: BaseModel
    key: Key
    group: str
    """The layer's."""
    checked_s: float
    """When it was last admitted; monotonic."""

    def event(self, body: str) -> str:
        """What is said of it: the JSON object `body`, with the subscription's name and params before."""
        name, params = self.key
        return f'{{"channel":"{name}","params":{params},{body[1:]}'


class Rooms:
    """One connection's subscriptions, all heard through one mailbox of the channel layer.

    # mutable state: the `_subscriptions` by channel and params; once there was one, the `_layer`, the `_mailbox` and
    # the task that is `_delivering` what comes.
    """

    def __init__(self, visitor: Visitor, owner: str | None, limits: Limits, say: Callable[[str], Awaitable[None]]):
        self._visitor = visitor
        self._owner = owner
        self._limits = limits
        self._say = say
        self._subscriptions: dict[Key, Subscription] = {}
        self._layer: Any = None
        self._mailbox = ""
        self._delivering: asyncio.Task[None] | None = None
        self._changing = asyncio.Lock()

    async def subscribe(self, command: Command, tasks: asyncio.TaskGroup) -> bytes:
        """The answer. Raises ApiError, ArgumentsError, Closed, and what the application raises."""
        new = await in_thread(self._admitted, command)
        if new.key not in self._subscriptions and len(self._subscriptions) >= self._limits.max_subscriptions:
            raise ApiError(
                429, "too_many", f"{self._limits.max_subscriptions} subscriptions are enough for one connection"
            )
        old = self._subscriptions.get(new.key)
        self._subscriptions[new.key] = new
        try:
            await self._join(new.group, tasks)
        except Exception:
            logger.exception("the channel layer cannot be used")
            self._subscriptions.pop(new.key, None)
            raise ApiError(503, "unavailable", "channels cannot be reached now") from None
        if old is not None:
            await self._leave(old.group)
        return b'{"result":{"params":%b}}' % new.key[1].encode()

    async def unsubscribe(self, command: Command) -> bytes:
        """The answer, also where there was no such subscription."""
        channel, params = _addressed(command)
        gone = self._subscriptions.pop(_key(channel, params), None)
        if gone is not None:
            await self._leave(gone.group)
        return b'{"result":null}'

    async def send(self, command: Command) -> bytes:
        """Lets the channel receive a message of the client. Raises as `subscribe` does."""
        channel, params = _addressed(command)
        if channel.ReactMessage is None:
            raise ApiError(405, "not_allowed", f"the channel {channel.name!r} takes no messages")
        if _key(channel, params) not in self._subscriptions:
            raise ApiError(409, "not_subscribed", "subscribe first")
        message = _fit(channel.ReactMessage, command.message)
        await in_thread(self._receive, channel, params, message)
        return b'{"result":null}'

    async def close(self) -> None:
        """Leaves every group. The layer forgets who does not."""
        if self._delivering is not None:
            self._delivering.cancel()
        groups = {subscription.group for subscription in self._subscriptions.values()}
        self._subscriptions.clear()
        for group in groups:
            await self._leave(group)

    # Two tasks change groups. 1. One ends a subscription, and begins to discard its group. 2. The other subscribes to
    # the same again, and adds the group. 3. The discarding arrives: a subscription that hears nothing. So both hold a
    # lock, and a group is discarded only if no subscription has it.

    async def _join(self, group: str, tasks: asyncio.TaskGroup) -> None:
        async with self._changing:
            if self._delivering is None:
                self._layer = layer()
                self._mailbox = await self._layer.new_channel()
                self._delivering = tasks.create_task(self._deliver())
            await self._layer.group_add(group, self._mailbox)

    async def _leave(self, group: str) -> None:
        async with self._changing:
            if any(subscription.group == group for subscription in self._subscriptions.values()):
                return
            try:
                await self._layer.group_discard(group, self._mailbox)
            except Exception as error:
                # What still comes finds no subscription.
                logger.warning("a group of the channel layer was not left: %s", error)

    async def _deliver(self) -> None:
        while True:
            try:
                event = await self._layer.receive(self._mailbox)
            except Exception:
                logger.exception("the channel layer is not heard any more")
                raise Closed(FAILED, "channels cannot be reached") from None
            listening = [entry for entry in self._subscriptions.values() if entry.group == event["group"]]
            for subscription in listening:
                if not await self._still(subscription):
                    continue
                # Unsubscribed while the application was asked.
                if self._subscriptions.get(subscription.key) is subscription:
                    await self._say(subscription.event(f'{{"message":{event["body"]}}}'))

    async def _still(self, subscription: Subscription) -> bool:
        """Whether it may be served; else it is ended."""
        now_s = time.monotonic()
        if now_s - subscription.checked_s < self._limits.recheck_s:
            return True
        try:
            group = await in_thread(self._asked_again, subscription)
            if group != subscription.group:
                raise ApiError(403, "forbidden", "not allowed any more")
        except Closed:
            raise
        except Exception as error:
            if self._subscriptions.get(subscription.key) is subscription:
                del self._subscriptions[subscription.key]
                await self._leave(subscription.group)
                await self._say(subscription.event(response_for(self._visitor.bare(), error).content.decode()))
            return False
        subscription.checked_s = now_s
        return True

    # What follows runs in threads, and touches nothing that changes.

    def _admitted(self, command: Command) -> Subscription:
        checked_s = time.monotonic()
        channel, params = _addressed(command)
        here = self._admit(channel, params)
        group = group_name(channel.name, here.group(params))
        return Subscription(channel, params, _key(channel, params), group, checked_s)

    def _asked_again(self, subscription: Subscription) -> str:
        here = self._admit(subscription.channel, subscription.params)
        return group_name(here.name, here.group(subscription.params))

    def _receive(self, channel: type[ReactChannel], params: BaseModel, message: BaseModel) -> None:
        here = self._admit(channel, params)
        with atomic_requests():
            awaited(here.receive(params, message))

    def _admit(self, channel: type[ReactChannel], params: BaseModel) -> ReactChannel:
        request = self._visitor.request()
        if identity(request) != self._owner:
            raise Closed(SOMEBODY_ELSE, "signed out, or somebody else by now")
        here = channel(request.user)
        if awaited(here.authorize(params)):
            return here
        if self._owner is None:
            raise ApiError(401, "unauthenticated", "sign in first")
        raise ApiError(403, "forbidden", "not allowed")


def _addressed(command: Command) -> tuple[type[ReactChannel], BaseModel]:
    channel = registry.default.get(command.name)
    if channel is None:
        raise ApiError(404, "not_found", f"there is no channel {command.name!r}")
    return channel, _fit(channel.Params, command.arguments)


def _key(channel: type[ReactChannel], params: BaseModel) -> Key:
    return channel.name, params.model_dump_json()


def _fit(model: type[BaseModel], values: object) -> BaseModel:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_context=False, include_input=False)
        raise ArgumentsError([{**problem, "loc": list(problem["loc"])} for problem in problems]) from None
