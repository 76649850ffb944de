"""The page's own process in front of an API with known figures, and a headless browser before it."""

from __future__ import annotations

import json
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.contract.sign_in.processes import free_port, running, until_answers

TOKEN = "token-of-the-browser-tests"
TAG = "acme/lyon/press-shop/line-2/press-07/spindle-temp"
STATS = {
    "uptime_s": 75.0, "rate": 9876.5, "lag_ms": 42.0, "stored": 1_234_567, "archived": 1_000_000,
    "rejected": 321, "rejected_by_reason": {"time_too_old": 300, "bad_syntax": 21}, "duplicate": 7,
    "latency_ms": {"visible": {"p50": 41.0, "p99": 187.0}, "durable": {"p50": 120.0, "p99": None}},
    "latency_histogram": [
        {"from_ms": 20.0, "to_ms": 50.0, "count": 90.0}, {"from_ms": 50.0, "to_ms": 75.0, "count": 10.0},
    ],
    "disk": {"used_bytes": 1_500_000_000, "max_bytes": 20_000_000_000, "hours_left": 31.0},
}  # fmt: skip


@dataclass
class FakeApi:
    """Answers what the page asks, to whoever has the token; `broken` answers 503."""

    broken: bool = False
    closed: dict[str, str] | None = None
    refused: int = 0
    token: str = TOKEN
    server: ThreadingHTTPServer = field(init=False)

    def __post_init__(self) -> None:
        api = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                allowed = self.headers.get("Authorization") == f"Bearer {TOKEN}"
                api.refused += not allowed
                self.send_response(401 if not allowed else 503 if api.broken else 200)
                self.end_headers()
                self.wfile.write(json.dumps(api.answer(urlsplit(self.path).path)).encode())

            def log_message(self, *args: Any) -> None:
                """Quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def answer(self, path: str) -> Any:
        now_us = int(time.time() * 1e6)
        if path == "/v1/stats":
            return STATS | {"ingest_closed": self.closed}
        if path == "/v1/tags":
            return {"tags": [{"path": TAG}, {"path": TAG.replace("07", "08")}], "next_cursor": None}
        if path == "/v1/anomalies":
            row = {
                "id": "a-1", "path": TAG, "source": "gw-1", "detector": "ewma", "state": "open",
                "start_us": now_us - 9_000_000, "end_us": now_us, "score": 2.5,
                "explanation": "ewma: spindle-temp was 80, expected about 50",
            }  # fmt: skip
            return {"anomalies": [row], "next_cursor": None}
        ts_us = [now_us - i * 1_000_000 for i in range(60, 0, -1)]
        return {"tag": TAG, "unit": "°C", "ts_us": ts_us, "value": [50.0 + i % 7 for i in range(60)]}


@pytest.fixture(scope="module")
def api() -> Iterator[FakeApi]:
    api = FakeApi()
    yield api
    api.server.shutdown()


@pytest.fixture(scope="module")
def page_url(api: FakeApi, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    port, folder = free_port(), tmp_path_factory.mktemp("page")
    settings = {
        "MILLRACE_API_TOKEN": TOKEN,
        "MILLRACE_API_PORT": str(api.server.server_port),
        "MILLRACE_DASHBOARD_PORT": str(port),
        "MILLRACE_HOME": str(folder),
    }
    url, log = f"http://127.0.0.1:{port}", folder / "log"
    with running([sys.executable, "-m", "millrace.dashboard"], folder, log, settings):
        until_answers(url + "/health", log)
        yield url


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    selenium = pytest.importorskip("selenium.webdriver")
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not chromium or not driver:
        pytest.skip("chromium and chromedriver are not installed (Debian: chromium, chromium-driver)")
    options = selenium.ChromeOptions()
    options.binary_location = chromium
    for argument in (
        "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        f"--user-data-dir={tmp_path_factory.mktemp('chromium')}",
    ):  # fmt: skip
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = selenium.Chrome(options=options, service=selenium.ChromeService(driver))
    size = {"width": 1280, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.set_page_load_timeout(60)
    yield browser
    browser.quit()
