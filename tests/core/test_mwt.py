"""Which tokens name a user, and that a bad one is nobody's."""

import base64
import json
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mizan_core.keys import SecretError
from mizan_core.mwt import Identity, Keyring, mint, permission_key, verify

OLD, NEW = "an old secret of more than 32 bytes", "a new secret of more than 32 bytes"
RING = Keyring.parse(OLD)
NOW = 1_800_000_000
CLAIMS = {"sub": "5", "pkey": "k", "aud": "mizan", "iat": NOW, "exp": NOW + 300}


def token(
    claims: dict[str, Any] | None = None, *, secret: str = OLD, headers: dict[str, Any] | None = None, **more: Any
) -> str:
    content = {name: value for name, value in (CLAIMS | (claims or {})).items() if value is not ...}
    return jwt.encode(content, secret, headers={"typ": "MWT"} if headers is None else headers, **more)


def by_hand(header: object, payload: object = CLAIMS, signature: str = "") -> str:
    parts = (base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in (header, payload))
    return ".".join([*parts, signature])


def test_a_token_names_the_user_it_was_made_for():
    minted = mint(RING, sub="5", pkey="k_-9", now_s=NOW)
    assert verify(RING, minted, now_s=NOW) == Identity("5", "k_-9", NOW + 300)
    assert jwt.get_unverified_header(minted) == {"alg": "HS256", "typ": "MWT"}
    identity = verify(RING, minted, now_s=NOW)
    assert identity is not None
    assert identity.partition == "user:5:k_-9"


@pytest.mark.parametrize(("seconds", "valid"), [(-1, True), (0, True), (299.9, True), (300, False), (1e9, False)])
def test_a_token_lasts_until_it_expires(seconds: float, valid: bool):
    assert (verify(RING, token(), now_s=NOW + seconds) is not None) is valid


def test_times_may_be_fractions():
    assert verify(RING, token({"exp": NOW + 1.5, "iat": NOW - 0.5}), now_s=NOW + 1.4) == Identity("5", "k", NOW + 1)
    assert verify(RING, token({"exp": NOW + 1.5}), now_s=NOW + 1.5) is None


@pytest.mark.parametrize("claim", CLAIMS)
def test_every_claim_is_required(claim: str):
    assert verify(RING, token({claim: ...}), now_s=NOW) is None
    assert verify(RING, token({claim: None}), now_s=NOW) is None


WRONG: list[dict[str, Any]] = [
    {"aud": "other"},
    {"aud": ""},
    {"aud": ["other"]},
    {"sub": ""},
    {"sub": 5},
    {"sub": "\ud800"},
    {"pkey": ""},
    {"pkey": "a:b"},
    {"pkey": "a\n"},
    {"pkey": "x" * 129},
    {"pkey": 5},
    {"exp": str(NOW + 300)},
    {"exp": True},
    {"exp": float("nan")},
    {"exp": float("inf")},
    {"exp": 10**400},
    {"iat": "now"},
    {"iat": float("-inf")},
    {"nbf": NOW + 1},
    {"nbf": "now"},
]


@pytest.mark.parametrize("claims", WRONG, ids=lambda claims: str(claims)[:50])
def test_a_claim_that_is_not_what_it_must_be_names_nobody(claims: dict[str, Any]):
    assert verify(RING, token(claims), now_s=NOW) is None


def test_another_kind_of_jwt_under_the_same_secret_names_nobody():
    assert verify(RING, token(headers={"typ": "JWT"}), now_s=NOW) is None
    assert verify(RING, token(headers={"typ": "mwt"}), now_s=NOW) is None
    assert verify(RING, token(headers={"typ": None}), now_s=NOW) is None


def test_only_hs256_counts():
    long = "x" * 64
    assert verify(Keyring.parse(long), token(secret=long), now_s=NOW)
    assert verify(Keyring.parse(long), token(secret=long, algorithm="HS512"), now_s=NOW) is None
    assert verify(RING, by_hand({"typ": "MWT", "alg": "none"}), now_s=NOW) is None
    assert verify(RING, by_hand({"typ": "MWT", "alg": "none"}, signature="x"), now_s=NOW) is None


def test_a_changed_token_names_nobody():
    minted = token()
    head, body, signature = minted.split(".")
    for changed in (
        f"{head}.{body}.",
        f"{head}.{body}",
        f"{head}..{signature}",
        minted[:-1],
        minted + ".x",
        minted.upper(),
    ):
        assert verify(RING, changed, now_s=NOW) is None
    other = by_hand({"alg": "HS256", "typ": "MWT"}, CLAIMS | {"sub": "6"}, signature)
    assert verify(RING, other, now_s=NOW) is None


