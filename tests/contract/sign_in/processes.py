"""The page's process and Canaille's, started beside each other; Canaille has an environment of its own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from tests.contract.sign_in import canaille_server

ROOT = Path(__file__).parents[3]
PYTHON = Path(os.environ.get("CANAILLE_PYTHON", ROOT / ".tools/canaille/bin/python"))
START_S = 120.0
STOP_S = 60.0


@dataclass(frozen=True)
class Places:
    page_url: str
    provider_url: str
    page_log: Path


@contextmanager
def page_and_provider(
    folder: Path, *, api_url: str = "http://127.0.0.1:9", api_token: str = "a-token"
) -> Iterator[Places]:
    """Both, until the end of the block. `folder` takes their logs."""
    if not PYTHON.exists():
        pytest.skip("Canaille is not installed (make identity-provider)")
    page_port, provider_port = free_port(), free_port()
    places = Places(f"http://127.0.0.1:{page_port}", f"http://localhost:{provider_port}", folder / "page.log")
    provider = [str(PYTHON), canaille_server.__file__, str(provider_port), places.page_url]
    settings = {
        "MILLRACE_HOME": str(folder),
        "MILLRACE_API_PORT": api_url.rpartition(":")[2],
        "MILLRACE_API_TOKEN": api_token,
        "MILLRACE_DASHBOARD_PORT": str(page_port),
        "MILLRACE_DASHBOARD_URL": places.page_url,
        "MILLRACE_OIDC_ISSUER": places.provider_url,
        "MILLRACE_OIDC_CLIENT_ID": canaille_server.CLIENT_ID,
        "MILLRACE_OIDC_CLIENT_SECRET": canaille_server.CLIENT_SECRET,
    }
    page = [sys.executable, "-m", "millrace.dashboard"]
    with (
        running(provider, folder, folder / "provider.log", {}),
        running(page, folder, places.page_log, settings),
    ):
        until_answers(f"{places.provider_url}/.well-known/openid-configuration", folder / "provider.log")
        until_answers(f"{places.page_url}/health", places.page_log)
        yield places


@contextmanager
def running(command: list[str], folder: Path, log: Path, settings: dict[str, str]) -> Iterator[None]:
    environ = {k: v for k, v in os.environ.items() if not k.startswith(("MILLRACE_", "NICEGUI_", "PYTEST_"))}
    environ |= {"PYTHONPATH": str(ROOT / "src"), **settings}
    with log.open("wb") as written:
        process = subprocess.Popen(command, env=environ, cwd=folder, stdout=written, stderr=written)
    try:
        yield
    finally:
        process.terminate()
        process.wait(STOP_S)


def until_answers(url: str, log: Path) -> None:
    until_s = time.monotonic() + START_S
    while time.monotonic() < until_s:
        try:
            with urlopen(url, timeout=10):
                return
        except (HTTPError, OSError):
            time.sleep(0.1)
    raise AssertionError(f"{url} does not answer: {log.read_text()[-2000:]}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
