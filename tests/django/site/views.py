"""Pages that know nothing of Mizan."""

from django.contrib.auth import login, logout
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse


def home(request: HttpRequest) -> HttpResponse:
    return HttpResponse("home")


def sign_in(request: HttpRequest, user_id: int) -> HttpResponse:
    login(request, User.objects.get(pk=user_id))
    return HttpResponse("in")


def sign_out(request: HttpRequest) -> HttpResponse:
    logout(request)
    return HttpResponse("out")


def taken(request: HttpRequest) -> HttpResponse:
    return HttpResponse("the site's own")
