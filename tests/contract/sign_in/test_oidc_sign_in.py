"""Signing in to the page with an identity provider: who is let in, who is not, and what each is told."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx2
import pytest

from millrace.dashboard.sign_in.oidc import PROVIDER_KEPT_S
from millrace.dashboard.sign_in.session import SESSION_S
from tests.contract.sign_in.provider import CLIENT_ID, CLIENT_SECRET, OWN, other_key, shared_secret
from tests.contract.sign_in.visited_page import COOKIE, PAGE, WAITING, Page, refused, shown

pytestmark = pytest.mark.requirement("S-18")


def test_a_person_is_sent_to_the_provider_and_comes_back_to_the_page_they_wanted(page: Page) -> None:
    async def story() -> None:
        back = await page.come_back(await page.begun("/?tag=acme/press-07"))
        assert (back.status_code, back.headers["location"]) == (303, f"{PAGE}/?tag=acme/press-07")
        shown = await page.browser.get("/?tag=acme/press-07")
        assert shown.text == "the page of Ada Lovelace"

    asyncio.run(story())


def test_what_the_provider_is_asked_is_an_authorization_code_with_pkce_state_and_nonce(page: Page) -> None:
    async def story() -> None:
        sent = await page.browser.get("/sign-in")
        asked = dict(parse_qsl(urlsplit(sent.headers["location"]).query))
        assert sent.headers["location"].startswith(f"{page.provider.url}/authorize?")
        assert (asked["response_type"], asked["client_id"]) == ("code", CLIENT_ID)
        assert asked["redirect_uri"] == f"{PAGE}/sign-in/back"
        assert asked["code_challenge_method"] == "S256"
        assert set(asked["scope"].split()) == {"openid", "profile", "email"}
        assert min(len(asked["state"]), len(asked["nonce"]), len(asked["code_challenge"])) >= 20
        assert CLIENT_SECRET not in sent.headers["location"] + str(sent.headers)

    asyncio.run(story())


def test_the_cookies_are_for_this_host_over_tls_and_no_script_reads_them(page: Page) -> None:
    async def story() -> None:
        begun = await page.browser.get("/sign-in")
        back = await page.come_back(page.provider.authorized(begun.headers["location"]))
        for response, name in ((begun, WAITING), (back, COOKIE)):
            said = cookie_set(response, name)
            words = {word.strip().lower() for word in said.split(";")[1:]}
            assert {"secure", "httponly", "samesite=lax", "path=/"} <= words
            assert not any(word.startswith("domain") for word in words)
            assert CLIENT_SECRET not in said

    asyncio.run(story())


def test_a_person_without_a_session_sees_nothing_of_the_page(page: Page) -> None:
    async def story() -> None:
        for path in ("/", "/_nicegui/anything.js", "/sign-in/other", "/sign-in/back/"):
            answer = await page.browser.get(path)
            assert (answer.status_code, answer.headers["location"].partition("?")[0]) == (
                303,
                f"{PAGE}/sign-in",
            )
            assert (await page.browser.get(path, headers={"Accept": "*/*"})).status_code == 401
            assert (await page.browser.post(path)).status_code == 401
        assert (await page.browser.get("/?token=anything")).status_code == 303
        assert page.seen == []

    asyncio.run(story())


def test_a_web_socket_without_a_session_is_closed(page: Page) -> None:
    async def story() -> list[dict[str, Any]]:
        sent: list[dict[str, Any]] = []

        async def send(message: Any) -> None:
            sent.append(dict(message))

        async def receive() -> Any:
            return {"type": "websocket.connect"}

        scope = {"type": "websocket", "path": "/_nicegui_ws/socket.io/", "headers": [], "query_string": b""}
        await page.gate(scope, receive, send)
        return sent

    assert asyncio.run(story()) == [{"type": "websocket.close", "code": 4401}]
    assert page.seen == []


LIES: dict[str, Any] = {
    "another issuer": lambda said: said | {"iss": "https://elsewhere.example.com"},
    "another audience": lambda said: said | {"aud": "another-client"},
    "an audience that we are not in": lambda said: said | {"aud": ["a", "b"], "azp": CLIENT_ID},
    "over since an hour": lambda said: said | {"iat": said["iat"] - 7200, "exp": said["exp"] - 7200},
    "another nonce": lambda said: said | {"nonce": "of-another-sign-in"},
    "no nonce": lambda said: {key: value for key, value in said.items() if key != "nonce"},
    "nobody": lambda said: {key: value for key, value in said.items() if key != "sub"},
    "an empty subject": lambda said: said | {"sub": ""},
    "no end": lambda said: {key: value for key, value in said.items() if key != "exp"},
    "of the future": lambda said: said | {"iat": said["iat"] + 7200, "exp": said["exp"] + 7200},
}


@pytest.mark.parametrize("lie", LIES)
def test_an_id_token_that_is_not_meant_for_this_sign_in_lets_nobody_in(page: Page, lie: str) -> None:
    page.provider.claims = LIES[lie]
    refused(page, 502, "not valid")


@pytest.mark.parametrize(("apart_s", "status"), [(-90, 303), (90, 303), (-150, 502), (150, 502)])
def test_clocks_may_differ_by_two_minutes(page: Page, apart_s: int, status: int) -> None:
    """A token that ends at once, of a provider whose clock is so far before or behind ours."""
    page.provider.claims = lambda said: said | {
        "iat": said["iat"] + apart_s, "nbf": said["iat"] + apart_s, "exp": said["iat"] + apart_s + 1,
    }  # fmt: skip
    assert asyncio.run(page.signed_in()).status_code == status


@pytest.mark.parametrize(
    ("algorithm", "key"),
    [("none", None), ("HS256", shared_secret()), ("RS256", other_key(OWN)), ("RS256", other_key("unknown"))],
    ids=["unsigned", "signed with the secret", "signed by another", "signed by an unknown key"],
)
def test_an_id_token_that_the_provider_did_not_sign_lets_nobody_in(
    page: Page, algorithm: str, key: Any
) -> None:
    """Although its own metadata offers these kinds."""
    page.provider.sign_as, page.provider.with_key = algorithm, key
    refused(page, 502, "not valid")


def test_an_answer_without_an_id_token_lets_nobody_in(page: Page) -> None:
    page.provider.token = {"id_token": None}
    refused(page, 502, "not valid")


def test_an_issuer_that_calls_itself_another_is_not_believed(page: Page) -> None:
    page.provider.metadata = {"issuer": "https://elsewhere.example.com"}

    async def story() -> None:
        answer = await page.browser.get("/sign-in")
        assert answer.status_code == 502
        assert "not valid" in answer.text

    asyncio.run(story())


def test_a_provider_that_is_away_is_said_and_the_next_try_finds_it(page: Page) -> None:
    async def story() -> None:
        page.provider.down = True
        answer = await page.browser.get("/sign-in")
        assert (answer.status_code, "does not answer" in answer.text) == (503, True)
        page.provider.down = False
        assert (await page.signed_in()).status_code == 303

    asyncio.run(story())


def test_a_provider_that_is_nowhere_is_said(page: Page) -> None:
    page.provider.server.shutdown()
    page.provider.server.server_close()

    async def story() -> None:
        answer = await page.browser.get("/sign-in")
        assert (answer.status_code, "does not answer" in answer.text) == (503, True)

    asyncio.run(story())


def test_who_the_provider_refuses_is_told_why_in_its_words_as_text(page: Page) -> None:
    async def story() -> None:
        brought = await page.begun()
        answer = await page.come_back(
            {
                "error": "access_denied",
                "error_description": "<b>not</b> of this plant",
                "state": brought["state"],
            }
        )
        assert answer.status_code == 403
        assert "&lt;b&gt;not&lt;/b&gt; of this plant" in answer.text
        assert "<b>" not in answer.text

    asyncio.run(story())


def test_the_words_of_a_refusal_have_an_end(page: Page) -> None:
    async def story() -> None:
        brought = await page.begun()
        words = {"error": "x", "error_description": "word " * 1_000, "state": brought["state"]}
        answer = await page.come_back(words)
        assert (answer.status_code, "word " * 20 in answer.text, "word " * 70 in answer.text) == (
            403,
            True,
            False,
        )

    asyncio.run(story())


def test_a_code_that_another_browser_brings_lets_nobody_in(page: Page) -> None:
    """A link with somebody else's code would sign a person in as that one."""

    async def story() -> None:
        brought = await page.begun()
        answer = await page.other_browser().get("/sign-in/back", params=brought)
        assert (answer.status_code, "set-cookie" in answer.headers) == (403, False)
        again = await page.come_back(brought | {"state": "made-up"})
        assert again.status_code == 403

    asyncio.run(story())


