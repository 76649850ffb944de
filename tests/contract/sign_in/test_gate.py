"""The gate before the page: which requests and sockets pass it, whatever else they bring."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx2
import pytest
from itsdangerous import TimestampSigner
from structlog.testing import capture_logs

from millrace.dashboard.sign_in.gate import WHO
from millrace.dashboard.sign_in.oidc import WAIT_S
from millrace.dashboard.sign_in.session import SESSION_S, Sessions
from tests.contract.sign_in.provider import CLIENT_SECRET, CODE
from tests.contract.sign_in.visited_page import COOKIE, HTML, PAGE, WAITING, Page, shown

pytestmark = pytest.mark.requirement("S-18")


def cookie_of(page: Page, who: str = "Ada Lovelace") -> str:
    return Sessions(lambda: page.secret, lambda: page.now_s).made(who)


async def status(page: Page, *cookies: str) -> int:
    headers = [(b"Accept", b"text/html"), *((b"Cookie", cookie.encode("latin-1")) for cookie in cookies)]
    async with page.other_browser() as browser:
        return (await browser.get("/", headers=headers)).status_code


def test_cookies_of_others_whatever_their_form_keep_nobody_out(page: Page) -> None:
    """Python's own reader of cookies gives up at the first that has a form of its own."""
    ours = f"{COOKIE}={cookie_of(page)}"

    async def story() -> None:
        for other in ('a={"x": 1}', "a b=1", "na\xefve=1", "a[b]=2", "=x", "x", 'q="', "a=" + "x" * 60_000):
            assert await status(page, f"{other}; {ours}") == 200, other
            assert await status(page, f"{ours}; {other}") == 200, other
            assert await status(page, ours, other) == 200, other
        assert await status(page, f"x{ours}") == 303
        assert await status(page, f"{COOKIE}=; a=1") == 303
        assert await status(page, f"{COOKIE}=" + "x." * 60_000) == 303

    asyncio.run(story())


def test_a_cookie_that_is_longer_than_any_of_ours_is_none(page: Page) -> None:
    assert Sessions(lambda: "key", lambda: 0.0).who("1." + "x" * 5_000 + ".y") is None
    long = Sessions(lambda: "key", lambda: 0.0)
    assert len(long.made("\U0001f600" * 10_000)) < 1_000
    assert long.who(long.made("\U0001f600" * 10_000)) == "\U0001f600" * 120


def test_without_a_key_there_is_no_session() -> None:
    nobody = Sessions(lambda: "", lambda: 0.0)
    assert nobody.who(nobody.made("Ada")) is None


def test_names_in_any_script_are_shown_and_what_no_page_can_hold_is_left_out(page: Page) -> None:
    names = {
        "Đặng Thị 黄 Ζωή": "Đặng Thị 黄 Ζωή",
        "A\ud800da": "Ada",
        " \x00Ada\r\nSet-Cookie: x=y\x1b[2J ": "AdaSet-Cookie: x=y[2J",
        "\u202eadA": "adA",
        "黄" * 5_000: "黄" * 120,
    }
    page.provider.claims = lambda said: {key: value for key, value in said.items() if key != "name"}
    page.provider.metadata = {"userinfo_endpoint": f"{page.provider.url}/user-info"}
    for name, shown_as in names.items():
        page.provider.user_info = {"sub": "person-1", "name": name}
        with capture_logs() as logs:
            assert asyncio.run(page.signed_in()).status_code == 303
        assert [line["event"] for line in logs] == ["signed_in"]
        assert "\n" not in logs[0]["who"]
        session = page.browser.cookies[COOKIE].strip('"')
        assert Sessions(lambda: page.secret, lambda: page.now_s).who(session) == shown_as


@pytest.mark.parametrize(
    "claims", [{"name": 7}, {"name": ""}, {"name": " \x00"}, {"name": {"x": 1}}, {"name": None}]
)
def test_a_name_that_is_none_gives_way_to_the_next(page: Page, claims: dict[str, Any]) -> None:
    page.provider.claims = lambda said: said | claims | {"email": "ada@example.org"}
    asyncio.run(page.signed_in())
    assert asyncio.run(shown(page)) == "the page of ada@example.org"


PATHS = (
    "//sign-in", "/sign-in/", "/sign-in/../", "/sign-in/../_nicegui/x.js", "/Sign-in", "/sign-in%2Fother", "/./",
    "/sign-in;x", "/health/", "/health/../", "//health", "/HEALTH", "/%2e/", "/%00", "/sign-in%00", "/signed-out/x",
)  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
def test_paths_that_look_like_open_ones_are_not(page: Page, path: str) -> None:
    scope = {
        "type": "http", "method": "GET", "path": httpx2.URL(PAGE).copy_with(raw_path=path.encode()).path,
        "raw_path": path.encode(), "query_string": b"", "headers": [], "root_path": "", "scheme": "https",
        "server": ("page.example.com", 443), "http_version": "1.1",
    }  # fmt: skip
    assert asyncio.run(answered(page, scope)) == 401
    assert asyncio.run(answered(page, scope | {"root_path": "/sign-in"})) == 401
    assert page.seen == []


