"""A worker like Celery's: it has Django set up, does one line of its standard input after the other, and says when."""

import sys

import django
from django.core.management import call_command

if __name__ == "__main__":
    django.setup()
    from myapp import tasks  # type: ignore[import-not-found]

    for line in sys.stdin:
        exec(line, {"call_command": call_command, "tasks": tasks})
        print("done", flush=True)
