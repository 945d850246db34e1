"""Headless Chromium, spoken to over pipes in its DevTools protocol: JSON both ways, each message with a NUL behind it.

The browser outlives the event loops of tests; what speaks with it belongs to one.
"""

import asyncio
import base64
import json
import math
import os
import shutil
import subprocess
import tempfile
from asyncio import Future, StreamReader
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from fcntl import F_DUPFD, LOCK_EX, fcntl, flock
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# From the outset, as Chromium has it: commands are read from the one, and events and replies written to the other.
_READS, _WRITES = 3, 4
_FLAGS = (
    "--headless",
    "--remote-debugging-pipe",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--disable-gpu",
    "--disable-lcd-text",
    "--disable-sync",
    "--hide-scrollbars",
    "--mute-audio",
    "--password-store=basic",
)
_LARGEST_BYTES = 1 << 26  # of a message: a screenshot
_WAIT_S = 20.0
# What it is asked first waits until it has started, which takes long where others use the processors.
_START_S = 90.0

KEYS = {"Tab": 9, "Enter": 13, "Escape": 27, "Space": 32, "ArrowLeft": 37, "ArrowRight": 39}


def program() -> str | None:
    """Where Chromium is; None where there is none. Installed first where changes are accepted, if that can be done."""
    if _found() is None and os.environ.get("CI") and shutil.which("apt-get"):
        root = [] if os.geteuid() == 0 else ["sudo", "-n"]
        # Other test processes may want it at the same time.
        with open(Path(tempfile.gettempdir()) / "mizan-chromium.lock", "w") as lock:
            flock(lock, LOCK_EX)
            if _found() is None:
                for what in ["update"], ["install", "-y", "--no-install-recommends", "chromium"]:
                    subprocess.run([*root, "apt-get", "-qq", *what], stdout=subprocess.DEVNULL, check=False)
    return _found()


def _found() -> str | None:
    return next(filter(None, map(shutil.which, NAMES)), None)


@dataclass(frozen=True, slots=True)
class Pipes:
    """The ends of a browser's pipes."""

    replies: int
    commands: int


