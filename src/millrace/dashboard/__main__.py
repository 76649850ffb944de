"""The page's process: `python -m millrace.dashboard`. Knows the API's address and token, and how people sign in."""

from __future__ import annotations

import os
import sys
import time
from functools import partial

import httpx
from nicegui import app, ui
from starlette.requests import Request

from millrace import telemetry
from millrace.dashboard.feed import Feed
from millrace.dashboard.page import LivePage
from millrace.dashboard.sign_in.client_secret import ClientSecret, reader_of
from millrace.dashboard.sign_in.gate import WHO, Gate, WayIn
from millrace.dashboard.sign_in.session import Sessions
from millrace.dashboard.sign_in.token import TokenSignIn
from millrace.errors import MillraceError
from millrace.names import SERVICE_DASHBOARD
from millrace.settings import Settings, load

API_TIMEOUT_S = 5.0


def feed_of(settings: Settings) -> Feed:
    """The page's one connection to the API."""
    return Feed(
        httpx.AsyncClient(
            base_url=settings.api_url,
            headers={"Authorization": f"Bearer {settings.api_token}"},
            timeout=API_TIMEOUT_S,
            transport=httpx.AsyncHTTPTransport(),  # not by a proxy that the shell names for the world outside
        )
    )


def page_url_of(settings: Settings) -> str:
    """Where people open the page."""
    return settings.dashboard_url or f"http://127.0.0.1:{settings.dashboard_port}"


def way_in_of(settings: Settings) -> tuple[WayIn, Sessions, ClientSecret | None]:
    """How people sign in: with the identity provider where there is one, else with the token."""
    if not settings.oidc_issuer:
        sessions = Sessions(lambda: settings.api_token, time.time)
        return TokenSignIn(settings.api_token, sessions), sessions, None
    from millrace.dashboard.sign_in.identity_provider import IdentityProvider
    from millrace.dashboard.sign_in.oidc import OidcSignIn

    secret = ClientSecret(reader_of(settings))
    sessions = Sessions(secret.value, time.time)
    way_in = OidcSignIn(
        partial(IdentityProvider, settings.oidc_issuer, settings.oidc_client_id),
        sessions,
        secret=secret.value,
        page_url=page_url_of(settings),
        now_s=time.time,
    )
    return way_in, sessions, secret


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    try:
        settings = load(os.environ)
        telemetry.set_up_logs(
            level=settings.log_level, json_lines=settings.log_json, service=SERVICE_DASHBOARD
        )
        way_in, sessions, secret = way_in_of(settings)
    except MillraceError as error:
        print(f"millrace dashboard: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    _serve(settings, way_in, sessions, secret)


def _serve(settings: Settings, way_in: WayIn, sessions: Sessions, secret: ClientSecret | None) -> None:
    feed = feed_of(settings)

    @ui.page("/")
    def live_page(request: Request) -> None:
        LivePage(feed, who=request.scope.get(WHO, "")).build()

    @app.get("/health")
    def health() -> dict[str, str]:
        return {"status": "live"}

    app.on_startup(feed.start)
    if secret is not None:
        app.on_startup(secret.keep_fresh)
    app.on_shutdown(feed.stop)
    app.add_middleware(Gate, way_in=way_in, sessions=sessions, page_url=page_url_of(settings))
    ui.run(
        host="127.0.0.1",
        port=settings.dashboard_port,
        title="Millrace",
        favicon="🌀",
        reload=False,
        show=False,
        show_welcome_message=False,
        uvicorn_logging_level="warning",
        access_log=False,
    )


if __name__ in {"__main__", "__mp_main__"}:
    main()