DEEP = base64.urlsafe_b64encode(b'{"typ":' + b"[" * 100_000).decode().rstrip("=")
STRANGE = ["", ".", "..", "a.b.c", "\udcff.a.b", "é.é.é", "\0", f"{DEEP}.e30.x"]
ODD: list[Any] = [["HS256"], {}, 5, None, "hs256"]
STRANGE += [by_hand({"typ": "MWT", "alg": alg}) for alg in ODD]
STRANGE += [by_hand({"typ": "MWT", "alg": "HS256", "kid": kid}) for kid in ODD]
STRANGE += [by_hand(header) for header in ODD]
STRANGE += [by_hand({"typ": "MWT", "alg": "HS256", "crit": ["b64"], "b64": False})]


@pytest.mark.parametrize("strange", STRANGE, ids=lambda text: repr(text[:30]))
def test_no_text_raises(strange: str):
    assert verify(RING, strange, now_s=NOW) is None


@given(st.text(st.characters(), max_size=60), st.integers(0, 200), st.integers(0, 5))
def test_no_mangled_token_raises_or_names_anybody_else(inserted: str, position: int, drop: int):
    mangled = token()[:position] + inserted + token()[position + drop :]
    assert verify(RING, mangled, now_s=NOW) in (None, Identity("5", "k", NOW + 300))


def test_while_secrets_rotate_both_verify_and_the_first_signs():
    before = Keyring.parse(f"old:{OLD}")
    both = Keyring.parse(f"new:{NEW}, old:{OLD}")
    after = Keyring.parse(f"new:{NEW}")
    early, late = (mint(ring, sub="5", pkey="k", now_s=NOW) for ring in (before, both))
    assert jwt.get_unverified_header(late)["kid"] == "new"
    assert verify(both, early, now_s=NOW)
    assert verify(both, late, now_s=NOW)
    assert verify(after, late, now_s=NOW)
    assert not verify(after, early, now_s=NOW)
    assert not verify(before, late, now_s=NOW)


def test_tokens_from_before_secrets_had_names_still_verify():
    assert verify(Keyring.parse(f"new:{NEW},old:{OLD}"), token(), now_s=NOW)


def test_a_kid_must_name_the_secret_that_signed():
    ring = Keyring.parse(f"new:{NEW},old:{OLD}")
    assert verify(ring, token(headers={"typ": "MWT", "kid": "old"}), now_s=NOW)
    assert not verify(ring, token(headers={"typ": "MWT", "kid": "new"}), now_s=NOW)
    assert not verify(ring, token(headers={"typ": "MWT", "kid": "other"}), now_s=NOW)


@pytest.mark.parametrize("text", ["", "short", "x" * 31, f"new:{NEW},old:short", "new:" + "x" * 31, "é" * 15])
def test_a_secret_under_32_bytes_is_refused_and_not_shown(text: str):
    with pytest.raises(
        SecretError, match=r"^MIZAN_MWT_SECRET( \(\w+\))? has \d+ bytes and needs at least 32"
    ) as caught:
        Keyring.parse(text)
    assert "short" not in str(caught.value)


def test_a_keyring_does_not_show_its_secrets():
    assert OLD not in repr(RING)


RIGHTS: dict[str, Any] = {
    "active": True,
    "staff": False,
    "superuser": False,
    "groups": ["editors", "authors"],
    "permissions": ["shop.add_product"],
    "session_hash": "abc",
}
MOVES: list[dict[str, Any]] = [
    {"active": False},
    {"staff": True},
    {"superuser": True},
    {"groups": ["editors"]},
    {"groups": ["editors", "authors", "x"]},
    {"permissions": []},
    {"groups": [], "permissions": ["editors", "authors", "shop.add_product"]},
    {"session_hash": "abd"},
]


def test_any_change_of_rights_moves_a_user_to_a_new_partition():
    keys = [permission_key(**RIGHTS | move) for move in ({}, *MOVES)]
    assert len(set(keys)) == len(keys)
    minted = mint(RING, sub="5", pkey=keys[0], now_s=NOW)
    assert verify(RING, minted, now_s=NOW) == Identity("5", keys[0], NOW + 300)


def test_the_order_in_which_rights_are_listed_is_nothing():
    assert permission_key(**RIGHTS | {"groups": iter(["authors", "editors"])}) == permission_key(**RIGHTS)
