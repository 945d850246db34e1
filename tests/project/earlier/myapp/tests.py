"""Run by `manage.py test`."""

from typing import Any

from django.test import SimpleTestCase

BASE = "/api/mizan/"


class SpellingTests(SimpleTestCase):
    def call(self, fn: str, headers: dict[str, str] | None = None, **args: Any) -> Any:
        sent = {"fn": fn, "args": args}
        return self.client.post(f"{BASE}call/", sent, content_type="application/json", headers=headers)

    def test_a_registered_function_is_called(self):
        self.assertEqual(self.call("echo", text="hi").json(), {"result": {"message": "hi"}})

    def test_auth(self):
        for fn in "members_only", "staff_only", "superusers_only", "with_ticket":
            self.assertEqual(self.call(fn).status_code, 401)
        self.assertEqual(self.call("with_ticket", headers={"Ticket": "1"}).json(), {"result": "welcome"})

    def test_contexts(self):
        self.assertEqual(self.client.get(f"{BASE}ctx/global/").json(), {"current_user": None})
        greeted = self.client.get(f"{BASE}ctx/greet/", {"name": "ann"})
        self.assertEqual(greeted.json(), {"greet": {"message": "hello ann"}})

    def test_a_form(self):
        fields = self.call("contact.schema").json()["result"]["fields"]
        self.assertEqual([field["name"] for field in fields], ["name", "email"])
        wrong = self.call("contact.validate", data={"name": "Ann", "email": "no address"}).json()["result"]
        self.assertEqual((wrong["valid"], list(wrong["errors"])), (False, ["email"]))
        sent = self.call("contact.submit", data={"name": "Ann", "email": "ann@example.org"}).json()["result"]
        self.assertEqual(sent, {"valid": True, "errors": {}, "data": {"sent": True}})
