"""A provider that is slow, broken or strange: a sentence for the person, a line in the log, no secret in either."""

from __future__ import annotations

import asyncio
import gzip
import json
from typing import Any

import httpx2
import pytest
from structlog.testing import capture_logs

from millrace.dashboard.sign_in import identity_provider
from millrace.dashboard.sign_in.bounded_answer import ANSWER_BYTES_MAX
from tests.contract.sign_in.provider import CLIENT_SECRET, CODE, Raw
from tests.contract.sign_in.visited_page import COOKIE, PAGE, Page, shown

pytestmark = pytest.mark.requirement("S-18")
DISCOVERY = "/.well-known/openid-configuration"
NOT_VALID, AWAY, REFUSED = (502, "is not valid"), (503, "does not answer"), (403, "provider says")
HUGE = Raw(b" " * (ANSWER_BYTES_MAX + 1) + b"{}")


def said(value: Any, status: int = 200) -> Raw:
    return Raw(json.dumps(value).encode(), status, {"Content-Type": "application/json"})


def told(answer: httpx2.Response, logs: list[Any], wanted: tuple[int, str]) -> None:
    """The sentence, a way on, one line of the log; no traceback, no secret, no code."""
    status, words = wanted
    assert (answer.status_code, words in answer.text) == (status, True), answer.text
    assert 'href="/sign-in"' in answer.text
    assert answer.headers["cache-control"] == "no-store"
    [line] = logs
    assert (line["log_level"] in ("warning", "error"), bool(line["error"])) == (True, True)
    for secret in (CLIENT_SECRET, CODE, "Traceback"):
        assert secret not in answer.text + str(answer.headers) + str(line).replace("error_code", "")


DISCOVERIES: dict[str, tuple[Raw, tuple[int, str]]] = {
    "a page of words": (Raw(), NOT_VALID),
    "a list": (said([]), NOT_VALID),
    "nothing": (said(None), NOT_VALID),
    "a text": (said("x"), NOT_VALID),
    "no members": (said({}), NOT_VALID),
    "lists without an end": (Raw(b"[" * 100_000), NOT_VALID),
    "no UTF-8": (Raw(b'{"issuer": "\xff"}'), NOT_VALID),
    "more than fits": (HUGE, NOT_VALID),
    "nothing there": (Raw(status=404), AWAY),
    "broken": (Raw(status=500), AWAY),
    "a loop": (Raw(status=302, headers={"Location": DISCOVERY}), AWAY),
}


@pytest.mark.parametrize("kind", DISCOVERIES)
def test_a_provider_that_says_nothing_of_itself_is_told_and_the_next_try_finds_it(
    page: Page, kind: str
) -> None:
    async def story() -> None:
        raw, wanted = DISCOVERIES[kind]
        page.provider.raw = {DISCOVERY: raw}
        with capture_logs() as logs:
            told(await page.browser.get("/sign-in"), logs, wanted)
        page.provider.raw = {}
        assert (await page.signed_in()).status_code == 303

    asyncio.run(story())


def test_an_answer_that_is_packed_though_nobody_asked_is_not_unpacked(page: Page) -> None:
    async def story() -> None:
        about = json.dumps(page.provider.answer("GET", DISCOVERY, "", "")[1]).encode()
        page.provider.raw = {DISCOVERY: Raw(gzip.compress(about), headers={"Content-Encoding": "gzip"})}
        with capture_logs() as logs:
            told(await page.browser.get("/sign-in"), logs, NOT_VALID)
        assert "packed as 'gzip'" in logs[0]["error"]

    asyncio.run(story())


def test_a_query_in_an_address_of_the_providers_is_in_no_line_of_the_log(page: Page) -> None:
    async def story() -> None:
        page.provider.metadata = {"jwks_uri": f"{page.provider.url}/keys?for=a-part-that-may-be-secret"}
        page.provider.raw = {"/keys": Raw(status=500)}
        with capture_logs() as logs:
            told(await page.signed_in(), logs, AWAY)
        assert f"{page.provider.url}/keys: 500" in logs[0]["error"]
        assert "a-part-that-may-be-secret" not in str(logs)

    asyncio.run(story())


MEMBERS: dict[str, dict[str, Any]] = {
    "no authorization end point": {"authorization_endpoint": None},
    "no token end point": {"token_endpoint": None},
    "no keys": {"jwks_uri": None},
    "a number for an address": {"authorization_endpoint": 7},
    "a script for an address": {"end_session_endpoint": "javascript:alert(1)"},
    "half an address": {"jwks_uri": "http://[::1"},
    "a number for kinds of signature": {"id_token_signing_alg_values_supported": 7},
    "a number for ways of a secret": {"token_endpoint_auth_methods_supported": 7},
    "a number for its name": {"issuer": 7},
}


@pytest.mark.parametrize("kind", MEMBERS)
def test_a_member_of_what_it_says_that_is_wrong_is_told_before_anybody_is_sent_there(
    page: Page, kind: str
) -> None:
    async def story() -> None:
        page.provider.metadata = MEMBERS[kind]
        with capture_logs() as logs:
            told(await page.browser.get("/sign-in"), logs, NOT_VALID)
        page.provider.metadata = {}
        assert (await page.signed_in()).status_code == 303

    asyncio.run(story())


