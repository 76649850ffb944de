"""The live page as a person meets it, in a real browser."""

from __future__ import annotations

from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from tests.browser.looking import text
from tests.waiting import wait_for

TOKEN = "token-of-the-browser-tests"


def sign_in(browser: Any, page_url: str) -> None:
    browser.delete_all_cookies()
    browser.get(f"{page_url}/?token={TOKEN}")
    wait_for(lambda: "9,876" in text(browser) or "9,877" in text(browser), "the figures")


def test_without_the_token_nothing_is_shown(page_url: str) -> None:
    for path in ("/", "/?token=wrong", "/_nicegui/anything.js"):
        with pytest.raises(HTTPError) as refused:
            urlopen(page_url + path, timeout=60)
        assert refused.value.code == 401
        assert "readings" not in refused.value.read().decode().lower()


@pytest.mark.requirement("S-18")
def test_the_token_leaves_the_address_bar_and_the_figures_come(browser: Any, page_url: str) -> None:
    sign_in(browser, page_url)
    assert browser.current_url == page_url + "/"
    for figure in ("42 ms", "41 ms / 187 ms", "120 ms / –", "1.23 M", "321", "1.50 GB", "31 h left"):
        wait_for(lambda figure=figure: figure in text(browser), figure)
    [cookie] = browser.get_cookies()
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Lax")
    assert TOKEN not in cookie["value"]
    assert TOKEN not in browser.page_source


def test_anomalies_rejects_and_a_trend_are_there(browser: Any, page_url: str) -> None:
    sign_in(browser, page_url)
    wait_for(lambda: "line-2/press-07/spindle-temp" in text(browser), "the anomaly")
    for word in ("ewma", "2.50 ×", "time too old", "300"):
        wait_for(lambda word=word: word in text(browser), word)
    drawn = "return [...document.querySelectorAll('canvas')].filter(c => c.width > 100).length"
    wait_for(lambda: browser.execute_script(drawn) >= 3, "three charts are drawn")


def test_it_fits_a_small_screen_and_asks_no_other_host(browser: Any, page_url: str) -> None:
    sign_in(browser, page_url)
    size = browser.execute_script(
        "return [document.documentElement.scrollWidth, document.documentElement.scrollHeight]"
    )
    assert size[0] <= 1280
    assert size[1] <= 800
    asked = browser.execute_script("return performance.getEntriesByType('resource').map(r => r.name)")
    assert [url for url in asked if not url.startswith(page_url)] == []
    problems = [line["message"] for line in browser.get_log("browser") if line["level"] == "SEVERE"]
    assert [problem for problem in problems if "401" not in problem] == []


def test_on_a_phone_nothing_is_cut_off_at_the_side(browser: Any, page_url: str) -> None:
    phone = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    desk = {"width": 1280, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
    try:
        sign_in(browser, page_url)
        wait_for(lambda: "line-2/press-07/spindle-temp" in text(browser), "the anomaly")
        outside = (
            "return [...document.querySelectorAll('.card, .card *')].filter(e => "
            "e.getBoundingClientRect().right > 391).map(e => e.outerHTML.slice(0, 80))"
        )
        assert browser.execute_script(outside) == []
        assert browser.execute_script("return document.documentElement.scrollWidth") <= 390
    finally:
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", desk)


def test_a_platform_that_does_not_answer_is_said(browser: Any, page_url: str, api: Any) -> None:
    sign_in(browser, page_url)
    api.broken = True
    try:
        wait_for(lambda: "does not answer" in text(browser), "the trouble")
    finally:
        api.broken = False
    wait_for(lambda: "running for" in text(browser), "it goes on by itself")


def test_an_ingest_that_has_stopped_is_said_with_its_reason(browser: Any, page_url: str, api: Any) -> None:
    sign_in(browser, page_url)
    api.closed = {"reason": "disk_nearly_full", "detail": "the data folder holds 21.50 GB"}
    try:
        wait_for(lambda: "ingest has stopped: the data folder holds 21.50 GB" in text(browser), "the reason")
    finally:
        api.closed = None
    wait_for(lambda: "running for" in text(browser), "it goes on by itself")


def test_a_wrong_token_shows_the_form_again(browser: Any, page_url: str) -> None:
    browser.delete_all_cookies()
    browser.get(f"{page_url}/?token=wrong")
    assert "That is not the token." in text(browser)


def test_a_tag_is_found_by_a_part_of_its_name(browser: Any, page_url: str) -> None:
    sign_in(browser, page_url)
    field = wait_for(lambda: browser.find_elements("css selector", "input[aria-label=Tag]"), "the picker")[0]
    wait_for(lambda: "press-07" in str(field.get_attribute("value")), "the first tag is chosen")
    field.click()
    field.send_keys("08 spindle")
    found = "return [...document.querySelectorAll('.q-menu .q-item')].map(i => i.innerText)"
    options = wait_for(lambda: browser.execute_script(found), "options")
    wait_for(lambda: "press-08" in str(browser.execute_script(found)), f"press-08 among {options}")
    script = "[...document.querySelectorAll('.q-menu .q-item')].find(i => i.innerText.includes('08')).click()"
    browser.execute_script(script)
    wait_for(lambda: "press-08" in str(field.get_attribute("value")), "the other tag is chosen")
