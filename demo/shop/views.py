"""Pages that nobody declared: the edge passes them through."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from demo.shop.models import Product, User


def home(request: HttpRequest) -> HttpResponse:
    categories = Product.objects.values_list("category", flat=True).distinct().order_by("category")
    return render(request, "shop/home.html", {"customers": User.objects.order_by("id")[:10], "categories": categories})
