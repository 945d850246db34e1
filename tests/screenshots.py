"""`make screenshots`: pictures of the dashboard for docs/, of an edge that has traffic.

The traffic takes a quarter of a minute. The edge's history is kept by a clock that runs so much faster that it looks
like a quarter of an hour.
"""

import asyncio
import json
import math
import random
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace

from mizan_edge.admin import history
from mizan_edge.system.embedded import find_server
from tests.support import redis_server
from tests.support.chromium import Page, chromium, program, tab
from tests.support.edge import TOKEN, RunningEdge, edges
from tests.support.origin import Asked, Says, running_origin

TOP = Path(__file__).parent.parent
IMAGES = TOP / "docs" / "images"
MANIFEST = json.loads((TOP / "manifests" / "demo.json").read_text())

# Of what would be very long, in pixels.
HEIGHTS = {"dashboard-dark": 1500.0, "dashboard-phone": 1700.0}
SECONDS = 15.0
SPEED = 60.0
CLIENTS = 6
CATEGORIES = ["tea", "coffee", "cups", "kettles", "grinders"]
INVALIDATED = {
    "rename_user": lambda chance: f"user;user_id={chance.randint(1, 40)}",
    "set_price": lambda chance: f"catalog, product;product_id={chance.randint(1, 60)}",
}


def quickly() -> None:
    """Has the history kept by a faster clock, until it is as late as it really is."""
    began_s = time.time()

    def now_s() -> float:
        real_s = time.time()
        return real_s - max(0.0, began_s + SECONDS - real_s) * (SPEED - 1)

    vars(history)["time"] = SimpleNamespace(time=now_s, monotonic=now_s)
    history.EVERY_S /= SPEED


async def shop(asked: Asked) -> Says:
    """The origin: it takes a while, and says what its mutations invalidate."""
    chance = random.Random(len(asked.body) + time.monotonic_ns())
    await asyncio.sleep(chance.lognormvariate(-4.2, 0.5))
    if asked.method == "POST":
        said = INVALIDATED[json.loads(asked.body)["fn"]](chance)
        return Says('{"result": {}}', headers=[("X-Mizan-Invalidate", said), ("Content-Type", "application/json")])
    return Says("<p>" + "tea " * chance.randint(200, 2000), headers=[("Content-Type", "text/html")])


async def visit(edge: RunningEdge, chance: random.Random) -> None:
    """One request of somebody."""
    match chance.choices(["profile", "catalog", "product", "about", "rename_user", "set_price"], [30, 30, 35, 6, 3, 1])[
        0
    ]:
        case "profile":
            await edge.get(f"/profile/{min(int(chance.paretovariate(0.9)), 40)}/", host=edge.address)
        case "catalog":
            await edge.get(f"/catalog/{chance.choice(CATEGORIES)}/", host=edge.address)
        case "product":
            await edge.get(f"/product/{min(int(chance.paretovariate(0.7)), 60)}/", host=edge.address)
        case "about":
            await edge.get("/about/", host=edge.address)
        case mutation:
            body = json.dumps({"fn": mutation, "args": {}}).encode()
            headers = {"Content-Type": "application/json"}
            await edge.request("POST", "/api/mizan/call/", headers, body, host=edge.address)


async def visit_often(edge: RunningEdge, seed: int, ended: asyncio.Event) -> None:
    chance = random.Random(seed)
    while not ended.is_set():
        await visit(edge, chance)
        await asyncio.sleep(chance.expovariate(60))


@asynccontextmanager
async def visited(home: Path, redis_url: str) -> AsyncIterator[RunningEdge]:
    """An edge that people have used for a while, and go on to use."""
    async with running_origin() as origin, edges(origin.url, redis_url, "shop", home) as start:
        origin.script = shop
        quickly()
        edge = await start(MANIFEST)
        ended = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            for seed in range(CLIENTS):
                group.create_task(visit_often(edge, seed, ended))
            await asyncio.sleep(SECONDS)
            try:
                yield edge
            finally:
                ended.set()


async def main(images: Path) -> None:
    """Writes all pictures."""
    images.mkdir(parents=True, exist_ok=True)
    path, server = program(), find_server()
    if path is None or server is None:
        sys.exit("screenshots: needs Chromium and Redis: apt-get install chromium redis-server")
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home,
        redis_server.running(server) as redis_url,
        chromium(path, Path(home) / "browser") as pipes,
    ):
        async with visited(Path(home), redis_url) as edge, tab(pipes) as page:
            await page.looks(width=1280)
            await use(page, edge)
            for name, how in {
                "dashboard-light": {"width": 1280},
                "dashboard-dark": {"width": 1280, "dark": True},
                "dashboard-phone": {"width": 390, "height": 844, "phone": True},
            }.items():
                await page.looks(**how)  # type: ignore[arg-type]
                await page.run("scrollTo(0, 0)")
                (images / f"{name}.png").write_bytes(await page.picture(HEIGHTS.get(name, math.inf)))


async def use(page: Page, edge: RunningEdge) -> None:
    """What somebody does there."""
    await page.go(f"http://{edge.admin}/")
    await page.type("#token", TOKEN)
    await page.press("Enter")
    await page.type("#explain-url", "/profile/1/")
    await page.press("Enter")
    await page.text("#explain .body .stack")
    await page.type("#purge-text", "product;product_id=1\ncatalog;category=tea")
    await page.click("#purge button.main")
    await page.text("#purge .body .stack")
    await page.until("document.querySelector('#graph svg') && document.querySelector('#latency path')")
    await page.run("document.activeElement.blur()")


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]) if sys.argv[1:] else IMAGES))
