"""Signing in on one machine, with the token that was printed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import httpx2
import pytest
from starlette.responses import PlainTextResponse

from millrace.dashboard.sign_in.gate import Gate
from millrace.dashboard.sign_in.session import SESSION_S, Sessions
from millrace.dashboard.sign_in.token import TokenSignIn

TOKEN = "the-token-of-the-api"
PAGE = "http://127.0.0.1:8081"
pytestmark = pytest.mark.requirement("S-18")
Story = Callable[[httpx2.AsyncClient], Awaitable[None]]


def visited(
    story: Story, *, token: str = TOKEN, key: str = TOKEN, now_s: Callable[[], float] = lambda: 1e9
) -> None:
    """What a browser does at a page with that token."""
    sessions = Sessions(lambda: key, now_s)

    async def behind(scope: Any, receive: Any, send: Any) -> None:
        await PlainTextResponse("the page")(scope, receive, send)

    async def visit() -> None:
        gate = Gate(behind, TokenSignIn(token, sessions), sessions, page_url=PAGE)
        transport = httpx2.ASGITransport(gate)
        async with httpx2.AsyncClient(transport=transport, base_url=PAGE) as browser:
            await story(browser)

    asyncio.run(visit())


def test_the_token_becomes_a_cookie_and_leaves_the_address() -> None:
    async def story(browser: httpx2.AsyncClient) -> None:
        entered = await browser.get("/", params={"tag": "a/b", "token": TOKEN})
        assert (entered.status_code, entered.headers["location"]) == (303, "/?tag=a%2Fb")
        assert (entered.headers["cache-control"], entered.headers["referrer-policy"]) == (
            "no-store",
            "no-referrer",
        )
        cookie = entered.headers["set-cookie"]
        assert TOKEN not in cookie
        assert {"httponly", "samesite=lax", f"max-age={SESSION_S}"} <= set(cookie.lower().split("; "))
        assert (await browser.get("/")).text == "the page"

    visited(story)


@pytest.mark.parametrize(
    "said", ["", "another", TOKEN + "x", TOKEN[:-1], TOKEN.upper(), "\xe9", "\x00", "黄"]
)
def test_another_token_opens_nothing(said: str) -> None:
    async def story(browser: httpx2.AsyncClient) -> None:
        answer = await browser.get("/", params={"token": said})
        assert (answer.status_code, "That is not the token." in answer.text) == (401, True)
        assert "set-cookie" not in answer.headers
        assert TOKEN not in answer.text
        assert (await browser.get("/")).status_code == 401

    visited(story)


@pytest.mark.parametrize("path", ["/x", "//", "/_nicegui/x.js", "/health/"])
def test_the_token_is_taken_at_the_page_alone(path: str) -> None:
    async def story(browser: httpx2.AsyncClient) -> None:
        answer = await browser.get(f"http://127.0.0.1:8081{path}", params={"token": TOKEN})
        assert (answer.status_code, "set-cookie" in answer.headers) == (401, False)

    visited(story)


def test_without_a_token_nobody_comes_in() -> None:
    async def story(browser: httpx2.AsyncClient) -> None:
        for key in ("token=", "token"):
            assert (await browser.get(f"/?{key}")).status_code == 401
        assert (await browser.get("/")).status_code == 401

    visited(story, token="", key="")
    visited(story, token="", key="a key")


def test_a_session_ends_after_its_time() -> None:
    now_s = [1e9]

    async def story(browser: httpx2.AsyncClient) -> None:
        await browser.get("/", params={"token": TOKEN})
        now_s[0] += SESSION_S - 1
        assert (await browser.get("/")).status_code == 200
        now_s[0] += 2
        assert (await browser.get("/")).status_code == 401

    visited(story, now_s=lambda: now_s[0])
