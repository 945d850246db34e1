"""`python -m demo.manage COMMAND`: Django's commands for the shop."""

import os
import sys

from django.core.management import execute_from_command_line


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "demo.settings")
    execute_from_command_line(["python -m demo.manage", *sys.argv[1:]])


if __name__ == "__main__":
    main()
