"""JSON as clients send it."""

import json
from typing import Any


def parse_json(text: str | bytes) -> Any:
    """The value of a JSON text. Raises ValueError for what is none, also for NaN and infinities, which Python would
    take, and for what is nested too deeply."""
    try:
        return json.loads(text, parse_constant=_refuse)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _refuse(name: str) -> object:
    raise ValueError(f"{name} is not JSON")
