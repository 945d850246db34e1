"""A small shop on Django and SQLite behind the edge, and the program that tells the product's story with it.

shop        the Django app: models, what is declared to Mizan (`clients.py`), pages
settings    the Django project, with urls, asgi and manage beside it
origin      `python -m demo.origin`: prepares the shop and serves it
processes   the servers as children, ports, readiness
browser     just enough of a browser for the story's requests
story       what happens, step by step, each step proven before it is told
__main__    `python -m demo`: puts these together
"""
