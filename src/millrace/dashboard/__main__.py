"""The page's process: `python -m millrace.dashboard`. Knows the API's address and token, nothing else."""

from __future__ import annotations

import os
import time

import httpx
from nicegui import app, ui

from millrace import telemetry
from millrace.dashboard.feed import Feed
from millrace.dashboard.page import LivePage
from millrace.dashboard.session import Sessions, SignIn
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
        )
    )


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    settings = load(os.environ)
    telemetry.set_up_logs(level=settings.log_level, json_lines=settings.log_json, service=SERVICE_DASHBOARD)
    feed = feed_of(settings)

    @ui.page("/")
    def live_page() -> None:
        LivePage(feed).build()

    @app.get("/health")
    def health() -> dict[str, str]:
        return {"status": "live"}

    app.on_startup(feed.start)
    app.on_shutdown(feed.stop)
    app.add_middleware(SignIn, sessions=Sessions(settings.api_token, time.time))
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
