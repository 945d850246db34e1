"""The shop behind the edge: who may do what, and that nothing old is seen after a change."""

from collections.abc import Iterator

import pytest

from demo.browser import Browser, Reply
from demo.shop.stock import PASSWORD
from demo.story import CALL, LOGIN, SESSION
from tests.demo.running import Running, staying_up

PRODUCT, LIST = "/api/mizan/ctx/product/?product_id=3", "/api/mizan/ctx/catalog/?category=books"
PAGES = ("/product/3/", "/catalog/books/")


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with staying_up(tmp_path_factory.mktemp("demo")) as running:
        yield running


def signed_in(demo: Running, number: int) -> Browser:
    browser = demo.browser()
    browser.get(LOGIN)
    assert browser.post_form(LOGIN, {"username": f"user{number}", "password": PASSWORD}).status == 302
    assert browser.get(SESSION).status == 200
    return browser


def call(browser: Browser, function: str, **arguments: object) -> Reply:
    return browser.post_json(CALL, {"fn": function, "args": arguments})


def test_a_price_is_new_everywhere_at_once(demo: Running):
    visitor, staff = demo.browser(), signed_in(demo, 1)
    for path in (PRODUCT, LIST, *PAGES):
        visitor.get(path)
        assert "hit" in visitor.get(path).cache_status
    changed = call(staff, "set_price", product_id=3, price_cents=123_45)
    assert changed.json["invalidate"] == ["catalog", "product;product_id=3"]
    assert visitor.get(PRODUCT).json["product"]["price_cents"] == 123_45
    assert 123_45 in [item["price_cents"] for item in visitor.get(LIST).json["product_list"]["items"]]
    for page in PAGES:
        assert "123.45" in visitor.get(page).text


def test_a_price_leaves_other_products_alone(demo: Running):
    visitor, other = demo.browser(), "/product/4/"
    visitor.get(other)
    assert call(signed_in(demo, 1), "set_price", product_id=3, price_cents=900).status == 200
    assert "hit" in visitor.get(other).cache_status


def test_staff_alone_set_prices(demo: Running):
    assert call(demo.browser(), "set_price", product_id=3, price_cents=1).status in (401, 403)
    assert call(signed_in(demo, 7), "set_price", product_id=3, price_cents=1).status == 403


def test_customers_rename_nobody_but_themselves_and_staff_rename_anybody(demo: Running):
    assert call(signed_in(demo, 7), "rename_user", user_id=8, name="Mallory").status == 403
    assert "Mallory" not in demo.browser().get("/profile/8/").text
    assert call(signed_in(demo, 1), "rename_user", user_id=8, name="Trent").status == 200
    assert "Trent" in demo.browser().get("/profile/8/").text


def test_a_name_must_be_one(demo: Running):
    assert call(signed_in(demo, 7), "rename_user", user_id=7, name="   ").status == 422


def test_an_unknown_customer_is_not_found(demo: Running):
    assert demo.browser().get("/profile/4711/").status == 404
    assert demo.browser().get("/api/mizan/ctx/user/?user_id=4711").status == 404


def test_a_page_names_only_its_own_viewer(demo: Running):
    customer, page = signed_in(demo, 9), "/profile/9/"
    assert "user9" in customer.get(page).text
    assert "hit" in customer.get(page).cache_status
    assert "user9" not in demo.browser().get(page).text
    assert "user9" not in signed_in(demo, 10).get(page).text


def test_signing_out_ends_in_the_visitors_partition(demo: Running):
    customer, page = signed_in(demo, 11), "/profile/11/"
    assert "Orders" in customer.get(page).text
    assert customer.post_form("/accounts/logout/", {}).status == 302
    assert "mizan_mwt" not in customer.cookies
    assert "Orders" not in customer.get(page).text
