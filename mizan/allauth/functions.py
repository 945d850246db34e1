"""The server functions; see the package."""

import re

from allauth.account.views import (
    ConfirmEmailView,
    LoginView,
    LogoutView,
    PasswordResetFromKeyView,
    PasswordResetView,
    SignupView,
)
from django.http import HttpRequest
from django.views.decorators.debug import sensitive_variables

from mizan.allauth.running import Outcome, run_view
from mizan.client import client
from mizan.db.transactions import non_atomic
from mizan.errors import ApiError


@client
@non_atomic
@sensitive_variables("password")
def auth_sign_up(
    request: HttpRequest,
    password: str | None = None,
    email: str | None = None,
    username: str | None = None,
    fields: dict[str, str] | None = None,
) -> Outcome:
    """Signs up, and in, where no stage stands before that. `fields` are those of a signup form of the site's own."""
    return run_view(
        request,
        SignupView.as_view(),
        {
            **(fields or {}),
            "username": username,
            "email": email,
            "email2": email,
            "password1": password,
            "password2": password,
        },
    )


@client
@non_atomic
@sensitive_variables("password")
def auth_sign_in(request: HttpRequest, login: str, password: str, remember: bool = False) -> Outcome:
    """Signs in by what ACCOUNT_LOGIN_METHODS says: user name, e-mail or both."""
    return run_view(
        request,
        LoginView.as_view(),
        {"login": login, "password": password, "remember": "on" if remember else None},
    )


@client
@non_atomic
def auth_sign_out(request: HttpRequest) -> Outcome:
    """Ends the session."""
    return run_view(request, LogoutView.as_view(), {})


@client
@non_atomic
def auth_request_password_reset(request: HttpRequest, email: str) -> Outcome:
    """Sends the e-mail, and does not tell whether there is such an account."""
    return run_view(request, PasswordResetView.as_view(), {"email": email})


@client
@non_atomic
@sensitive_variables("key", "password")
def auth_reset_password(request: HttpRequest, key: str, password: str) -> Outcome:
    """Sets a new password by the key of the e-mail's link: what stands behind `password/reset/key/`."""
    parts = re.fullmatch(r"([0-9A-Za-z]+)-(.+)", key)
    if parts is None:
        raise ApiError(422, "invalid", "the values are not valid", details={"key": ["This is not a key."]})
    data = {"password1": password, "password2": password}
    return run_view(request, PasswordResetFromKeyView.as_view(), data, uidb36=parts[1], key=parts[2])


@client
@non_atomic
@sensitive_variables("key")
def auth_verify_email(request: HttpRequest, key: str) -> Outcome:
    """Verifies an address by the key of the e-mail's link. 404 for one that is not valid, or not any more."""
    return run_view(request, ConfirmEmailView.as_view(), {}, key=key)
