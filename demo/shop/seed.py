"""The shop's first day: the same 1,000 customers, 200 products and their orders every time."""

import itertools
import random
from datetime import timedelta

from django.contrib.auth.hashers import make_password
from django.db import transaction

from demo.shop.models import Order, Product, User
from demo.shop.stock import FIRST_NAMES, KINDS, LAST_NAMES, PASSWORD, PRODUCTS, STAFF_ID, TODAY


def seed() -> bool:
    """Fills an empty shop in one transaction; leaves any other as it is. Whether it filled one."""
    with transaction.atomic():
        if User.objects.exists():
            return False
        chance = random.Random(1)
        users = _users(chance)
        products = _products(chance)
        User.objects.bulk_create(users)
        Product.objects.bulk_create(products)
        Order.objects.bulk_create(_orders(chance, users, products))
    return True


def _users(chance: random.Random) -> list[User]:
    # Hashing is slow on purpose; one hash does for everybody, since everybody has the same password.
    password = make_password(PASSWORD)
    names = [f"{first} {last}" for first, last in itertools.product(FIRST_NAMES.split(), LAST_NAMES.split())]
    chance.shuffle(names)
    return [
        User(
            id=number,
            username=f"user{number}",
            name=name,
            password=password,
            is_staff=number == STAFF_ID,
            date_joined=TODAY - timedelta(days=chance.randrange(30, 2000)),
        )
        for number, name in enumerate(names, start=1)
    ]


def _products(chance: random.Random) -> list[Product]:
    names = [
        (category, f"{kind} {thing}")
        for category, things in PRODUCTS.items()
        for kind, thing in itertools.product(KINDS.split(), things.split())
    ]
    return [
        Product(id=number, name=name, category=category, price_cents=chance.randrange(300, 20_000, 50))
        for number, (category, name) in enumerate(names, start=1)
    ]


def _orders(chance: random.Random, users: list[User], products: list[Product]) -> list[Order]:
    chosen = [(user, product) for user in users for product in chance.sample(products, chance.randint(1, 4))]
    return [
        Order(
            id=number,
            user=user,
            product=product,
            quantity=chance.randint(1, 3),
            price_cents=product.price_cents,
            placed_on=(TODAY - timedelta(days=chance.randrange(1, 30))).date(),
        )
        for number, (user, product) in enumerate(chosen, start=1)
    ]
