"""Django projects as people write them, with their own manage.py, run as processes of their own.

site      the spelling of the adapter's README: settings, URLs, ASGI, every form of `@client`, a form, a channel
earlier   the spelling of an earlier one
running   the site before SQLite and Redis, under uvicorn, behind `mizan-edge serve`
"""
