"""Signing in: `/?token=…` becomes a cookie at once and leaves the address bar; without it nothing is shown.

The cookie is `<expiry>.<mac>`, the mac over the expiry under the API's token: nothing to keep, and a new
token ends every session.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qsl, urlencode

from starlette.responses import HTMLResponse, RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send

COOKIE = "millrace_session"
SESSION_S = 12 * 3600
OPEN_PATHS = frozenset({"/health"})

SIGN_IN = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Millrace</title>
<meta name="viewport" content="width=device-width"><style>
:root{{color-scheme:light dark}}
body{{font:16px system-ui,sans-serif;display:grid;place-items:center;min-height:100vh;margin:0}}
form{{display:grid;gap:.8rem;width:22rem}}h1{{font-size:1.3rem;margin:0}}p{{margin:0;opacity:.75;line-height:1.4}}
input,button{{font:inherit;padding:.6rem;border-radius:.4rem;border:1px solid #8888}}
button{{cursor:pointer;background:#2563eb;color:#fff;border:0}}.wrong{{color:#dc2626;opacity:1}}</style></head>
<body><form method="get" action="/"><h1>Millrace</h1>{wrong}
<p>The token was printed when the platform started; it is also in the file <code>token</code> of the data folder.</p>
<input name="token" type="password" placeholder="Token" aria-label="Token" autofocus
 autocomplete="current-password">
<button>Sign in</button></form></body></html>"""


class Sessions:
    """Makes and checks cookies. `now_s` is wall time."""

    def __init__(self, token: str, now_s: Callable[[], float]) -> None:
        self._token, self._now_s = token, now_s

    def made(self) -> str:
        expiry = str(int(self._now_s()) + SESSION_S)
        return f"{expiry}.{self._mac(expiry)}"

    def token_ok(self, token: str) -> bool:
        return bool(self._token) and hmac.compare_digest(token.encode(), self._token.encode())

    def cookie_ok(self, cookie: str) -> bool:
        expiry, _, mac = cookie.partition(".")
        if not (self._token and expiry.isascii() and expiry.isdigit() and len(expiry) < 14):
            return False
        return hmac.compare_digest(mac.encode(), self._mac(expiry).encode()) and int(expiry) > self._now_s()

    def _mac(self, expiry: str) -> str:
        key = hashlib.sha256(b"millrace dashboard session" + self._token.encode()).digest()
        return hmac.new(key, expiry.encode(), hashlib.sha256).hexdigest()


class SignIn:
    """Pure ASGI in front of the page, its scripts and its web socket."""

    def __init__(self, app: ASGIApp, sessions: Sessions) -> None:
        self._app, self._sessions = app, sessions

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket") or scope["path"] in OPEN_PATHS:
            await self._app(scope, receive, send)
            return
        query = dict(parse_qsl(scope.get("query_string", b"").decode("latin-1")))
        token = query.pop("token", None) if scope["type"] == "http" and scope["path"] == "/" else None
        if token is not None and self._sessions.token_ok(token):
            await self._redirected(query)(scope, receive, send)
        elif token is None and self._sessions.cookie_ok(_cookie(scope)):
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 4401})
        else:
            wrong = '<p class="wrong">That is not the token.</p>' if token is not None else ""
            headers = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
            await HTMLResponse(SIGN_IN.format(wrong=wrong), 401, headers)(scope, receive, send)

    def _redirected(self, query: dict[str, str]) -> RedirectResponse:
        """The same page without the token, and the cookie."""
        response = RedirectResponse("/" + ("?" + urlencode(query) if query else ""), 303)
        response.set_cookie(COOKIE, self._sessions.made(), SESSION_S, httponly=True, samesite="lax")
        response.headers["Cache-Control"] = "no-store"
        response.headers["Referrer-Policy"] = "no-referrer"
        return response


def _cookie(scope: Scope) -> str:
    said = dict(scope["headers"]).get(b"cookie", b"").decode("latin-1")
    try:
        morsel = SimpleCookie(said).get(COOKIE)
    except CookieError:
        return ""
    return morsel.value if morsel else ""