async def answered(page: Page, scope: dict[str, Any]) -> int:
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    await page.gate(scope, receive, send)
    return int(sent[0]["status"])


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "POST", "PUT", "DELETE", "TRACE", "PROPFIND"])
def test_no_other_method_signs_in_or_passes(page: Page, method: str) -> None:
    async def story() -> None:
        brought = await page.begun()
        back = await page.browser.request(method, "/sign-in/back", params=brought)
        assert (back.status_code, COOKIE in page.browser.cookies) == (403 if method == "HEAD" else 405, False)
        for path in ("/sign-out", "/sign-in", "/signed-out"):
            answer = await page.browser.request(method, path)
            assert (answer.status_code == 405) == (method != "HEAD")
        assert (await page.browser.request(method, "/")).status_code == 401
        assert page.seen == []
        assert page.provider.asked == []

    asyncio.run(story())


class Socket:
    """A web socket with a browser at its other end: `incoming` is what it sends, `sent` what it gets."""

    def __init__(self, page: Page, cookie: str = "", path: str = "/_nicegui_ws/socket.io/") -> None:
        headers = [(b"cookie", f"{COOKIE}={cookie}".encode())] if cookie else []
        self.scope = {"type": "websocket", "path": path, "headers": headers, "query_string": b""}
        self.page, self.sent = page, list[dict[str, Any]]()
        self.incoming = [
            {"type": "websocket.connect"},
            *({"type": "websocket.receive", "text": str(n)} for n in range(3)),
        ]

    async def receive(self) -> Any:
        return self.incoming.pop(0) if self.incoming else {"type": "websocket.disconnect", "code": 1000}

    async def send(self, message: Any) -> None:
        self.sent.append(dict(message))


def echoed(page: Page, socket: Socket, after: dict[str, Any]) -> list[str]:
    """What an app behind the gate hears; it says each back. `after` has what happens after a text."""
    heard: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        page.seen.append(scope[WHO])
        while (message := await receive())["type"] != "websocket.disconnect":
            if text := message.get("text"):
                heard.append(text)
                await send({"type": "websocket.send", "text": text})
                after.get(text, lambda: None)()
        await send({"type": "websocket.send", "text": "one more"})

    page.gate._app = app
    asyncio.run(page.gate(socket.scope, socket.receive, socket.send))
    return heard


CLOSED = {"type": "websocket.close", "code": 4401}


def test_a_web_socket_passes_with_a_session_and_ends_with_it(page: Page) -> None:
    def over() -> None:
        page.now_s += SESSION_S + 1

    assert echoed(page, Socket(page, cookie_of(page)), {}) == ["0", "1", "2"]
    socket = Socket(page, cookie_of(page))
    assert echoed(page, socket, {"1": over}) == ["0", "1"]
    assert [message.get("text", message) for message in socket.sent] == ["0", "1", CLOSED]


def test_a_web_socket_ends_when_the_secret_is_exchanged(page: Page) -> None:
    socket = Socket(page, cookie_of(page))
    assert echoed(page, socket, {"0": lambda: setattr(page, "secret", "the-next")}) == ["0"]
    assert socket.sent[-1] == CLOSED


@pytest.mark.parametrize("path", ["/health", "/sign-in", "/sign-in/back", "/", "/_nicegui_ws/socket.io/"])
@pytest.mark.parametrize("cookie", ["", "1.QWRh.0", "9999999999.QWRh." + "0" * 64])
def test_no_path_opens_a_web_socket_without_a_session(page: Page, path: str, cookie: str) -> None:
    socket = Socket(page, cookie, path)
    assert (echoed(page, socket, {}), page.seen) == ([], [])
    assert socket.sent == [CLOSED]


def test_what_happens_before_a_worker_serves_passes(page: Page) -> None:
    seen: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["type"])

    page.gate._app = app
    asyncio.run(page.gate({"type": "lifespan"}, None, None))  # type: ignore[arg-type]
    assert seen == ["lifespan"]


def test_health_is_open_and_nothing_else(page: Page) -> None:
    scope = {"type": "http", "method": "GET", "path": "/health", "headers": [], "query_string": b""}
    seen: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["path"])

    page.gate._app = app
    asyncio.run(page.gate(scope, None, None))  # type: ignore[arg-type]
    assert seen == ["/health"]


def test_a_link_that_somebody_made_up_puts_no_words_into_the_page(page: Page) -> None:
    """Nor a line of their own into the log: only who has a sign-in of ours under way is told what the provider says."""

    async def story() -> None:
        words = {"error": "x", "error_description": "Call 555-0100 with your password"}
        for state in ({}, {"state": ""}, {"state": "made-up"}):
            with capture_logs() as logs:
                answer = await page.browser.get("/sign-in/back", params=words | state)
            assert (answer.status_code, "555" in answer.text, "555" in str(logs)) == (403, False, False)
            assert "took too long" in answer.text
        brought = await page.begun()
        answer = await page.other_browser().get("/sign-in/back", params=words | {"state": brought["state"]})
        assert (answer.status_code, "555" in answer.text) == (403, False)

    asyncio.run(story())


