"""Functions with `route=`: mounted by themselves, or by hand."""

from typing import Any

import pytest
from django.test import AsyncClient, Client, RequestFactory, override_settings
from django.urls import include, path, resolve, reverse

from mizan.http.mount import mount_routes
from tests.django.requests import BASE, error_code
from tests.django.site import clients
from tests.django.site.views import home


def test_a_route_answers_without_an_entry_in_the_urlconf(visitor: Client):
    response = visitor.get("/number/7/")
    assert (response.status_code, response.content) == (200, b"number 7")
    assert response.headers["X-Mizan-Scope"] == "numbers;number=7"


def test_the_sites_own_pattern_wins(visitor: Client):
    assert visitor.get("/taken/").content == b"the site's own"


def test_a_route_has_its_functions_name(visitor: Client):
    visitor.get("/")
    assert reverse("by_hand", args=[7]) == "/number/7/"
    assert resolve("/number/7/").func is clients.by_hand


def test_by_hand_it_is_the_same_view_with_headers_and_all(visitor: Client):
    for url in ("/by-hand/7/", "/by-group/7/"):
        response = visitor.get(url)
        assert response.content == b"number 7"
        assert response.headers["X-Mizan-Scope"] == "numbers;number=7"
        assert response.headers["X-Mizan-Partition"] == "anon"


def test_it_is_called_like_the_function_that_it_was():
    request = RequestFactory().get("/")
    assert clients.by_hand(request, 7).content == b"number 7"
    assert clients.by_hand(request, number=7).content == b"number 7"
    assert (clients.by_hand.__name__, clients.by_hand.__doc__) == ("by_hand", "A page.")


def test_an_async_page_answers_under_wsgi(visitor: Client):
    assert visitor.get("/later/x/").content == b"later x"


async def test_pages_and_endpoints_answer_under_asgi(browser: AsyncClient):
    assert (await browser.get("/later/x/")).content == b"later x"
    page = await browser.get("/number/7/")
    assert (page.content, page.headers["X-Mizan-Scope"]) == (b"number 7", "numbers;number=7")
    assert (await browser.get(f"{BASE}ctx/catalog/", {"category": "tea"})).json() == {"products": ["tea", "page None"]}
    call = {"fn": "echo_later", "args": {"text": "x"}}
    response = await browser.post(f"{BASE}call/", call, content_type="application/json")
    assert response.json() == {"result": "later: x"}


def test_a_query_parameter_is_an_argument(visitor: Client, ann: Any):
    assert visitor.get(f"/profile/{ann.pk}/", {"tab": "notes"}).content == b"Ann notes"


def test_the_path_outweighs_a_query_parameter_of_the_same_name(visitor: Client):
    assert visitor.get("/number/7/?number=8").content == b"number 7"


def test_a_query_that_does_not_fit_is_422(visitor: Client):
    response = visitor.get("/failing/", {"status": "fine"})
    assert (response.status_code, error_code(response)) == (422, "invalid_arguments")


def test_a_path_that_does_not_fit_is_404(visitor: Client):
    assert visitor.get("/number/seven/").status_code == 404


def test_a_path_that_fits_its_pattern_and_not_its_parameter_is_a_json_404(visitor: Client):
    response = visitor.get(f"/by-group/{'9' * 5000}/")
    assert (response.status_code, error_code(response)) == (404, "not_found")


@pytest.mark.parametrize(("how", "status"), [("missing", 404), ("denied", 403), ("invalid", 500), ("unexpected", 500)])
def test_what_a_page_raises_is_answered_as_django_does(how: str, status: int):
    response = Client(raise_request_exception=False).get("/failing/", {"how": how})
    assert (response.status_code, response.headers["Content-Type"]) == (status, "text/html; charset=utf-8")


def test_an_error_of_its_own_is_json(visitor: Client):
    response = visitor.get("/failing/", {"how": "own"})
    assert (response.status_code, error_code(response)) == (409, "conflict")


def test_a_user_whom_auth_does_not_let_in_gets_a_json_403(visitor: Client, ann: Any):
    visitor.force_login(ann)
    response = visitor.get("/staff/")
    assert (response.status_code, error_code(response)) == (403, "forbidden")


def test_a_read_and_a_mutation_share_a_url_by_method(visitor: Client):
    shown, changed = visitor.get("/both/7/"), visitor.post("/both/7/")
    assert (shown.content, changed.content) == (b"shown 7", b"changed 7")
    assert "X-Mizan-Invalidate" not in shown.headers
    assert changed.headers["X-Mizan-Invalidate"] == "numbers;number=7"


@pytest.mark.parametrize("method", ["get", "head", "trace"])
@pytest.mark.parametrize("url", ["/rename/5/", "/hook/"])
def test_a_mutation_without_a_read_beside_it_takes_no_safe_method(visitor: Client, url: str, method: str):
    response = getattr(visitor, method)(url)
    assert response.status_code == 405
    assert response.headers["Allow"] == "POST, PUT, PATCH, DELETE, OPTIONS"
    assert "X-Mizan-Invalidate" not in response.headers
    if method == "get":
        assert error_code(response) == "method_not_allowed"


def test_options_at_a_mutation_names_its_methods_and_changes_nothing(visitor: Client):
    response = visitor.options("/rename/5/")
    assert (response.status_code, response.content) == (200, b"")
    assert response.headers["Allow"] == "POST, PUT, PATCH, DELETE, OPTIONS"
    assert "X-Mizan-Invalidate" not in response.headers


def test_a_post_without_the_csrf_token_is_a_json_403():
    response = Client(enforce_csrf_checks=True).post("/both/7/")
    assert (response.status_code, error_code(response)) == (403, "csrf")


def test_a_function_that_is_exempt_from_csrf_stays_so():
    assert Client(enforce_csrf_checks=True).post("/hook/").content == b"hooked"


def test_a_form_post_with_the_csrf_token_passes():
    browser = Client(enforce_csrf_checks=True)
    token = browser.get(f"{BASE}session/").json()["csrf_token"]
    assert browser.post("/both/7/", {"csrfmiddlewaretoken": token}).content == b"changed 7"


def test_what_is_no_response_is_an_error_that_says_so(visitor: Client):
    with pytest.raises(TypeError, match="returned no HttpResponse but dict"):
        visitor.get("/no-response/")


class TestMounting:
    def test_it_happens_once(self):
        urlconf = Urlconf(path("", home))
        with override_settings(ROOT_URLCONF=urlconf):
            mount_routes()
            mount_routes()
        assert len(urlconf.urlpatterns) == 2

    def test_not_where_the_site_includes_the_routes_itself(self, visitor: Client):
        inner = Urlconf(path("", include("mizan.routes")))
        urlconf = Urlconf(path("pages/", include(inner.urlpatterns)))
        with override_settings(ROOT_URLCONF=urlconf):
            assert visitor.get("/pages/number/7/").content == b"number 7"
            assert visitor.get("/number/7/").status_code == 404


class Urlconf:
    """A URLconf as Django takes it."""

    def __init__(self, *patterns: Any) -> None:
        self.urlpatterns = list(patterns)
