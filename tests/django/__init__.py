"""The adapter on a real Django project (`site`), with a real database and a real Redis."""
