"""A small site that declares something of every kind."""
