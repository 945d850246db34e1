"""The log of the edge's processes, on standard error: lines of text for people, or JSON objects for machines."""

import logging
import sys
from datetime import UTC, datetime
from typing import Any

import orjson

from mizan_edge.running.config import Settings


class JsonLines(logging.Formatter):
    """`{"time", "level", "process", "logger", "message"}`, and `exception` where there is one, on one line."""

    def __init__(self, process: str) -> None:
        """`process` tells which of the edge's processes writes."""
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC),
            "level": record.levelname.lower(),
            "process": self._process,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        # What is no text (a lone surrogate of a path, say) must not keep the rest from being logged.
        texts = {name: _text(value) if isinstance(value, str) else value for name, value in line.items()}
        return orjson.dumps(texts, option=orjson.OPT_UTC_Z).decode()


def set_up_logging(settings: Settings, process: str) -> None:
    """Logs to standard error. `process` tells which of the edge's processes writes a line."""
    handler = logging.StreamHandler(sys.stderr)
    if settings.log_format == "json":
        handler.setFormatter(JsonLines(process))
    else:
        handler.setFormatter(logging.Formatter(f"%(asctime)s %(levelname)s {process}: %(name)s: %(message)s"))
    logging.basicConfig(level=settings.log_level.upper(), handlers=[handler])


def _text(value: str) -> str:
    return value.encode("utf-8", "backslashreplace").decode()
