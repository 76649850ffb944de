"""Signing in with the identity provider: `/sign-in` leads there, `/sign-in/back` comes from there.

What belongs to one sign-in waits in a signed cookie of its own for ten minutes, so any task of the service may be the
one that is come back to. Who may come in is decided at the provider.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final
from urllib.parse import quote, urlsplit

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from millrace import telemetry
from millrace.dashboard.sign_in.identity_provider import IdentityProvider, SignInRefused
from millrace.dashboard.sign_in.plain_page import HEADERS, SIGN_IN, told
from millrace.dashboard.sign_in.provider_metadata import ProviderMistake
from millrace.dashboard.sign_in.session import SESSION_S, Sessions
from millrace.errors import MillraceError, Unavailable

BACK: Final = f"{SIGN_IN}/back"
LEAVE: Final = "/sign-out"
LEFT: Final = "/signed-out"
PATHS: Final = frozenset({SIGN_IN, BACK, LEAVE, LEFT})
WAIT_S: Final = 600
"""How long somebody may take at the provider."""
PROVIDER_KEPT_S: Final = 3600
"""How long what the provider said of itself is believed."""
WANTED: Final = "wanted"
WANTED_CHARACTERS_MAX: Final = 500
AGAIN: Final = "Sign in again"
NOT_VALID: Final = "The identity provider's answer is not valid. Whoever runs Millrace finds why in its log."
AWAY: Final = "The identity provider does not answer. Try again in a moment."
log = telemetry.logger(__name__)


class OidcSignIn:
    """`provider_of(secret)` makes the provider's client; `page_url` is where people open the page."""

    def __init__(
        self,
        provider_of: Callable[[str], IdentityProvider],
        sessions: Sessions,
        *,
        secret: Callable[[], str],
        page_url: str,
        now_s: Callable[[], float],
    ) -> None:
        self._provider_of, self._sessions, self._secret, self._now_s = provider_of, sessions, secret, now_s
        self._page_url = page_url.rstrip("/")
        self._secure = urlsplit(page_url).scheme == "https"
        # a cookie of this prefix is set by this very host alone, over TLS alone, for all its paths (RFC 6265bis)
        prefix = "__Host-" if self._secure else ""
        self.cookie, self._waiting_cookie = f"{prefix}millrace_session", f"{prefix}millrace_sign_in"
        self._made: tuple[str, int] = ("", 0)
        self._app = Starlette()

    def takes(self, scope: Scope) -> bool:
        return scope["path"] in PATHS

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A secret that was exchanged, or a provider that has moved, is found without a new start."""
        wanted = (self._secret(), int(self._now_s() // PROVIDER_KEPT_S))
        if wanted != self._made:
            self._made, self._app = wanted, self._app_under(wanted[0])
        await self._app(scope, receive, send)

    async def ask(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A person is led to the provider, by way of the address that they will come back to: at another one, such as
        `localhost`, the cookies would stay behind. A program is told that it must sign in."""
        request = Request(scope)
        if request.method == "GET" and "text/html" in request.headers.get("accept", ""):
            wanted = scope["path"] + (f"?{request.url.query}" if request.url.query else "")
            url = f"{self._page_url}{SIGN_IN}?{WANTED}={quote(wanted, safe='')}"
            response: Response = RedirectResponse(url, 303, HEADERS)
        else:
            response = told("Sign in first.", 401, go_on="Sign in", wrong=False)
        await response(scope, receive, send)

    # --- the pages of a sign-in -------------------------------------------------------------------

    def _app_under(self, secret: str) -> Starlette:
        provider = self._provider_of(secret)
        waiting = Middleware(
            SessionMiddleware,
            secret_key=f"millrace sign-in {secret}",
            session_cookie=self._waiting_cookie,
            max_age=WAIT_S,
            same_site="lax",
            https_only=self._secure,
        )
        routes = [
            Route(SIGN_IN, _answering(self._begin, provider)),
            Route(BACK, _answering(self._back, provider)),
            Route(LEAVE, _answering(self._leave, provider)),
            Route(LEFT, _left),
        ]
        return Starlette(routes=routes, middleware=[waiting])

    async def _begin(self, request: Request, provider: IdentityProvider) -> Response:
        request.session[WANTED] = _within(request.query_params.get(WANTED, "/"))
        response = await provider.redirected(request, self._page_url + BACK)
        response.headers.update(HEADERS)
        return response

    async def _back(self, request: Request, provider: IdentityProvider) -> Response:
        who = await provider.who(request)
        wanted = request.session.get(WANTED, "/")
        request.session.clear()
        log.info("signed_in", who=who)
        response = RedirectResponse(self._page_url + wanted, 303, HEADERS)
        response.set_cookie(
            self.cookie,
            self._sessions.made(who),
            SESSION_S,
            secure=self._secure,
            httponly=True,
            samesite="lax",
        )
        return response

    async def _leave(self, request: Request, provider: IdentityProvider) -> Response:
        """Out of here whatever the provider says, and out of the provider where it can be asked."""
        try:
            url = await provider.leaving_url(self._page_url + LEFT)
        except MillraceError as error:
            log.warning("provider_not_left", error=str(error))
            url = ""
        response = RedirectResponse(url or LEFT, 303, HEADERS)
        response.delete_cookie(self.cookie, secure=self._secure, httponly=True, samesite="lax")
        return response


def _answering(
    page: Callable[[Request, IdentityProvider], Awaitable[Response]], provider: IdentityProvider
) -> Callable[[Request], Awaitable[Response]]:
    """The page, or what went wrong in words for the person who waits; the log has the rest."""

    async def answer(request: Request) -> Response:
        try:
            return await page(request, provider)
        except SignInRefused as error:
            log.warning("sign_in_refused", error=str(error))
            return told(str(error), 403, go_on=AGAIN)
        except ProviderMistake as error:
            log.error("provider_not_believed", error=str(error))
            return told(NOT_VALID, 502, go_on=AGAIN)
        except Unavailable as error:
            log.warning("provider_away", error=str(error))
            return told(AWAY, 503, go_on=AGAIN)

    return answer


async def _left(request: Request) -> Response:
    return told("You are signed out.", 200, go_on="Sign in", wrong=False)


def _within(path: str) -> str:
    """A path of ours: `//elsewhere` and its kin lead nowhere but to the page. ASCII, for it waits in a cookie: six
    bytes for any other letter would be more than a browser takes."""
    plain = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable()
    return path if plain and path.isascii() and len(path) <= WANTED_CHARACTERS_MAX else "/"
