"""Server functions as classes, sync and async; contexts of one function; the context of the whole site."""

from typing import Any

import pytest
from django.db import connections
from django.test import AsyncClient, Client, RequestFactory

from mizan.client import ServerFunction, client
from mizan.server_function import as_function
from mizan_core.registry import Registry, RegistryError, default, place_text, spec_of
from tests.django.requests import BASE, bundle, call, error_code
from tests.django.site import classes
from tests.django.site.models import Note


class TestClasses:
    def test_it_is_called_with_its_request_and_its_user(self, visitor: Client, ann: Any):
        assert call(visitor, "greet", name="Bob").json()["result"] == {"text": "Hello, Bob", "by": ""}
        visitor.force_login(ann)
        assert call(visitor, "greet", name="Bob").json()["result"] == {"text": "Hello, Bob", "by": "ann"}

    def test_its_arguments_are_checked_like_a_functions(self, visitor: Client):
        response = call(visitor, "greet", nam="Bob")
        assert (response.status_code, error_code(response)) == (422, "invalid_arguments")

    def test_a_subclass_has_a_declaration_of_its_own_or_none(self, visitor: Client):
        greet, later = spec_of(classes.Greet), spec_of(classes.GreetLater)
        assert greet is not None and later is not None
        assert (greet.name, greet.context, greet.auth) == ("greet", None, None)
        assert (later.name, later.context, later.auth) == ("GreetLater", "greetings", True)
        assert spec_of(classes.Undeclared) is None
        assert default.get("Undeclared") is None
        assert call(visitor, "GreetLater", name="Bob").status_code == 401
        assert call(visitor, "Undeclared", name="Bob").status_code == 404

    def test_code_calls_it_as_the_class_that_it_is(self, ann: Any):
        request = RequestFactory().get("/")
        request.user = ann
        assert classes.Greet(request).call("Bob") == classes.Greeting(text="Hello, Bob", by="ann")

    def test_a_page_is_written_as_a_class_too(self, visitor: Client):
        response = visitor.get("/class/7/", {"unit": "kg"})
        assert response.content == b"number 7kg for /class/7/"
        assert response.headers["X-Mizan-Scope"] == 'numbers;number=7;unit="kg"'
        assert visitor.get("/class/seven/").status_code == 404

    @pytest.mark.parametrize(
        ("cls", "said"),
        [
            (type("Plain", (), {}), "'Plain': a class that is a server function is a subclass of ServerFunction"),
            (type("Silent", (ServerFunction,), {}), "'Silent': the class has no method `call"),
        ],
    )
    def test_a_class_that_cannot_be_called_is_refused(self, cls: type, said: str):
        with pytest.raises(RegistryError, match=said):
            client(cls)

    def test_two_classes_that_share_a_method_and_a_name_are_two(self):
        class Base(ServerFunction):
            def call(self) -> None: ...

        here = type("Same", (Base,), {"__module__": "here"})
        there = type("Same", (Base,), {"__module__": "there"})
        registry = Registry()
        for cls in (here, there, here):
            registry.client(as_function(cls))
        assert [place_text(spec.fn) for spec in registry.duplicates()["Same"]] == ["here.Same", "there.Same"]


class TestAsync:
    def test_an_async_mutation_runs_in_the_requests_transaction_under_wsgi(self, visitor: Client, monkeypatch: Any):
        monkeypatch.setitem(connections.settings["default"], "ATOMIC_REQUESTS", True)
        visitor.raise_request_exception = False
        assert call(visitor, "AddNote", owner=7, text="first").json()["result"] is True
        assert call(visitor, "AddNote", owner=7, text="too much").status_code == 500
        assert [note.text for note in Note.objects.all()] == ["first"]

    async def test_and_under_asgi(self, browser: AsyncClient, monkeypatch: Any):
        monkeypatch.setitem(connections.settings["default"], "ATOMIC_REQUESTS", True)
        browser.raise_request_exception = False

        async def add(text: str) -> Any:
            body = {"fn": "AddNote", "args": {"owner": 7, "text": text}}
            return await browser.post(f"{BASE}call/", body, content_type="application/json")

        assert (await add("first")).json()["result"] is True
        assert (await add("too much")).status_code == 500
        assert [note.text async for note in Note.objects.all()] == ["first"]

    async def test_an_async_class_answers_under_asgi_with_the_user_of_the_request(self, browser: AsyncClient, ann: Any):
        await browser.aforce_login(ann)
        response = await browser.get(f"{BASE}ctx/greetings/", {"name": "Bob"})
        assert response.json() == {"GreetLater": {"text": "Good evening, Bob", "by": "ann"}}


class TestContexts:
    def test_a_local_context_is_of_one_function_and_is_fetched_with_its_parameters(self, visitor: Client):
        Note.objects.create(owner=7, text="a note")
        assert bundle(visitor, "note_count", {"owner": 7}).json() == {"note_count": 1}
        assert bundle(visitor, "note_count").status_code == 422
        assert bundle(visitor, "local").status_code == 404

    def test_registered_under_another_name_its_context_has_that_name(self, visitor: Client):
        assert bundle(visitor, "latest", {"owner": 7}).json() == {"latest": None}
        assert bundle(visitor, "Latest", {"owner": 7}).status_code == 404

    def test_a_mutation_names_functions_and_classes_by_themselves(self, visitor: Client):
        response = call(visitor, "AddNote", owner=7, text="first")
        assert response.headers["X-Mizan-Invalidate"] == "latest;owner=7, note_count;owner=7"
        assert bundle(visitor, "note_count", {"owner": 7}).json() == {"note_count": 1}

    def test_the_global_context_takes_no_parameters(self, visitor: Client, ann: Any):
        visitor.force_login(ann)
        response = bundle(visitor, "global")
        assert (response.json(), response.headers["X-Mizan-Scope"]) == ({"current_user": "ann"}, "global")
        assert call(visitor, "rename_current", name="A").headers["X-Mizan-Invalidate"] == "global"
