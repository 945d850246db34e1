"""What a function, and anything that runs on behalf of one, may raise to be answered as it says."""

from typing import Any


class ApiError(Exception):
    """An answer of 400 or above. `details` is any JSON, `allow` a 405's field; a function may raise one itself."""

    def __init__(self, status: int, code: str, message: str, *, details: Any = None, allow: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.details = details
        self.allow = allow
