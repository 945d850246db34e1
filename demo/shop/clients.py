"""What the shop declares: which reads belong together, and which mutations change them.

user      a customer's profile and orders; what is shown depends on who asks
catalog   a category of products, the same for everybody
product   one product, the same for everybody
"""

from datetime import date
from typing import Annotated

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from pydantic import BaseModel, Field, StringConstraints

from demo.shop.models import Order, Product, User
from mizan.client import client

Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100)]


class Profile(BaseModel):
    user_id: int
    name: str
    customer_since: date


class OrderLine(BaseModel):
    product_id: int
    product: str
    quantity: int
    price_cents: int
    placed_on: date


class OrderHistory(BaseModel):
    visible: bool
    orders: list[OrderLine]


class Item(BaseModel):
    product_id: int
    name: str
    category: str
    price_cents: int

    @property
    def price(self) -> str:
        return f"{self.price_cents // 100}.{self.price_cents % 100:02}"


class Category(BaseModel):
    category: str
    items: list[Item]


@client(context="user")
def profile(request: HttpRequest, user_id: int) -> Profile:
    """Anybody may read it."""
    user = get_object_or_404(User, pk=user_id)
    return Profile(user_id=user.pk, name=user.name, customer_since=user.date_joined.date())


@client(context="user")
def order_history(request: HttpRequest, user_id: int) -> OrderHistory:
    """The customer and staff see the orders, others see none."""
    if not may_act_for(request, user_id):
        return OrderHistory(visible=False, orders=[])
    orders = Order.objects.filter(user_id=user_id).select_related("product").order_by("-placed_on", "id")
    lines = [
        OrderLine(
            product_id=order.product.pk,
            product=order.product.name,
            quantity=order.quantity,
            price_cents=order.price_cents,
            placed_on=order.placed_on,
        )
        for order in orders
    ]
    return OrderHistory(visible=True, orders=lines)


@client(context="user", route="/profile/<int:user_id>/")
def profile_page(request: HttpRequest, user_id: int) -> HttpResponse:
    context = {
        "profile": profile(request, user_id),
        "history": order_history(request, user_id),
        "may_rename": may_act_for(request, user_id),
    }
    return render(request, "shop/profile.html", context)


@client(context="catalog", scope="public")
def product_list(request: HttpRequest, category: str) -> Category:
    products = Product.objects.filter(category=category).order_by("name")
    return Category(category=category, items=[item(each) for each in products])


@client(context="catalog", scope="public", route="/catalog/<slug:category>/")
def catalog_page(request: HttpRequest, category: str) -> HttpResponse:
    return render(request, "shop/catalog.html", {"category": product_list(request, category)})


@client(context="product", scope="public")
def product(request: HttpRequest, product_id: int) -> Item:
    return item(get_object_or_404(Product, pk=product_id))


@client(context="product", scope="public", route="/product/<int:product_id>/")
def product_page(request: HttpRequest, product_id: int) -> HttpResponse:
    return render(request, "shop/product.html", {"product": product(request, product_id)})


@client(affects="user", auth=True)
def rename_user(request: HttpRequest, user_id: int, name: Name) -> Profile:
    """Customers rename themselves, staff rename anybody."""
    if not may_act_for(request, user_id):
        raise PermissionDenied("You may rename nobody but yourself.")
    user = get_object_or_404(User, pk=user_id)
    user.name = name
    user.save(update_fields=["name"])
    return profile(request, user_id)


@client(affects=["catalog", "product"], auth="staff")
def set_price(request: HttpRequest, product_id: int, price_cents: Annotated[int, Field(ge=0)]) -> Item:
    """Purges this product and, since lists do not say which products they hold, every list."""
    found = get_object_or_404(Product, pk=product_id)
    found.price_cents = price_cents
    found.save(update_fields=["price_cents"])
    return item(found)


def may_act_for(request: HttpRequest, user_id: int) -> bool:
    return isinstance(request.user, User) and (request.user.pk == user_id or request.user.is_staff)


def item(of: Product) -> Item:
    return Item(product_id=of.pk, name=of.name, category=of.category, price_cents=of.price_cents)
