"""The shop: customers, products and orders."""
