"""What docs/django.md shows: its Python, its channel, and what is said on a WebSocket."""

import ast
import json
import re
from importlib import import_module
from pathlib import Path

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.db import connections
from django.test import Client

from mizan.channels.registry import Channels
from tests.django.channels.sockets import serving, speaking

DOCUMENT = (Path(__file__).parents[2] / "docs" / "django.md").read_text()
SNIPPETS = re.findall(r"^```python\n(.*?)^```", DOCUMENT, re.DOTALL | re.MULTILINE)
CONVERSATION = re.findall(r"^([<>]) (.+)$", DOCUMENT, re.MULTILINE)


@pytest.mark.parametrize("snippet", SNIPPETS, ids=range(len(SNIPPETS)))
def test_every_snippet_is_python_and_takes_from_mizan_what_there_is(snippet: str):
    for node in ast.walk(ast.parse(snippet)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "mizan":
            module = import_module(node.module or "")
            assert [name.name for name in node.names if not hasattr(module, name.name)] == []


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Channels:
    """The channels of the document, in place of the site's."""
    channels = Channels()
    monkeypatch.setattr("mizan.channels.registry.default", channels)
    (snippet,) = [snippet for snippet in SNIPPETS if "ReactChannel" in snippet]
    exec(snippet, {"__name__": "chat.channels"})
    return channels


def test_the_channel_is_one(shown: Channels):
    assert [channel.name for channel in shown] == ["chat_channel"]


async def test_the_conversation_goes_as_it_is_written(shown: Channels, visitor: Client):
    user = await User.objects.acreate(pk=5, username="ann")
    await sync_to_async(visitor.force_login)(user)
    said: list[tuple[str, list[str]]] = []
    for speaker, text in CONVERSATION:
        if speaker == ">":
            said.append((text, []))
        else:
            said[-1][1].append(text)
    async with serving() as address, speaking(address, visitor) as speaking_:
        for text, answers in said:
            heard = [await speaking_.raw(text), *[await speaking_.hear() for _ in answers[1:]]]
            # A channel's message and the answer to who sent it come in any order.
            assert sorted(map(_bytes, heard)) == sorted(_bytes(json.loads(answer)) for answer in answers), text
    assert len(said) == 6
    await sync_to_async(connections.close_all)()


def _bytes(message: object) -> str:
    return json.dumps(message, sort_keys=True)