def test_a_code_is_taken_once(page: Page) -> None:
    async def story() -> None:
        brought = await page.begun()
        assert (await page.come_back(brought)).status_code == 303
        assert WAITING not in page.browser.cookies
        assert (await page.come_back(brought)).status_code == 403
        assert len(page.provider.asked) == 1

    asyncio.run(story())


ELSEWHERE = (
    "//elsewhere.example.com",
    "https://elsewhere.example.com",
    "/\\elsewhere.example.com",
    "/a\nb",
    "/" + "x" * 600,
)


@pytest.mark.parametrize("there", ELSEWHERE)
def test_nobody_is_led_elsewhere_after_signing_in(page: Page, there: str) -> None:
    async def story() -> None:
        sent = await page.browser.get("/sign-in", params={"wanted": there})
        back = await page.come_back(page.provider.authorized(sent.headers["location"]))
        assert back.headers["location"] == f"{PAGE}/"

    asyncio.run(story())


def test_a_session_ends_after_its_time_and_with_another_secret(page: Page) -> None:
    async def story() -> None:
        await page.signed_in()
        page.now_s += SESSION_S - 1
        assert (await page.browser.get("/")).status_code == 200
        page.secret = "the-next-secret"
        assert (await page.browser.get("/")).status_code == 303
        page.secret = CLIENT_SECRET
        page.now_s += 2
        assert (await page.browser.get("/")).status_code == 303

    asyncio.run(story())


