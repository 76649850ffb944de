"""Signing in on one machine: `/?token=…` becomes a cookie at once and leaves the address bar."""

from __future__ import annotations

import hmac
from urllib.parse import parse_qsl, urlencode

from starlette.responses import RedirectResponse
from starlette.types import Receive, Scope, Send

from millrace.dashboard.sign_in.plain_page import HEADERS, plain_page
from millrace.dashboard.sign_in.session import SESSION_S, Sessions

FORM = """<form method="get" action="/">{wrong}
<p>The token was printed when the platform started; it is also in the file <code>token</code> of the data folder.</p>
<input name="token" type="password" placeholder="Token" aria-label="Token" autofocus
 autocomplete="current-password">
<button>Sign in</button></form>"""


class TokenSignIn:
    """`token` is the API's; empty, nobody comes in."""

    cookie = "millrace_session"

    def __init__(self, token: str, sessions: Sessions) -> None:
        self._token, self._sessions = token, sessions

    def takes(self, scope: Scope) -> bool:
        return scope["path"] == "/" and "token" in _query(scope)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        query = _query(scope)
        if self._is_token(query.pop("token")):
            await self._entered(query)(scope, receive, send)
        else:
            wrong = '<p class="wrong">That is not the token.</p>'
            await plain_page(FORM.format(wrong=wrong), 401)(scope, receive, send)

    async def ask(self, scope: Scope, receive: Receive, send: Send) -> None:
        await plain_page(FORM.format(wrong=""), 401)(scope, receive, send)

    def _is_token(self, token: str) -> bool:
        return bool(self._token) and hmac.compare_digest(token.encode(), self._token.encode())

    def _entered(self, query: dict[str, str]) -> RedirectResponse:
        """The same page without the token, and the cookie."""
        response = RedirectResponse("/" + ("?" + urlencode(query) if query else ""), 303, HEADERS)
        response.set_cookie(self.cookie, self._sessions.made(""), SESSION_S, httponly=True, samesite="lax")
        return response


def _query(scope: Scope) -> dict[str, str]:
    return dict(parse_qsl(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True))
