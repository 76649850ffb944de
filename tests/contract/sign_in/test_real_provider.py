"""The page's own process and a real identity provider, Canaille, each over HTTP: what a person's browser would do."""

from __future__ import annotations

import re
from urllib.parse import urljoin

import httpx2
import pytest

from tests.contract.sign_in.canaille_server import CLIENT_SECRET, NAME, PASSWORD, PERSON
from tests.contract.sign_in.processes import Places

pytestmark = pytest.mark.requirement("S-18")


def submitted(browser: httpx2.Client, answer: httpx2.Response, fields: dict[str, str]) -> httpx2.Response:
    """A form as a browser sends it: the hidden fields, the person's, the button."""
    form = re.search(r"<form[^>]*method=\"post\".*?</form>", answer.text, re.DOTALL | re.IGNORECASE)
    assert form, answer.text[:500]
    action = re.search(r"<form[^>]*action=\"([^\"]*)\"", form[0])
    hidden = dict(re.findall(r"name=\"([^\"]+)\"[^>]*type=\"hidden\"[^>]*value=\"([^\"]*)\"", form[0]))
    hidden |= dict(re.findall(r"type=\"hidden\"[^>]*name=\"([^\"]+)\"[^>]*value=\"([^\"]*)\"", form[0]))
    return browser.post(urljoin(str(answer.url), action[1] if action else ""), data=hidden | fields)


def test_a_person_signs_in_with_their_password_there_and_sees_the_page(places: Places) -> None:
    with httpx2.Client(headers={"Accept": "text/html"}, follow_redirects=True, timeout=30) as browser:
        asked = browser.get(places.page_url)
        assert str(asked.url).startswith(places.provider_url)
        there = submitted(browser, asked, {"login": PERSON})
        shown = submitted(browser, there, {"password": PASSWORD})
        assert str(shown.url) == f"{places.page_url}/", shown.text[:2000]
        assert NAME in shown.text
        left = submitted(browser, browser.get(f"{places.page_url}/sign-out"), {"answer": "logout"})
        assert str(left.url).startswith(f"{places.page_url}/signed-out")
        assert str(browser.get(places.page_url).url).startswith(places.provider_url)
    assert CLIENT_SECRET not in places.page_log.read_text()


def test_a_wrong_password_leads_nowhere(places: Places) -> None:
    with httpx2.Client(headers={"Accept": "text/html"}, follow_redirects=True, timeout=30) as browser:
        there = submitted(browser, browser.get(places.page_url), {"login": PERSON})
        answer = submitted(browser, there, {"password": "another"})
        assert str(answer.url).startswith(places.provider_url)
        assert str(browser.get(places.page_url).url).startswith(places.provider_url)
