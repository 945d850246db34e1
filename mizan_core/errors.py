"""The root of every error that this project raises; leaves live beside the code that raises them."""


class MizanError(Exception):
    """Something a person can mend. `str()` of it is one clear line that says what is wrong and what to do."""
