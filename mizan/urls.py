"""`path("api/mizan/", include("mizan.urls"))`."""

from django.urls import path

from mizan.http import views

app_name = "mizan"

urlpatterns = [
    path("ctx/<str:context>/", views.context, name="context"),
    path("call/", views.call, name="call"),
    path("session/", views.session, name="session"),
]
