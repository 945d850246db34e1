"""The product's story, told over HTTP through the edge. A line is printed once it has proven true."""

import re
from collections.abc import Callable

from demo.browser import Browser, Reply
from demo.shop.stock import PASSWORD

CUSTOMER, OTHER = 5, 6
NAMES = ("Ada Lovelace", "Grace Hopper")
CATALOG = "/catalog/books/"
LOGIN, SESSION, CALL = "/accounts/login/", "/api/mizan/session/", "/api/mizan/call/"

# The story's word for what `Cache-Status` says (RFC 9211).
OUTCOMES = {
    "miss": r"mizan-edge; fwd=uri-miss; stored",
    "hit": r"mizan-edge; hit; ttl=\d+",
    "passed on": r"mizan-edge; fwd=(method|bypass)\b.*",
}


class Untrue(Exception):
    """Something that the story claims did not happen; the text says what and where."""


def bundle(user_id: int) -> str:
    return f"/api/mizan/ctx/user/?user_id={user_id}"


def page(user_id: int) -> str:
    return f"/profile/{user_id}/"


class Story:
    """Tells with `say`, one line a step, to `shop` (the edge) and `admin` (its admin listener), both (host, port)."""

    def __init__(self, shop: tuple[str, int], admin: tuple[str, int], token: str, say: Callable[[str], None]) -> None:
        self._visitor, self._customer = Browser(*shop), Browser(*shop)
        self._admin, self._token = Browser(*admin), token
        self._say, self._steps = say, 0

    def tell(self) -> None:
        """The whole story. Raises Untrue, and NoAnswer where a server does not answer."""
        old = self._reads_are_kept()
        self._a_customer_signs_in(old)
        new = next(name for name in NAMES if name != old)
        self._a_mutation_purges_what_it_changes(old, new)
        self._an_operator_purges()

    def _reads_are_kept(self) -> str:
        visitor = self._visitor
        first = visitor.get(bundle(CUSTOMER))
        self._step(f"A visitor reads customer {CUSTOMER}; Django answers, the edge keeps it", first, "miss")
        name = str(_field(first, "profile", "name"))
        again = visitor.get(bundle(CUSTOMER))
        self._step(f"Read again: still {name}, and Django was not asked", again, "hit", same_as=first)
        html = visitor.get(page(CUSTOMER))
        self._step("The customer's HTML page depends on the same context", html, "miss", shows=name)
        self._step("It is kept as well", visitor.get(page(CUSTOMER)), "hit", same_as=html)
        self._step(f"Customer {OTHER} is an entry of its own", visitor.get(bundle(OTHER)), "miss")
        self._step("Kept as well", visitor.get(bundle(OTHER)), "hit")
        self._step("A category of products, the same page for everybody", visitor.get(CATALOG), "miss")
        return name

    def _a_customer_signs_in(self, name: str) -> None:
        customer = self._customer
        self._step("Somebody opens the sign-in page, which nobody declared", customer.get(LOGIN), "passed on")
        form = {"username": f"user{CUSTOMER}", "password": PASSWORD}
        # The form's own hidden field is the same token; the header that the browser adds is enough for Django.
        self._step(f"Signs in as customer {CUSTOMER}", customer.post_form(LOGIN, form), "passed on", status=302)
        session = customer.get(SESSION)
        self._step("Gets a CSRF token and a Mizan Web Token", session, "passed on")
        self._claim("mizan_mwt" in customer.cookies, session, "the session endpoint set no cookie mizan_mwt")
        own = customer.get(bundle(CUSTOMER))
        self._step("What customers see of themselves is theirs alone: their orders", own, "miss", shows=name)
        orders = _field(own, "order_history", "orders")
        self._claim(bool(orders), own, "the customer's own orders are missing")
        self._step("It is kept for this customer", customer.get(bundle(CUSTOMER)), "hit", same_as=own)
        others = self._visitor.get(bundle(CUSTOMER))
        self._step("Visitors still get theirs, without the orders", others, "hit")
        self._claim(not _field(others, "order_history", "orders"), others, "a visitor sees the orders")

    def _a_mutation_purges_what_it_changes(self, old: str, new: str) -> None:
        visitor, customer = self._visitor, self._customer
        rename = customer.post_json(CALL, {"fn": "rename_user", "args": {"user_id": CUSTOMER, "name": new}})
        self._step(f"The customer is renamed from {old} to {new}", rename, "passed on")
        scopes = _field(rename, "invalidate")
        self._claim(scopes == [f"user;user_id={CUSTOMER}"], rename, f"it invalidates {scopes!r}")
        everywhere = [
            ("The customer reads on: the new name, fetched anew", customer, bundle(CUSTOMER)),
            ("The visitor's copy was purged too", visitor, bundle(CUSTOMER)),
            ("So was the HTML page", visitor, page(CUSTOMER)),
        ]
        for prose, browser, path in everywhere:
            self._step(prose, browser.get(path), "miss", shows=new, hides=old)
        self._step("And from here on it is a hit again", visitor.get(page(CUSTOMER)), "hit", shows=new)
        self._step(f"Customer {OTHER} was left alone", visitor.get(bundle(OTHER)), "hit")
        self._step("So was the catalog, and customers share it with visitors", customer.get(CATALOG), "hit")

    def _an_operator_purges(self) -> None:
        scope = f"user;user_id={OTHER}"
        purge = self._admin.post_json("/purge", {"scopes": [scope]}, Authorization=f"Bearer {self._token}")
        self._claim(purge.status == 200, purge, f"the answer was {purge.status}: {purge.text}")
        entries = _field(purge, "entries")
        self._claim(entries == 1, purge, f"it purged {entries!r} entries instead of one")
        self._tell(f"An operator purges {scope} at the admin listener", f"{entries} entry purged")
        self._step(f"Customer {OTHER} is fetched anew", self._visitor.get(bundle(OTHER)), "miss")

    def _step(
        self,
        prose: str,
        reply: Reply,
        outcome: str,
        *,
        status: int = 200,
        shows: str = "",
        hides: str | None = None,
        same_as: Reply | None = None,
    ) -> None:
        """Tells `prose` if the reply is what it says: its outcome, status, and the names in its body."""
        self._claim(reply.status == status, reply, f"the answer was {reply.status}, not {status}")
        # The body comes first: an old name is the worse news.
        self._claim(hides is None or hides not in reply.text, reply, f"the answer still says {hides!r}")
        self._claim(shows in reply.text, reply, f"the answer does not say {shows!r}")
        self._claim(same_as is None or same_as.text == reply.text, reply, "the answer changed")
        said = reply.cache_status or "nothing"
        self._claim(
            re.fullmatch(OUTCOMES[outcome], said) is not None,
            reply,
            f"expected a {outcome!r}, and Cache-Status says {said}",
        )
        self._tell(prose, said)

    def _claim(self, true: bool, reply: Reply, otherwise: str) -> None:
        if not true:
            raise Untrue(f"step {self._steps + 1}, {reply.request}: {otherwise}")

    def _tell(self, prose: str, said: str) -> None:
        self._steps += 1
        self._say(f"{self._steps:>3}. {prose + ' ':.<74} {said}")


def _field(reply: Reply, *names: str) -> object:
    """The value at `names` in a JSON body; None where there is none."""
    value: object = reply.json
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value
