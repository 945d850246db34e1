"""Requests as Chrome sends them, in the order in which they are sent."""

import random
from bisect import bisect
from collections.abc import Iterator, Sequence
from itertools import accumulate

from mizan_core.mwt import Keyring, mint

HOST = "www.example.com"
USERS = 100
_DAY_S = 86_400
_SEED = 9110
# After the fields that differ. Chrome 124 on Windows, a click on a link of the same site.
_HEAD = (
    "{method} {target} HTTP/1.1\r\n"
    f"Host: {HOST}\r\n"
    "Connection: keep-alive\r\n"
    'sec-ch-ua: "Chromium";v="124", "Google Chrome";v="124", "Not-A.Brand";v="99"\r\n'
    "sec-ch-ua-mobile: ?0\r\n"
    'sec-ch-ua-platform: "Windows"\r\n'
    "Upgrade-Insecure-Requests: 1\r\n"
    "User-Agent: Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/124.0.0.0 Safari/537.36\r\n"
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8,"
    "application/signed-exchange;v=b3;q=0.7\r\n"
    "Sec-Fetch-Site: same-origin\r\n"
    "Sec-Fetch-Mode: navigate\r\n"
    "Sec-Fetch-User: ?1\r\n"
    "Sec-Fetch-Dest: document\r\n"
    f"Referer: https://{HOST}/list/{{visitor}}/\r\n"
    "Accept-Encoding: gzip, deflate, br, zstd\r\n"
    "Accept-Language: en-US,en;q=0.9\r\n"
    "Cookie: _ga=GA1.1.{visitor}.1700000000; csrftoken=hPv2mZb0lq3Xw8sTnK5yRj7dLc1FgQaE{cookies}\r\n"
    "{more}\r\n"
)


def browser(target: str, visitor: int, *, method: str = "GET", cookies: str = "", more: str = "") -> bytes:
    """A request of one visitor: no other has the same cookie and Referer.

    `cookies` and `more` are added: `; name=value`, and whole lines with their ends.
    """
    values = {"method": method, "target": target, "cookies": cookies, "more": more}
    return _HEAD.format(visitor=1_000_000_007 * (visitor + 1) % 10_000_000_000, **values).encode()


def uniform(urls: int, requests: int) -> list[int]:
    """Numbers below `urls`, each as often as any other, in random order; the same at each call."""
    order = [number % urls for number in range(requests)]
    random.Random(_SEED).shuffle(order)
    return order


def zipf(urls: int, requests: int) -> list[int]:
    """Numbers below `urls`, the k-th most frequent one 1/k as often as the first; the same at each call."""
    cumulated = list(accumulate(1 / rank for rank in range(1, urls + 1)))
    generator = random.Random(_SEED)
    return [bisect(cumulated, generator.random() * cumulated[-1]) for _ in range(requests)]


def reads(folder: str, order: Sequence[int], *, more: str = "") -> list[bytes]:
    """A GET for each number, each of another visitor."""
    return [browser(f"/{folder}/{number}/", visitor, more=more) for visitor, number in enumerate(order)]


def signed_in(order: Sequence[int], secret: str, *, now_s: int) -> list[bytes]:
    """A GET for each number, from a hundred users in turn; who asks for what does not change."""
    keyring = Keyring.parse(secret)
    # Tokens last five minutes by default, and the browser gets a new one; wrk cannot.
    tokens = [
        mint(keyring, sub=str(user), pkey=f"{user:032x}", now_s=now_s, lifetime_s=_DAY_S) for user in range(USERS)
    ]
    return [
        browser(
            f"/mine/{number}/",
            visitor,
            cookies=f"; sessionid={number % USERS:032x}; mizan_mwt={tokens[number % USERS]}",
        )
        for visitor, number in enumerate(order)
    ]


def change(number: int, visitor: int) -> bytes:
    """A mutation that purges one page."""
    return browser(f"/change/{number}/", visitor, method="POST", more="Content-Length: 0\r\n")


def with_mutations(requests: Sequence[bytes], order: Sequence[int], *, every: int) -> list[bytes]:
    """The same requests, but each `every`-th changes the page that it would have read."""
    return [
        change(number, visitor) if visitor % every == every - 1 else request
        for visitor, (request, number) in enumerate(zip(requests, order, strict=True))
    ]


def one_of_each(requests: Sequence[bytes]) -> Iterator[bytes]:
    """For each request line of a GET, the first request that has it."""
    seen = set()
    for request in requests:
        line = request[: request.index(b"\r\n")]
        if line not in seen and line.startswith(b"GET "):
            seen.add(line)
            yield request
