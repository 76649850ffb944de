"""Pages of others that make a signed-in person's browser ask ours: over the real server, by each of its transports."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx2
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from millrace.dashboard.sign_in.origin import OwnOrigin
from tests.contract.sign_in.processes import free_port, running, until_answers

pytestmark = pytest.mark.requirement("S-18")
TOKEN = "the-token-of-the-api"
BEHIND_A_PROXY = "https://page.example.com"
SOCKET = "/_nicegui_ws/socket.io/?EIO=4&transport="
OPENED = "0{"
"""How Engine.IO's first packet begins."""


@pytest.fixture(scope="module")
def page_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The page's process, without an API."""
    folder, port = tmp_path_factory.mktemp("foreign"), free_port()
    settings = {
        "MILLRACE_HOME": str(folder), "MILLRACE_API_PORT": "9", "MILLRACE_API_TOKEN": TOKEN,
        "MILLRACE_DASHBOARD_PORT": str(port), "MILLRACE_DASHBOARD_URL": BEHIND_A_PROXY,
    }  # fmt: skip
    command, log = [sys.executable, "-m", "millrace.dashboard"], folder / "page.log"
    with running(command, folder, log, settings):
        until_answers(f"http://127.0.0.1:{port}/health", log)
        yield f"http://127.0.0.1:{port}"
    assert "foreign_page_refused" in log.read_text()


@pytest.fixture(scope="module")
def cookie(page_url: str) -> str:
    entered = httpx2.get(page_url, params={"token": TOKEN})
    assert entered.status_code == 303
    return entered.headers["set-cookie"].partition(";")[0]


def foreign(page_url: str) -> list[str]:
    port = urlsplit(page_url).port
    return [
        "https://evil.example", f"http://evil.example:{port}", "http://127.0.0.1", "http://127.0.0.1:8000",
        f"http://localhost:{port}.evil.example", f"https://127.0.0.1:{port}", "http://page.example.com",
        "https://page.example.com:8443", "https://page.example.com.evil.example", "null", "*", "",
    ]  # fmt: skip


def first_packet(page_url: str, origin: str | None, cookie: str, *, host: str = "") -> str:
    """What the web socket says first."""
    parts = urlsplit(page_url)
    url = f"ws://{host or parts.hostname}:{parts.port}{SOCKET}websocket"
    headers = {"Cookie": cookie} | ({} if origin is None else {"Origin": origin})
    with connect(url, additional_headers=headers, proxy=None) as socket:
        return str(socket.recv(timeout=30))


def test_the_web_socket_opens_for_the_pages_own_origin(page_url: str, cookie: str) -> None:
    for origin in (page_url, BEHIND_A_PROXY, None):
        assert first_packet(page_url, origin, cookie).startswith(OPENED), origin
    port = urlsplit(page_url).port
    assert first_packet(page_url, f"http://localhost:{port}", cookie, host="localhost").startswith(OPENED)


def test_the_web_socket_is_refused_to_a_foreign_page(page_url: str, cookie: str) -> None:
    for origin in foreign(page_url):
        with pytest.raises(InvalidStatus) as refused:
            first_packet(page_url, origin, cookie)
        assert refused.value.response.status_code == 403, origin


def test_polling_is_refused_to_a_foreign_page_and_goes_on_for_our_own(page_url: str, cookie: str) -> None:
    url = f"{page_url}{SOCKET}polling"
    with httpx2.Client(headers={"Cookie": cookie}) as browser:
        opened = browser.get(url, headers={"Origin": page_url})
        assert (opened.status_code, opened.text[:2]) == (200, OPENED)
        session = f"{url}&sid={json.loads(opened.text[1:])['sid']}"
        for origin in foreign(page_url):
            for answer in (
                browser.get(url, headers={"Origin": origin}),
                browser.get(session, headers={"Origin": origin}),
                browser.post(session, content="40", headers={"Origin": origin}),
                browser.options(session, headers={"Origin": origin}),
            ):
                assert answer.status_code == 403, origin
                assert "access-control-allow-origin" not in answer.headers
                assert "MILLRACE_DASHBOARD_URL" in answer.text
        assert browser.post(session, content="40", headers={"Origin": page_url}).text == "OK"
        assert browser.get(session, headers={"Origin": page_url}).text.startswith("40{")


def test_a_script_of_a_foreign_page_reads_nothing(page_url: str, cookie: str) -> None:
    """A `<script>` names no origin, and polling has an answer for it (JSONP); browsers say who asks all the same."""
    url = f"{page_url}{SOCKET}polling&j=0"
    for site, mode, status in (
        ("same-origin", "cors", 200),
        ("same-site", "no-cors", 403),
        ("cross-site", "no-cors", 403),
        ("cross-site", "cors", 403),
    ):
        headers = {"Cookie": cookie, "Sec-Fetch-Site": site, "Sec-Fetch-Mode": mode}
        assert httpx2.get(url, headers=headers).status_code == status, (site, mode)


def test_a_link_on_a_foreign_page_leads_to_the_page(page_url: str, cookie: str) -> None:
    headers = {"Cookie": cookie, "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert httpx2.get(page_url, headers=headers).status_code == 200


@pytest.mark.parametrize(
    ("host", "origin", "found"),
    [
        ("127.0.0.1:9000", "http://127.0.0.1:9000", ""),  # a tunnel with a port of its own
        ("[::1]:9000", "http://[::1]:9000", ""),
        ("localhost", "http://localhost", ""),
        ("localhost:9000", "http://localhost:9001", "http://localhost:9001"),
        (
            "evil.example:8081",
            "http://evil.example:8081",
            "http://evil.example:8081",
        ),  # a name led to this machine
        ("localhost.evil.example", "http://localhost.evil.example", "http://localhost.evil.example"),
        ("[::1].evil.example", "http://[::1].evil.example", "http://[::1].evil.example"),
        ("", "http://", "http://"),
        ("", "", "no origin"),
    ],
)
def test_this_machine_is_our_own_by_the_port_that_the_browser_came_to(
    host: str, origin: str, found: str
) -> None:
    headers = [(b"host", host.encode()), (b"origin", origin.encode())]
    assert OwnOrigin("http://127.0.0.1:8081").foreign({"headers": headers}) == found


@pytest.mark.parametrize(
    ("page_url", "origin"),
    [
        ("https://Page.Example.com:443/", "https://page.example.com"),
        ("https://page.example.com:8443", "https://page.example.com:8443"),
        ("https://bücher.example", "https://xn--bcher-kva.example"),
        ("http://[::1]:8081", "http://[::1]:8081"),
    ],
)
def test_an_origin_is_compared_as_browsers_write_it(page_url: str, origin: str) -> None:
    headers = [(b"host", b"127.0.0.1:8081"), (b"origin", origin.encode())]
    assert OwnOrigin(page_url).foreign({"headers": headers}) == ""
