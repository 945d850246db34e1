"""What the edge logs: of itself on standard error, as text or as JSON."""

import json
import logging
import sys
from datetime import UTC, datetime

from mizan_edge.running.logs import JsonLines
from tests.support import wire
from tests.support.served import Serve


async def test_as_json_every_line_is_an_object_that_says_when_and_which_process_wrote_it(serve: Serve):
    served = await serve("--log-format", "json", "--origin", "http://127.0.0.1:1")
    assert (await wire.request(served.listen, "GET", "/any/")).status == 502
    served.process.terminate()
    assert await served.end() == 0
    lines = [json.loads(line) for line in served.log.splitlines()]
    (failed,) = [line for line in lines if line["process"] == "worker 0" and line["level"] == "error"]
    assert failed["message"] == "The origin cannot be reached."
    assert failed["logger"] == "mizan_edge.serving.upstream"
    assert {line["process"] for line in lines} == {"keeper", "worker 0"}
    since = datetime.now(UTC) - datetime.fromisoformat(failed["time"])
    assert 0 <= since.total_seconds() < 60


def test_as_json_an_exception_and_what_is_no_text_stay_on_the_line():

    try:
        raise ValueError("two\nlines")
    except ValueError:
        record = logging.LogRecord("x", logging.ERROR, "", 1, "%s failed\n", ("\udcff",), sys.exc_info())
    line = JsonLines("keeper").format(record)
    assert "\n" not in line
    assert json.loads(line)["message"] == "\\udcff failed\n"
    assert json.loads(line)["exception"].endswith("ValueError: two\nlines")
