"""What a channel declares, and where the site's sockets are."""

import sys
from typing import Any

import pytest
from aiohttp import ClientSession, WSServerHandshakeError
from django.core.asgi import get_asgi_application
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings
from openapi_spec_validator import validate
from pydantic import BaseModel

from mizan import wrap_asgi
from mizan.channels import ReactChannel
from mizan.channels.checks import check_channels
from mizan.channels.registry import Channels, default, describe_channels
from mizan.checks.declarations import check_declarations
from mizan.declare.schema import openapi
from mizan_core.problems import DeclarationsError
from mizan_core.registry import Registry, RegistryError
from mizan_core.registry import default as functions
from tests.django.channels.sockets import HOST, serving, speaking
from tests.django.site import rooms


class Everybody:
    """What channels may have in common."""

    def authorize(self, params: Any) -> bool:
        return True

    def group(self, params: Any) -> str:
        return "all"


class Plain:
    """Nothing in common."""


class Message(BaseModel):
    text: str


def declare(class_name: str, /, *bases: type, **body: Any) -> type[ReactChannel]:
    return type(class_name, (*(bases or (Everybody,)), ReactChannel), {"__module__": __name__, **body})


def test_the_declared_are_known_by_name_with_their_models():
    assert default.get("room_channel") is rooms.RoomChannel
    assert default.get("news") is rooms.Notices
    names = [channel.name for channel in default]
    assert names == sorted(names) and {"news", "room_channel"} <= set(names)
    room, news = rooms.RoomChannel, rooms.Notices
    assert list(room.Params.model_fields) == ["room", "floor"] and list(news.Params.model_fields) == []
    assert room.ReactMessage is not None and news.ReactMessage is None


@pytest.mark.parametrize(
    ("class_name", "name"),
    [("ABTestRoom2", "ab_test_room2"), ("HTTPLog", "http_log"), ("lower", "lower")],
)
def test_the_name_is_that_of_the_class_in_snake_case(class_name: str, name: str):
    assert declare(class_name).name == name
    assert default.get(name) is not None


@pytest.mark.parametrize(
    ("bases", "body", "said"),
    [
        ((), {"name": "not a name"}, "'not a name'"),
        ((), {"Params": dict}, "Params is a pydantic model"),
        ((), {"Params": None}, "Params is a pydantic model"),
        ((), {"DjangoMessage": "text"}, "DjangoMessage is a pydantic model"),
        ((), {"ReactMessage": Message}, "what becomes of a ReactMessage"),
        ((), {"receive": lambda self, params, message: None}, "declare `class ReactMessage"),
        ((Plain,), {"authorize": Everybody.authorize}, "who hears a message"),
        ((Plain,), {"group": Everybody.group}, "who may listen"),
    ],
)
def test_what_cannot_be_meant_is_said_where_it_is_declared(bases: tuple[type, ...], body: dict[str, Any], said: str):
    with pytest.raises(RegistryError, match=said):
        declare("Bad", *bases, **body)


@pytest.fixture
def channels(monkeypatch: pytest.MonkeyPatch) -> Channels:
    """No channels, in place of the site's."""
    empty = Channels()
    monkeypatch.setattr("mizan.channels.registry.default", empty)
    return empty


def test_two_of_one_name_are_found_by_the_checks_and_refused_at_the_start(channels: Channels):
    first = declare("First", name="news")
    declare("Second", name="news")
    said = f"two channels are called 'news', {__name__}.First and {__name__}.Second"
    (error,) = [problem for problem in check_declarations(None) if problem.id == "mizan.E001"]
    assert (error.msg, error.hint) == (said, 'Rename one, or give it `name = "another_name"`.')
    assert channels.get("news") is first
    with pytest.raises(ImproperlyConfigured, match=said):
        wrap_asgi(get_asgi_application())
    with pytest.raises(DeclarationsError, match=said):
        describe_channels(channels)


def test_a_module_that_is_loaded_again_defines_its_channel_anew(channels: Channels):
    declare("Tea")
    again = declare("Tea")
    assert list(channels) == [again]
    assert channels.problems() == []


def test_a_channel_that_only_hears_sends_nothing():
    with pytest.raises(TypeError, match="declare its DjangoMessage"):
        declare("OnlyHears", ReactMessage=None).send({"text": "x"})


async def test_the_sockets_are_where_the_site_says_and_pages_are_django_s():
    application = wrap_asgi(get_asgi_application(), prefixes=["/api/mizan/", "other"])
    async with serving(application) as address:
        for path in "/api/mizan/ws/", "/other/ws/":
            async with speaking(address, path=path) as speaker:
                assert await speaker.code(call="nothing") == "not_found"
        for path in "/", "/api/mizan/ws", "/ws/":
            with pytest.raises(WSServerHandshakeError) as refused:
                async with speaking(address, path=path):
                    pass
            assert refused.value.status == 403
        async with ClientSession() as session, session.get(f"http://{address}/", headers={"Host": HOST}) as page:
            assert await page.text() == "home"


async def test_a_prefix_without_the_endpoints_is_an_answer_that_says_so():
    async with (
        serving(wrap_asgi(get_asgi_application(), prefixes="/other/")) as address,
        speaking(address, path="/other/ws/") as speaker,
    ):
        answer = await speaker.ask(call="whisper", args={"text": "x"})
        assert answer["error"]["code"] == "refused" and "404" in answer["error"]["message"]


async def test_the_sockets_of_another_application_stay_its_own():
    async def application(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": scope["path"]})
        await send({"type": "websocket.close"})

    async with serving(wrap_asgi(application)) as address, speaking(address, path="/chat/") as speaker:
        assert await speaker.ws.receive_str() == "/chat/"


class TestWithoutTheExtra:
    @pytest.fixture(autouse=True)
    def missing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for module in "channels", "channels.layers":
            monkeypatch.setitem(sys.modules, module, None)

    def test_a_site_that_uses_it_says_so_at_its_start(self):
        with pytest.raises(ImproperlyConfigured, match=r'pip install "mizan-edge\[channels\]"'):
            wrap_asgi(get_asgi_application())
        with pytest.raises(ImproperlyConfigured, match="channels"):
            rooms.RoomChannel.send({"text": "x", "user": "site"}, {"room": "tea"})
        assert "mizan.E020" in [problem.id for problem in check_channels(None)]

    async def test_a_site_that_does_not_needs_none(self, channels: Channels, registry: Registry):
        assert check_channels(None) == []
        async with serving() as address:
            async with ClientSession() as session, session.get(f"http://{address}/", headers={"Host": HOST}) as page:
                assert await page.text() == "home"
            with pytest.raises(WSServerHandshakeError):
                async with speaking(address):
                    pass


def test_what_is_missing_is_found_by_the_checks():
    with override_settings(CHANNEL_LAYERS={}):
        assert [problem.id for problem in check_channels(None)] == ["mizan.E021", "mizan.W020"]
    with override_settings(MIZAN_CACHE_REDIS_URL="redis://127.0.0.1:1"):
        assert check_channels(None) == []


def test_the_schema_of_the_site_describes_its_channels():
    document = openapi(functions, sections={"channels": describe_channels(default)})
    channels = {channel["name"]: channel for channel in document["x-mizan-channels"]}
    assert channels.keys() == {channel.name for channel in default}
    for channel in default:
        said = channels[channel.name]
        assert said["params"]["properties"].keys() == channel.Params.model_fields.keys()
        assert (said["django_message"] is None) == (channel.DjangoMessage is None)
        assert (said["react_message"] is None) == (channel.ReactMessage is None)
    validate(document)