def test_a_sign_in_under_way_fits_a_cookie_whatever_was_wanted(page: Page) -> None:
    async def story() -> None:
        for wanted in (
            "/" + "\U0001f600" * 400,
            "/" + "ü" * 499,
            "/?" + '"' * 498,
            "/?" + "\\" * 498,
            "/" + "x" * 499,
        ):
            begun = await page.browser.get("/sign-in", params={"wanted": wanted})
            [said] = begun.headers.get_list("set-cookie")
            assert len(said) < 4_096

    asyncio.run(story())


def test_who_opens_the_page_at_another_address_is_led_to_that_of_the_way_back(page: Page) -> None:
    """Cookies of `localhost` would not be there at `127.0.0.1`, where the provider sends people."""

    async def story() -> None:
        async with page.other_browser() as browser:
            led = await browser.get("http://localhost:8081/?tag=a", headers=HTML)
        assert led.headers["location"] == f"{PAGE}/sign-in?wanted=%2F%3Ftag%3Da"

    asyncio.run(story())


@pytest.mark.parametrize("host", ["[", "a b", "x?y=z", "elsewhere.example.com", ""])
def test_what_a_request_calls_our_host_leads_nobody_astray(page: Page, host: str) -> None:
    async def story() -> None:
        led = await page.browser.get("/?tag=a", headers={"Host": host})
        assert (led.status_code, led.headers["location"]) == (303, f"{PAGE}/sign-in?wanted=%2F%3Ftag%3Da")
        begun = await page.browser.get("/sign-in", headers={"Host": host})
        asked = dict(parse_qsl(urlsplit(begun.headers["location"]).query))
        assert asked["redirect_uri"] == f"{PAGE}/sign-in/back"
        left = await page.browser.get("/sign-out", headers={"Host": host})
        assert left.headers["location"] == "/signed-out"

    asyncio.run(story())


def test_no_page_of_a_sign_in_is_kept_framed_or_told_to_others(page: Page) -> None:
    async def story() -> None:
        begun = await page.browser.get("/sign-in")
        back = await page.come_back(page.provider.authorized(begun.headers["location"]))
        left = await page.browser.get("/sign-out")
        wrong = await page.come_back({"code": CODE, "state": "x"})
        for answer in (
            begun,
            back,
            left,
            wrong,
            await page.browser.get("/signed-out"),
            await page.browser.get("/"),
        ):
            assert answer.headers["cache-control"] == "no-store"
            assert answer.headers["referrer-policy"] == "no-referrer"
            assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
            assert CLIENT_SECRET not in answer.text + str(answer.headers.raw)

    asyncio.run(story())


def test_nothing_that_is_printed_of_a_sign_in_shows_its_secret(page: Page) -> None:
    gate = page.gate
    for thing in (gate, gate._way_in, gate._sessions, gate._way_in._provider_of(CLIENT_SECRET)):  # type: ignore[attr-defined]
        assert CLIENT_SECRET not in repr(thing) + str(thing)


@pytest.mark.parametrize(("later_s", "status"), [(WAIT_S - 5, 303), (WAIT_S + 5, 403)])
def test_a_sign_in_waits_for_its_time_and_no_longer(
    page: Page, later_s: int, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the browser keeps: its clock is not ours, and a cookie can be copied."""
    now_s = TimestampSigner("any").get_timestamp()

    async def story() -> None:
        brought = await page.begun()
        monkeypatch.setattr(TimestampSigner, "get_timestamp", lambda _: now_s + later_s)
        assert (await page.come_back(brought)).status_code == status

    asyncio.run(story())


def test_a_browser_keeps_no_cookie_longer_than_it_is_taken(page: Page) -> None:
    async def story() -> None:
        begun = await page.browser.get("/sign-in")
        assert f"max-age={WAIT_S};" in begun.headers["set-cookie"].lower()
        back = await page.come_back(page.provider.authorized(begun.headers["location"]))
        [session] = [said for said in back.headers.get_list("set-cookie") if said.startswith(f"{COOKIE}=")]
        assert f"max-age={SESSION_S};" in session.lower()

    asyncio.run(story())


def test_a_sign_in_that_somebody_else_wrote_down_is_none(page: Page) -> None:
    """Its cookie stands under our secret: who could write one would choose state, nonce and verifier."""
    theirs = Page(page.provider, secret="another secret")

    async def story() -> None:
        brought = await theirs.begun()
        page.browser.cookies.set(WAITING, theirs.browser.cookies[WAITING])
        answer = await page.come_back(brought)
        assert (answer.status_code, "took too long" in answer.text) == (403, True)
        assert page.provider.asked == []

    asyncio.run(story())
