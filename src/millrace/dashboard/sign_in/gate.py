"""In front of the page, its scripts and its web socket: whoever is not signed in sees nothing but the way in, and who
is, nothing by way of a page that is not ours.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from starlette.requests import cookie_parser
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from millrace import telemetry
from millrace.dashboard.sign_in.origin import OwnOrigin
from millrace.dashboard.sign_in.plain_page import HEADERS
from millrace.dashboard.sign_in.session import Sessions

OPEN_PATHS = frozenset({"/health"})
WHO: Final = "millrace.who"
"""Key of a request's scope: who is signed in."""
NOT_SIGNED_IN: Final = 4401
"""Code with which a web socket is closed."""
CLOSE: Final[Message] = {"type": "websocket.close", "code": NOT_SIGNED_IN}
OF_ANOTHER_PAGE: Final = 4403
"""Code with which a web socket of a foreign page is refused; before it is open, the browser sees a 403."""
FOREIGN: Final = (
    "This comes from a page that is not Millrace's. If it is, and stands behind another address, that has to be "
    "MILLRACE_DASHBOARD_URL; the log names the address that was found.\n"
)
log = telemetry.logger(__name__)


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

    def __init__(self, app: ASGIApp, way_in: WayIn, sessions: Sessions, *, page_url: str) -> None:
        self._app, self._way_in, self._sessions = app, way_in, sessions
        self._origin = OwnOrigin(page_url)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._request(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._socket(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _request(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] in OPEN_PATHS:
            await self._app(scope, receive, send)
        elif self._way_in.takes(scope):
            await self._way_in(scope, receive, send)
        elif (who := self._who(scope)) is None:
            await self._way_in.ask(scope, receive, send)
        elif self._is_foreign(scope):
            await PlainTextResponse(FOREIGN, 403, HEADERS)(scope, receive, send)
        else:
            await self._app({**scope, WHO: who}, receive, send)

    async def _socket(self, scope: Scope, receive: Receive, send: Send) -> None:
        who = self._who(scope)
        if who is None:
            await send(CLOSE)
        elif self._is_foreign(scope):
            await send({"type": "websocket.close", "code": OF_ANOTHER_PAGE})
        else:
            socket = _WatchedSocket(lambda: self._who(scope) is not None, receive, send)
            await self._app({**scope, WHO: who}, socket.receive, socket.send)

    def _is_foreign(self, scope: Scope) -> bool:
        """Asked of who is signed in alone, so that nobody else writes lines into the log."""
        found = self._origin.foreign(scope)
        if found:
            log.warning(
                "foreign_page_refused", found=found[:200], wanted=self._origin.page, path=scope["path"][:200]
            )
        return bool(found)

    def _who(self, scope: Scope) -> str | None:
        return self._sessions.who(cookie_of(scope, self._way_in.cookie))


class _WatchedSocket:
    """A web socket that ends with its session: a page that nobody closes would show figures for weeks. Looked at
    with each message of the browser's, of which Engine.IO wants one every few seconds, or it closes by itself."""

    def __init__(self, signed_in: Callable[[], bool], receive: Receive, send: Send) -> None:
        self._signed_in, self._receive, self._send = signed_in, receive, send
        self._is_over = False

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] != "websocket.receive" or self._signed_in():
            return message
        self._is_over = True
        await self._send(CLOSE)
        return {"type": "websocket.disconnect", "code": NOT_SIGNED_IN}

    async def send(self, message: Message) -> None:
        if not self._is_over:
            await self._send(message)


def cookie_of(scope: Scope, name: str) -> str:
    """The value of a cookie that a request brings; empty when it brings none. Read as browsers write them: what
    other programs of this host or domain put beside ours may have any form."""
    headers = [value.decode("latin-1") for key, value in scope["headers"] if key == b"cookie"]
    return cookie_parser("; ".join(headers)).get(name, "")
