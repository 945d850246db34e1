"""The shop's URLs. Declared pages (`route=` in shop/clients.py) are mounted by mizan itself."""

from django.contrib.auth.views import LoginView, LogoutView
from django.urls import include, path

from demo.shop.views import home

urlpatterns = [
    path("", home, name="home"),
    path("accounts/login/", LoginView.as_view(), name="login"),
    path("accounts/logout/", LogoutView.as_view(), name="logout"),
    path("api/mizan/", include("mizan.urls")),
]
