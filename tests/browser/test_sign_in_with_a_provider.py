"""A person signs in with a real identity provider in a real browser, and out again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.browser.looking import text
from tests.contract.sign_in.canaille_server import NAME, PASSWORD, PERSON
from tests.contract.sign_in.processes import Places, page_and_provider
from tests.waiting import wait_for


@pytest.fixture(scope="module")
def places(browser: Any, api: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Places]:
    """Started only where there is a browser."""
    api_url = f"http://127.0.0.1:{api.server.server_port}"
    with page_and_provider(
        tmp_path_factory.mktemp("sign-in"), api_url=api_url, api_token=api.token
    ) as places:
        yield places


def type_in(browser: Any, field: str, value: str) -> None:
    """And send the form, as Enter does."""
    [found] = wait_for(lambda: browser.find_elements("name", field), f"the field {field}")
    found.send_keys(value + "\n")


@pytest.mark.requirement("S-18")
def test_a_person_comes_in_by_name_watches_and_leaves(browser: Any, places: Places) -> None:
    browser.get(places.page_url)
    type_in(browser, "login", PERSON)
    type_in(browser, "password", PASSWORD)
    wait_for(lambda: browser.current_url == f"{places.page_url}/", "the page")
    wait_for(
        lambda: "9,876" in text(browser) or "9,877" in text(browser),
        "the figures, which come over a web socket",
    )
    assert NAME in text(browser)
    browser.find_element("link text", "Sign out").click()
    wait_for(lambda: browser.find_elements("id", "logout"), "the provider asks")[0].click()
    wait_for(lambda: "You are signed out." in text(browser), "the end")
    browser.get(places.page_url)
    wait_for(lambda: browser.current_url.startswith(places.provider_url), "the provider again")