EXCHANGES: dict[str, tuple[str, Raw, tuple[int, str]]] = {
    "words for a token": ("/token", Raw(), NOT_VALID),
    "a list for a token": ("/token", said([]), NOT_VALID),
    "nothing for a token": ("/token", said({}), NOT_VALID),
    "a huge token": ("/token", HUGE, NOT_VALID),
    "a token that is a number": ("/token", said({"access_token": "x", "id_token": 7}), NOT_VALID),
    "a token that is an object": ("/token", said({"access_token": "x", "id_token": {}}), NOT_VALID),
    "an end that is none": ("/token", said({"access_token": "x", "expires_in": "never"}), NOT_VALID),
    "a broken token end point": ("/token", Raw(status=500), AWAY),
    "words of a gateway": ("/token", Raw(status=429), AWAY),
    "a loop": ("/token", Raw(status=302, headers={"Location": "/token"}), AWAY),
    "an error that is an object": ("/token", said({"error": {"x": 1}}, 400), REFUSED),
    "half a letter": (
        "/token",
        said({"error": "x", "error_description": "not \ud800you\x1b[2J"}, 400),
        REFUSED,
    ),
    "words for keys": ("/keys", Raw(), NOT_VALID),
    "no keys": ("/keys", said({"keys": []}), NOT_VALID),
    "a text for keys": ("/keys", said({"keys": "x"}), NOT_VALID),
    "a number for a key": ("/keys", said({"keys": [7]}), NOT_VALID),
    "half a key": ("/keys", said({"keys": [{"kty": "RSA", "kid": "own"}]}), NOT_VALID),
    "a list for keys": ("/keys", said([]), NOT_VALID),
    "huge keys": ("/keys", HUGE, NOT_VALID),
    "broken keys": ("/keys", Raw(status=500), AWAY),
}


@pytest.mark.parametrize("kind", EXCHANGES)
def test_who_comes_back_to_a_provider_that_is_broken_is_told_and_comes_in_when_it_is_mended(
    page: Page, kind: str
) -> None:
    async def story() -> None:
        path, raw, wanted = EXCHANGES[kind]
        brought = await page.begun()
        page.provider.raw = {path: raw}
        with capture_logs() as logs:
            told(await page.come_back(brought), logs, wanted)
        assert COOKIE not in page.browser.cookies
        page.provider.raw = {}
        assert (await page.signed_in()).status_code == 303

    asyncio.run(story())


@pytest.mark.parametrize("path", [DISCOVERY, "/token", "/keys"])
def test_an_answer_that_comes_byte_by_byte_is_given_up(
    page: Page, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        brought = {} if path == DISCOVERY else await page.begun()
        monkeypatch.setattr(identity_provider, "STEP_TIMEOUT_S", 0.5)
        page.provider.raw = {path: Raw(b" " * 100, pause_s=0.05)}
        with capture_logs() as logs:
            answer = await (page.come_back(brought) if brought else page.browser.get("/sign-in"))
        told(answer, logs, AWAY)

    asyncio.run(story())


def test_a_provider_that_is_silent_is_given_up(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity_provider, "TIMEOUT_S", 0.3)
    page.provider.raw = {DISCOVERY: Raw(b"  ", pause_s=3.0)}
    with capture_logs() as logs:
        told(asyncio.run(page.browser.get("/sign-in")), logs, AWAY)
    assert "ReadTimeout" in logs[0]["error"]


NAMELESS = {
    "words": Raw(), "a list": said([]), "broken": Raw(status=500), "huge": HUGE, "not there": Raw(status=404),
    "a number": said({"sub": "person-1", "name": 7}),
}  # fmt: skip


@pytest.mark.parametrize("kind", NAMELESS)
def test_names_that_cannot_be_had_keep_nobody_out(page: Page, kind: str) -> None:
    page.provider.claims = lambda said: {key: value for key, value in said.items() if key != "name"}
    page.provider.metadata = {"userinfo_endpoint": f"{page.provider.url}/user-info"}
    page.provider.raw = {"/user-info": NAMELESS[kind]}
    assert asyncio.run(page.signed_in()).status_code == 303
    assert asyncio.run(shown(page)) == "the page of person-1"


OPTIONS_OF_OURS: dict[str, Any] = {
    "no PKCE": {"code_challenge_method": "plain"},
    "no secret": {"token_endpoint_auth_method": "none"},
    "another way of the flow": {"response_type": "token"},
    "another scope": {"scope": "everything"},
    "by way of another": {"proxy": "http://127.0.0.1:9"},
    "another client": {"client_id": "another", "client_secret": "x", "update_token": "x"},
    "no time-out": {"timeout": None, "event_hooks": {}, "max_redirects": 10**6},
}


@pytest.mark.parametrize("kind", OPTIONS_OF_OURS)
def test_what_the_provider_says_of_itself_changes_no_option_of_ours(page: Page, kind: str) -> None:
    page.provider.metadata = OPTIONS_OF_OURS[kind]

    async def story() -> None:
        sent = await page.browser.get("/sign-in")
        assert "code_challenge_method=S256" in sent.headers["location"]
        assert "response_type=code" in sent.headers["location"]
        assert "scope=openid+profile+email" in sent.headers["location"].replace("%20", "+")
        back = await page.come_back(page.provider.authorized(sent.headers["location"]))
        assert (back.status_code, back.headers["location"]) == (303, f"{PAGE}/")

    asyncio.run(story())


@pytest.mark.parametrize("path", [DISCOVERY, "/token", "/keys"])
def test_no_more_of_an_answer_is_read_than_fits(page: Page, path: str) -> None:
    async def story() -> None:
        brought = {} if path == DISCOVERY else await page.begun()
        page.provider.raw = {path: HUGE}
        with capture_logs() as logs:
            await (page.come_back(brought) if brought else page.browser.get("/sign-in"))
        assert f"{page.provider.url}{path}: found an answer of more than" in logs[0]["error"]

    asyncio.run(story())
