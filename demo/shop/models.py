"""Customers, products and orders."""

from datetime import date

from django.contrib.auth.models import AbstractUser
from django.db import models


class User(AbstractUser):
    name: "models.CharField[str, str]" = models.CharField(max_length=100)

    def __str__(self) -> str:
        return self.name


class Product(models.Model):
    name: "models.CharField[str, str]" = models.CharField(max_length=100)
    category: "models.SlugField[str, str]" = models.SlugField()
    price_cents: "models.PositiveIntegerField[int, int]" = models.PositiveIntegerField()

    def __str__(self) -> str:
        return self.name


class Order(models.Model):
    user: "models.ForeignKey[User, User]" = models.ForeignKey(User, models.CASCADE, related_name="orders")
    product: "models.ForeignKey[Product, Product]" = models.ForeignKey(Product, models.PROTECT)
    quantity: "models.PositiveSmallIntegerField[int, int]" = models.PositiveSmallIntegerField()
    # What was paid then: a later change of the product's price changes no order, so it need not affect "user".
    price_cents: "models.PositiveIntegerField[int, int]" = models.PositiveIntegerField()
    placed_on: "models.DateField[date, date]" = models.DateField()

    def __str__(self) -> str:
        return f"{self.quantity} x {self.product}"
