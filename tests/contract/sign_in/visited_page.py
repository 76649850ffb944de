"""The page as somebody visits it: the gate with something behind it, the provider that lies beside it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from functools import partial

import httpx2
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from millrace.dashboard.sign_in.gate import WHO, Gate
from millrace.dashboard.sign_in.identity_provider import IdentityProvider
from millrace.dashboard.sign_in.oidc import OidcSignIn
from millrace.dashboard.sign_in.session import Sessions
from tests.contract.sign_in.provider import CLIENT_ID, CLIENT_SECRET, Provider

PAGE = "https://page.example.com"
HTML = {"Accept": "text/html,*/*"}
COOKIE, WAITING = "__Host-millrace_session", "__Host-millrace_sign_in"


@dataclass
class Page:
    """The gate with something behind it, and a browser before it: it keeps cookies and follows nothing by itself."""

    provider: Provider
    secret: str = CLIENT_SECRET
    now_s: float = 1_800_000_000.0
    seen: list[str] = field(default_factory=list)
    browser: httpx2.AsyncClient = field(init=False)

    def __post_init__(self) -> None:
        sessions = Sessions(lambda: self.secret, lambda: self.now_s)
        way_in = OidcSignIn(
            partial(IdentityProvider, self.provider.url, CLIENT_ID), sessions,
            secret=lambda: self.secret, page_url=PAGE, now_s=lambda: self.now_s,
        )  # fmt: skip
        self.gate = Gate(self._page, way_in, sessions, page_url=PAGE)
        self.browser = self.other_browser()

    def other_browser(self) -> httpx2.AsyncClient:
        return httpx2.AsyncClient(transport=httpx2.ASGITransport(self.gate), base_url=PAGE, headers=HTML)

    async def _page(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.seen.append(scope[WHO])
        await PlainTextResponse(f"the page of {scope[WHO]}")(scope, receive, send)

    async def begun(self, path: str = "/") -> dict[str, str]:
        """Sent to the provider, who says yes: what is to be brought back."""
        first = await self.browser.get(path)
        assert first.status_code == 303, first.text
        second = await self.browser.get(first.headers["location"])
        assert second.status_code == 302, second.text
        return self.provider.authorized(second.headers["location"])

    async def come_back(self, brought: dict[str, str]) -> httpx2.Response:
        return await self.browser.get("/sign-in/back", params=brought)

    async def signed_in(self) -> httpx2.Response:
        """As anybody who was not: the cookies of before are gone."""
        self.browser.cookies.clear()
        return await self.come_back(await self.begun())


def refused(page: Page, status: int, words: str) -> None:
    """The person who comes back is told so, and is not in."""

    async def story() -> None:
        answer = await page.signed_in()
        assert (answer.status_code, words in answer.text) == (status, True), answer.text
        assert COOKIE not in page.browser.cookies
        assert (await page.browser.get("/")).status_code == 303
        assert page.seen == []

    asyncio.run(story())


async def shown(page: Page) -> str:
    return (await page.browser.get("/")).text
