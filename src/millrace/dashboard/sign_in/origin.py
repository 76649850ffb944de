"""Which page a request comes from. A browser sends the session's cookie with requests that pages of other programs
make too: same site is every port of this machine, and a web socket asks nobody first (cross-site hijacking).
"""

from __future__ import annotations

import re
from typing import Final

import httpx
from starlette.types import Scope

THIS_MACHINE: Final = re.compile(r"(localhost|127\.0\.0\.1|\[::1\])(:\d+)?")
ELSEWHERE: Final = frozenset({"same-site", "cross-site"})
"""What a browser calls it (Fetch Metadata) when another page than ours asks."""


class OwnOrigin:
    """The page's own: that of `page_url`, or this machine by whatever name and port the browser itself came to (a
    tunnel has another port than the page; a page of another program cannot choose what its browser calls the host).
    """

    def __init__(self, page_url: str) -> None:
        self.page = origin_of(page_url)

    def foreign(self, scope: Scope) -> str:
        """The foreign page that a request comes from, as its browser calls it; empty for our own, a person who follows
        a link, and programs, which send no such header."""
        headers = {key: value.decode("latin-1") for key, value in scope["headers"]}
        origin = headers.get(b"origin")
        if origin is not None:
            ours = (self.page, _of_this_machine(headers.get(b"host", "")))
            return "" if origin in ours else origin or "no origin"
        asked_by = headers.get(b"sec-fetch-site", "")
        followed = headers.get(b"sec-fetch-mode") == "navigate"
        return asked_by if asked_by in ELSEWHERE and not followed else ""


def origin_of(url: str) -> str:
    """As browsers write it: the usual port left out, a name in other letters as in DNS."""
    parts = httpx.URL(url)
    return f"{parts.scheme}://{parts.netloc.decode()}"


def _of_this_machine(host: str) -> str | None:
    return f"http://{host}" if THIS_MACHINE.fullmatch(host) else None
