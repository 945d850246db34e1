"""What an application declares of a channel."""

import re
from typing import Any

from asgiref.sync import sync_to_async
from pydantic import BaseModel

from mizan.channels import registry
from mizan.channels.groups import group_name, publish
from mizan_core.registry import RegistryError
from mizan_core.scopes import ScopeError, check_name


class NoParams(BaseModel, extra="forbid"):
    """Of a channel that declares no Params."""


class ReactChannel:
    """A channel; a subclass is registered under its class's name in snake case, or under its `name`.

    An instance answers for one user and for as long as one question takes. All its methods run in a thread where the
    ORM may be used; `authorize` and `receive` may be `async`.
    """

    name: str
    Params: type[BaseModel] = NoParams
    """What tells one room from another."""
    DjangoMessage: type[BaseModel] | None = None
    """What the server sends."""
    ReactMessage: type[BaseModel] | None = None
    """What clients send; `receive` gets it."""

    def __init__(self, user: Any = None) -> None:
        self._user = user

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.name = cls.__dict__.get("name") or _snake(cls.__name__)
        _check(cls)
        registry.default.add(cls)

    @property
    def user(self) -> Any:
        """Who is asking: a user or an AnonymousUser; in `group` of a `send()`, its `for_user`."""
        if self._user is None:
            raise ValueError(
                f"{type(self).__name__}.group() looks at the user: say to whom, {type(self).__name__}.send(message, "
                "params, for_user=user)"
            )
        return self._user

    def authorize(self, params: Any) -> Any:
        """Whether the user may listen, and send. Asked at the subscription, for every message of a client, and again
        before messages go out to one who was admitted some seconds ago."""
        raise NotImplementedError

    def group(self, params: Any) -> str:
        """Who hears a message: all subscriptions of this channel with the same text here."""
        raise NotImplementedError

    def receive(self, params: Any, message: Any) -> Any:
        """Called with each ReactMessage of a subscribed client that `authorize` admits. What it returns is not used."""
        raise NotImplementedError

    @classmethod
    def send(cls, message: BaseModel | dict[str, Any], params: Any = None, *, for_user: Any = None) -> None:
        """Sends a DjangoMessage to whoever listens with such params, from anywhere; inside a transaction after its
        commit.

        Both are models, or dicts of their values. `for_user` is whom `group` sees as `self.user`. A message reaches who
        listens now; nothing keeps it for later. Raises pydantic's ValidationError (a ValueError) for values that do not
        fit, ImproperlyConfigured without a channel layer, and what the layer raises; after a commit that is logged.
        """
        if cls.DjangoMessage is None:
            raise TypeError(f"{cls.__name__} has nothing to send: declare its DjangoMessage")
        body = cls.DjangoMessage.model_validate(message).model_dump_json()
        bound = cls.Params.model_validate({} if params is None else params)
        publish(group_name(cls.name, cls(for_user).group(bound)), body)

    @classmethod
    async def asend(cls, message: BaseModel | dict[str, Any], params: Any = None, *, for_user: Any = None) -> None:
        """`send` for async code."""
        await sync_to_async(cls.send)(message, params, for_user=for_user)


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def _check(channel: type[ReactChannel]) -> None:
    where = f"the channel {channel.__name__}"
    try:
        check_name(channel.name)
    except ScopeError as error:
        raise RegistryError(f"{where}: {error}") from None
    for model in ("Params", "DjangoMessage", "ReactMessage"):
        declared = getattr(channel, model)
        if not (_is_model(declared) or (declared is None and model != "Params")):
            raise RegistryError(f"{where}: {model} is a pydantic model, `class {model}(BaseModel)`, not {declared!r}")
    for method, why in (("authorize", "who may listen"), ("group", "who hears a message")):
        if getattr(channel, method) is getattr(ReactChannel, method):
            raise RegistryError(f"{where}: say {why}, `def {method}(self, params)`")
    hears = channel.receive is not ReactChannel.receive
    if channel.ReactMessage is not None and not hears:
        raise RegistryError(f"{where}: say what becomes of a ReactMessage, `def receive(self, params, message)`")
    if channel.ReactMessage is None and hears:
        raise RegistryError(f"{where}: receive() gets a ReactMessage: declare `class ReactMessage(BaseModel)`")


def _is_model(declared: object) -> bool:
    return isinstance(declared, type) and issubclass(declared, BaseModel)
