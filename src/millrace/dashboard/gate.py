"""In front of the page, its scripts and its web socket: whoever is not signed in sees nothing but the way in."""

from __future__ import annotations

from http.cookies import CookieError, SimpleCookie
from typing import Final, Protocol

from starlette.types import ASGIApp, Receive, Scope, Send

from millrace.dashboard.session import Sessions

OPEN_PATHS = frozenset({"/health"})
WHO: Final = "millrace.who"
"""Key of a request's scope: who is signed in."""
NOT_SIGNED_IN: Final = 4401
"""Code with which a web socket is closed."""


class WayIn(Protocol):
    """How people sign in. The cookie that it sets is `cookie`, made by the same `Sessions` as the gate's."""

    cookie: str

    def takes(self, scope: Scope) -> bool:
        """Whether an HTTP request belongs to signing in or out, and not to the page."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer such a request."""

    async def ask(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer any other HTTP request of somebody who is not signed in."""


class Gate:
    """Pure ASGI, so that web sockets pass through it too."""

    def __init__(self, app: ASGIApp, way_in: WayIn, sessions: Sessions) -> None:
        self._app, self._way_in, self._sessions = app, way_in, sessions

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket") or scope["path"] in OPEN_PATHS:
            await self._app(scope, receive, send)
            return
        if scope["type"] == "http" and self._way_in.takes(scope):
            await self._way_in(scope, receive, send)
            return
        who = self._sessions.who(cookie_of(scope, self._way_in.cookie))
        if who is not None:
            await self._app({**scope, WHO: who}, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": NOT_SIGNED_IN})
        else:
            await self._way_in.ask(scope, receive, send)


def cookie_of(scope: Scope, name: str) -> str:
    """The value of a cookie that a request brings; empty when it brings none, or none that can be read."""
    said = dict(scope["headers"]).get(b"cookie", b"").decode("latin-1")
    try:
        morsel = SimpleCookie(said).get(name)
    except CookieError:
        return ""
    return morsel.value if morsel else ""
