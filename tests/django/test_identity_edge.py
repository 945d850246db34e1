"""Tokens before a real edge: who hits what, after a change of rights, a sign-out and a rotation of secrets."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from django.test import override_settings

from demo.browser import Browser
from mizan_core import mwt
from tests.django.behind_edge import Site, behind_edge
from tests.django.requests import BASE
from tests.django.site.settings import MWT_SECRET

SECRETS, COOKIE = f"{BASE}ctx/guarded/", "mizan_mwt"
"""A context for staff alone."""

Run = Callable[..., AbstractContextManager[Site]]


@pytest.fixture
def run(redis_url: str, namespace: str, tmp_path: Path) -> Run:
    return partial(behind_edge, redis_url, namespace, tmp_path)


@pytest.fixture
def staff(ann: Any) -> Any:
    ann.is_staff = True
    ann.save()
    return ann


def signed_in(running: Site, user: Any) -> Browser:
    browser = running.browser()
    browser.get(f"/login/{user.pk}/")
    assert {"sessionid", COOKIE} <= browser.cookies.keys()
    return browser


def hits(browser: Browser, path: str = SECRETS) -> bool:
    return "hit" in browser.get(path).cache_status


def aged(token: str, seconds: int, secret: str = MWT_SECRET) -> str:
    """The same token, made so much earlier."""
    keys = mwt.Keyring.parse(secret)
    identity = mwt.verify(keys, token, now_s=time.time())
    assert identity is not None
    return mwt.mint(keys, sub=identity.sub, pkey=identity.pkey, now_s=int(time.time()) - seconds)


def test_the_session_hits_by_the_token_beside_it(running: Site, staff: Any):
    browser = signed_in(running, staff)
    assert not hits(browser)
    assert hits(browser)
    assert hits(signed_in(running, staff))


class TestRightsAreTakenAway:
    def take_away(self, user: Any) -> None:
        user.is_staff = False
        user.save()

    def test_the_old_partition_is_unreachable_when_the_token_has_expired(self, running: Site, staff: Any):
        browser = signed_in(running, staff)
        browser.get(SECRETS)
        self.take_away(staff)
        assert hits(browser)  # for the rest of the token's life
        browser.cookies[COOKIE] = old = aged(browser.cookies[COOKIE], 301)
        reply = browser.get(SECRETS)
        assert (reply.status, "hit" in reply.cache_status) == (403, False)
        # The answer has brought a token of the new rights, whose partition has nothing of the old one.
        assert browser.cookies[COOKIE] != old
        assert browser.get(SECRETS).status == 403

    def test_a_visit_to_the_origin_ends_it_sooner(self, running: Site, staff: Any):
        browser = signed_in(running, staff)
        browser.get(SECRETS)
        self.take_away(staff)
        browser.get("/")  # not cached, and MizanMiddleware replaces the token
        assert browser.get(SECRETS).status == 403

    def test_at_once_after_signing_out(self, running: Site, staff: Any):
        browser = signed_in(running, staff)
        browser.get(SECRETS)
        session = browser.cookies["sessionid"]
        browser.get("/logout/")
        assert not {"sessionid", COOKIE} & browser.cookies.keys()
        assert browser.get(SECRETS).status == 401
        browser.cookies["sessionid"] = session  # somebody has kept it
        reply = browser.get(SECRETS)
        assert (reply.status, "hit" in reply.cache_status) == (401, False)

    def test_signing_in_again_does_not_lead_back(self, running: Site, staff: Any):
        browser = signed_in(running, staff)
        browser.get(SECRETS)
        browser.get("/logout/")
        self.take_away(staff)
        assert signed_in(running, staff).get(SECRETS).status == 403


def test_an_expired_token_is_replaced_and_hits_again(running: Site, staff: Any):
    browser = signed_in(running, staff)
    browser.get(SECRETS)
    browser.cookies[COOKIE] = old = aged(browser.cookies[COOKIE], 301)
    assert not hits(browser)
    assert browser.cookies[COOKIE] != old
    assert hits(browser)


def test_secrets_rotate_without_a_miss(run: Run, staff: Any):
    old, new = f"old:{MWT_SECRET}", "new:another-secret-of-the-tests-0123456789"
    with run(mwt_secret=f"{new},{old}") as running:
        with override_settings(MIZAN_MWT_SECRET=old):
            browser = signed_in(running, staff)
            browser.get(SECRETS)
        with override_settings(MIZAN_MWT_SECRET=f"{new},{old}"):
            assert hits(browser)
            token = browser.cookies[COOKIE]
            browser.get("/")
            assert browser.cookies[COOKIE] == token  # it is valid, so it stays
            assert hits(signed_in(running, staff))  # the new secret's tokens name the same partition
        with override_settings(MIZAN_MWT_SECRET=new):
            browser.get("/")
            assert browser.cookies[COOKIE] != token  # its secret is gone
            assert hits(browser)