def test_a_secret_that_was_exchanged_is_used_from_then_on(page: Page) -> None:
    async def story() -> None:
        page.secret = "an-older-secret"
        answer = await page.signed_in()
        assert (answer.status_code, "invalid_client" in answer.text) == (403, True)
        page.secret = CLIENT_SECRET
        assert (await page.signed_in()).status_code == 303

    asyncio.run(story())


CHANGES: dict[str, Any] = {
    "another mac": lambda expiry, who, mac: (expiry, who, "0" * len(mac)),
    "a later end": lambda expiry, who, mac: ("9" + expiry, who, mac),
    "another person": lambda expiry, who, mac: (expiry, "QWRtaW4=", mac),
    "one part more": lambda *parts: (*parts, "x"),
    "one part": lambda *parts: ("".join(parts),),
    "no number": lambda expiry, who, mac: ("x", who, mac),
    "letters of no alphabet": lambda expiry, who, mac: (expiry, who, "\xe9" * len(mac)),
    "nothing": lambda *parts: (),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_cookie_that_somebody_changed_is_none(page: Page, change: str) -> None:
    async def story() -> None:
        await page.signed_in()
        made = page.browser.cookies[COOKIE].strip('"').split(".")
        said = f"{COOKIE}={'.'.join(CHANGES[change](*made))}".encode("latin-1")
        answer = await page.other_browser().get("/", headers=[(b"Cookie", said), (b"Accept", b"text/html")])
        assert answer.status_code == 303

    asyncio.run(story())


def test_names_that_the_id_token_leaves_out_are_asked_for(page: Page) -> None:
    page.provider.claims = lambda said: {key: value for key, value in said.items() if key != "name"}
    page.provider.metadata = {"userinfo_endpoint": f"{page.provider.url}/user-info"}
    page.provider.user_info = {"sub": "person-1", "email": "ada@example.org"}
    asyncio.run(page.signed_in())
    assert asyncio.run(shown(page)) == "the page of ada@example.org"


def test_names_of_another_person_are_not_taken(page: Page) -> None:
    page.provider.claims = lambda said: {key: value for key, value in said.items() if key != "name"}
    page.provider.metadata = {"userinfo_endpoint": f"{page.provider.url}/user-info"}
    page.provider.user_info = {"sub": "person-2", "name": "Somebody Else"}
    asyncio.run(page.signed_in())
    assert asyncio.run(shown(page)) == "the page of person-1"


def test_a_provider_that_takes_its_secret_in_the_form_alone_is_given_it_there(page: Page) -> None:
    page.provider.metadata = {"token_endpoint_auth_methods_supported": ["client_secret_post"]}
    asyncio.run(page.signed_in())
    assert asyncio.run(shown(page)) == "the page of Ada Lovelace"
    [(_, form)] = page.provider.asked
    assert form["client_secret"] == CLIENT_SECRET


def test_keys_that_the_provider_exchanged_are_fetched_again(page: Page) -> None:
    async def story() -> None:
        assert (await page.signed_in()).status_code == 303
        page.provider.key = other_key("second")
        assert (await page.signed_in()).status_code == 303

    asyncio.run(story())


def test_a_provider_that_moved_is_found_within_the_hour(page: Page) -> None:
    async def story() -> None:
        async def place() -> str:
            return (await page.browser.get("/sign-in")).headers["location"].partition("?")[0]

        assert await place() == f"{page.provider.url}/authorize"
        page.provider.metadata = {"authorization_endpoint": f"{page.provider.url}/elsewhere"}
        assert await place() == f"{page.provider.url}/authorize"  # asked once, not for each person
        page.now_s += PROVIDER_KEPT_S
        assert await place() == f"{page.provider.url}/elsewhere"

    asyncio.run(story())


def test_who_signs_out_is_out_here_and_at_the_provider(page: Page) -> None:
    page.provider.metadata = {"end_session_endpoint": f"{page.provider.url}/leave"}

    async def story() -> None:
        await page.signed_in()
        left = await page.browser.get("/sign-out")
        asked = dict(parse_qsl(urlsplit(left.headers["location"]).query))
        assert left.headers["location"].startswith(f"{page.provider.url}/leave?")
        assert (asked["post_logout_redirect_uri"], asked["client_id"]) == (f"{PAGE}/signed-out", CLIENT_ID)
        assert (await page.browser.get("/")).status_code == 303
        assert "signed out" in (await page.browser.get("/signed-out")).text

    asyncio.run(story())


@pytest.mark.parametrize("down", [False, True])
def test_who_signs_out_is_out_here_whatever_the_provider_says(page: Page, down: bool) -> None:
    async def story() -> None:
        await page.signed_in()
        page.provider.down = down
        page.now_s += 3_600  # what was known of the provider is asked for again
        left = await page.browser.get("/sign-out")
        assert (left.status_code, left.headers["location"]) == (303, "/signed-out")
        assert (await page.browser.get("/")).status_code == 303

    asyncio.run(story())


def cookie_set(response: httpx2.Response, name: str) -> str:
    """The header that gives a cookie a value."""
    headers = response.headers.get_list("set-cookie")
    [said] = [one for one in headers if one.startswith(f"{name}=") and not one.startswith(f"{name}=null")]
    return said


def test_one_of_several_audiences_is_enough(page: Page) -> None:
    page.provider.claims = lambda said: said | {"aud": ["the-plant", CLIENT_ID], "azp": CLIENT_ID}
    asyncio.run(page.signed_in())
    assert asyncio.run(shown(page)) == "the page of Ada Lovelace"
