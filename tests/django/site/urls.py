from django.urls import include, path, re_path

from tests.django.site import views
from tests.django.site.clients import by_hand

urlpatterns = [
    path("", views.home, name="home"),
    path("login/<int:user_id>/", views.sign_in),
    path("logout/", views.sign_out),
    path("taken/", views.taken),
    path("plain/rename/<int:user_id>/", views.rename),
    path("plain/rename-and-stay/<int:user_id>/", views.rename_and_stay),
    path("plain/rename-streamed/<int:user_id>/", views.rename_streamed),
    path("plain/rename-streamed-later/<int:user_id>/", views.rename_streamed_later),
    path("plain/many/", views.many),
    path("plain/react/", views.react),
    path("plain/shown/<int:user_id>/", views.shown),
    path("by-hand/<int:number>/", by_hand),
    re_path(r"^by-group/([0-9]+)/$", by_hand),
    path("accounts/", include("allauth.account.urls")),
    path("api/mizan/", include("mizan.urls")),
]