@contextmanager
def chromium(path: str, home: Path) -> Iterator[Pipes]:
    """A browser that runs while the block does, with its profile in an empty directory."""
    command_end, commands = os.pipe()
    replies, reply_end = os.pipe()
    # Its sandbox wants another user than root.
    flags = [*_FLAGS, *(["--no-sandbox"] if os.geteuid() == 0 else []), f"--user-data-dir={home}", "about:blank"]

    def place() -> None:
        # By way of others, since one of them may be where the other has to go.
        ends = [fcntl(end, F_DUPFD, _WRITES + 1) for end in (command_end, reply_end)]
        os.dup2(ends[0], _READS)
        os.dup2(ends[1], _WRITES)

    process = subprocess.Popen(
        [path, *flags],
        preexec_fn=place,
        close_fds=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "HOME": str(home)},
    )
    os.close(command_end)
    os.close(reply_end)
    try:
        yield Pipes(replies, commands)
    finally:
        os.close(commands)  # which ends it
        try:
            process.wait(_WAIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        os.close(replies)


class Failed(AssertionError):
    """The browser, or a script in it, has failed."""


class Wire:
    """What is said with the browser in one event loop.

    # mutable state: the commands that wait for a reply, by their number, and who hears the events of which session.
    """

    def __init__(self, commands: int) -> None:
        self._commands = commands
        self._number = 0
        self._waiting: dict[int, Future[Any]] = {}
        self.heard: defaultdict[str, list[Callable[[str, Any], None]]] = defaultdict(list)

    async def ask(self, method: str, session: str | None = None, *, wait_s: float = _WAIT_S, **params: Any) -> Any:
        """What the browser replies to a command. Raises Failed."""
        self._number += 1
        number = self._number
        message = {"id": number, "method": method, "params": params, **({"sessionId": session} if session else {})}
        waiting = self._waiting[number] = asyncio.get_running_loop().create_future()
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        async with asyncio.timeout(wait_s):
            return await waiting

    async def hear(self, replies: StreamReader) -> None:
        """Hands over whatever the browser says, until it says nothing more."""
        while data := await replies.readuntil(b"\0"):
            message = json.loads(data[:-1])
            waiting = self._waiting.pop(message.get("id"), None)
            if waiting is None:
                for hear in self.heard[message.get("sessionId", "")]:
                    hear(message.get("method", ""), message.get("params"))
            elif waiting.cancelled():
                continue
            elif "error" in message:
                waiting.set_exception(Failed(message["error"]["message"]))
            else:
                waiting.set_result(message["result"])


@dataclass
class Page:
    """A tab in a profile of its own.

    # mutable state: what it has `said` to whoever looks at its console, errors and violations of its policy among it;
    # the URLs that it has `asked` for; whether it is `loaded`.
    """

    wire: Wire
    session: str
    said: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    loaded: asyncio.Event = field(default_factory=asyncio.Event)

    def hear(self, method: str, params: Any) -> None:
        """An event of it."""
        match method:
            case "Page.loadEventFired":
                self.loaded.set()
            case "Network.requestWillBeSent":
                self.asked.append(params["request"]["url"])
            case "Log.entryAdded":
                self.said.append(params["entry"]["text"])
            case "Runtime.consoleAPICalled":
                self.said.append(f"{params['type']}: {[told.get('value') for told in params['args']]}")
            case "Runtime.exceptionThrown":
                self.said.append(_failure(params["exceptionDetails"]))

    async def ask(self, method: str, **params: Any) -> Any:
        """As `Wire.ask`, of this tab."""
        return await self.wire.ask(method, self.session, **params)

    async def go(self, url: str) -> None:
        """Opens a URL; returns when all of it is loaded."""
        self.loaded.clear()
        await self.ask("Page.navigate", url=url)
        async with asyncio.timeout(_WAIT_S):
            await self.loaded.wait()

    async def run(self, script: str) -> Any:
        """The value of an expression, or of what it promises. Raises Failed where it throws."""
        told = await self.ask("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in told:
            raise Failed(_failure(told["exceptionDetails"]))
        return told["result"].get("value")

    async def until(self, script: str) -> Any:
        """The first value of an expression that is true. Raises Failed, with what the page shows, where none is."""
        look = f"""new Promise(done => {{
          const end = performance.now() + {_WAIT_S * 800}
          const look = () => {{
            const value = (() => {{ try {{ return {script} }} catch {{ return null }} }})()
            if (value || performance.now() > end) done(value instanceof Node || value)
            else setTimeout(look, 10)
          }}
          look()
        }})"""
        try:
            found = await self.run(look)
        except Failed as error:
            if "navigated" not in str(error):
                raise
            found = await self.run(look)  # another document has come meanwhile
        if not found:
            text = await self.run("document.querySelector('main').innerText")
            raise Failed(f"never true: {script}\n\nIt says: {self.said}\n\nIt shows:\n{text}")
        return found

    async def text(self, selector: str) -> str:
        """The text that an element shows, once it is there."""
        found = f"document.querySelector({json.dumps(selector)})"
        return str(await self.until(f"{found}.innerText ?? {found}.textContent"))

    async def click(self, selector: str) -> None:
        """Clicks into the middle of an element, once it is there and nothing covers it."""
        x, y = await self.until(
            f"""(() => {{
              const element = document.querySelector({json.dumps(selector)})
              if (element.disabled) return null
              element.scrollIntoView({{ block: "center", behavior: "instant" }})
              const {{ x, y, width, height }} = element.getBoundingClientRect()
              const middle = [x + width / 2, y + height / 2]
              return element.contains(document.elementFromPoint(...middle)) ? middle : null
            }})()"""
        )
        for kind in "mousePressed", "mouseReleased":
            await self.ask("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    async def type(self, selector: str, text: str) -> None:
        """Types into an input, over what is in it."""
        await self.until(f"document.querySelector({json.dumps(selector)})?.checkVisibility()")
        await self.run(f"document.querySelector({json.dumps(selector)}).select()")
        await self.run(f"document.querySelector({json.dumps(selector)}).focus()")
        await self.ask("Input.insertText", text=text)

    async def press(self, key: str) -> None:
        """Presses a key, one of `KEYS`."""
        text = {"Enter": "\r", "Space": " "}.get(key, "")
        how = {"key": " " if key == "Space" else key, "code": key, "windowsVirtualKeyCode": KEYS[key]}
        await self.ask("Input.dispatchKeyEvent", type="keyDown", text=text, **how)
        await self.ask("Input.dispatchKeyEvent", type="keyUp", **how)

    async def looks(self, *, width: int, height: int = 900, dark: bool = False, phone: bool = False) -> None:
        """Gives it a size in CSS pixels, and a taste."""
        await self.ask(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=phone
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.ask("Emulation.setEmulatedMedia", features=[scheme])

    async def picture(self, height: float = math.inf) -> bytes:
        """The page, from its top, as PNG."""
        size = (await self.ask("Page.getLayoutMetrics"))["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": min(height, size["height"]), "scale": 1}
        told = await self.ask("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)
        return base64.b64decode(told["data"])


@asynccontextmanager
async def tab(pipes: Pipes) -> AsyncIterator[Page]:
    """A tab that is open while the block runs. One at a time."""
    loop = asyncio.get_running_loop()
    replies = StreamReader(_LARGEST_BYTES)
    transport, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(replies), os.fdopen(os.dup(pipes.replies), "rb")
    )
    wire = Wire(pipes.commands)
    hearing = loop.create_task(wire.hear(replies))
    try:
        profile = (await wire.ask("Target.createBrowserContext", wait_s=_START_S))["browserContextId"]
        target = (await wire.ask("Target.createTarget", url="about:blank", browserContextId=profile))["targetId"]
        page = Page(wire, (await wire.ask("Target.attachToTarget", targetId=target, flatten=True))["sessionId"])
        wire.heard[page.session].append(page.hear)
        for domain in "Page", "Network", "Log", "Runtime":
            await page.ask(f"{domain}.enable")
        yield page
        await wire.ask("Target.disposeBrowserContext", browserContextId=profile)
    finally:
        hearing.cancel()
        await asyncio.wait([hearing])
        transport.close()


def _failure(details: Any) -> str:
    return str(details.get("exception", {}).get("description") or details["text"])
