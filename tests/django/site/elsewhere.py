"""A URLconf with Mizan at another place."""

from django.urls import include, path

urlpatterns = [path("elsewhere/", include("mizan.urls"))]
