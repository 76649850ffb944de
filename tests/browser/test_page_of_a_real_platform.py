"""The live page in front of a real platform with the simulated plant: what a newcomer sees after `make run`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.simulation.real_platform import Platform, free_port, running, small, until

WAIT_S = 120.0
TREND_PIXELS = """
const wide = [...document.querySelectorAll('canvas')].sort((a, b) => b.width * b.height - a.width * a.height)[0];
const seen = wide.getContext('2d').getImageData(0, 0, wide.width, wide.height).data;
let blue = new Set();
for (let i = 0; i < seen.length; i += 4)
  if ([59, 130, 246].every((part, at) => Math.abs(seen[i + at] - part) < 30) && seen[i + 3] > 128)
    blue.add((i / 4) % wide.width);
return blue.size;
"""
"""In how many columns of the largest chart its line is drawn."""


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory, browser: Any) -> Iterator[Platform]:
    """Started only where there is a browser."""
    settings = small(MILLRACE_DASHBOARD="true", MILLRACE_DASHBOARD_PORT=str(free_port()))
    with running(tmp_path_factory.mktemp("page"), settings, simulate=True) as platform:
        yield platform


def figure(browser: Any, title: str) -> str:
    """What a tile shows below its title."""
    lines = str(browser.execute_script("return document.body.innerText")).splitlines()
    return lines[lines.index(title) + 1] if title in lines else ""


def first_number(text: str) -> float:
    found = re.match(r"[\d,.]+", text)
    return float(found[0].replace(",", "")) if found else 0.0


@pytest.mark.long
@pytest.mark.requirement("S-18")
def test_the_page_shows_the_plants_rate_its_latency_and_a_trend(
    browser: Any, platform: Platform, tmp_path: Path
) -> None:
    token = Path(platform.endpoints["token_file"]).read_text().strip()
    browser.delete_all_cookies()
    until(
        lambda: opened(browser, f"{platform.endpoints['dashboard_url']}/?token={token}"), WAIT_S, "the page"
    )
    until(lambda: first_number(figure(browser, "Readings per second")) > 1_000, WAIT_S, "a rate")
    visible = until(
        lambda: re.match(r"(\d+) ms / (\d+) ms$", figure(browser, "Visible, p50 / p99")), WAIT_S, "a latency"
    )
    assert 0 < int(visible[1]) <= int(visible[2])
    until(
        lambda: re.match(r"\d+ ms / \d+ ms$", figure(browser, "Durable, p50 / p99")),
        WAIT_S,
        "a durable latency",
    )
    assert first_number(figure(browser, "Stored")) > 0
    assert figure(browser, "Rejected") == "0"
    until(lambda: browser.execute_script(TREND_PIXELS) > 20, WAIT_S, "a trend that is drawn")
    before = first_number(figure(browser, "Stored"))
    until(lambda: first_number(figure(browser, "Stored")) != before, WAIT_S, "figures that move")
    assert "does not answer" not in browser.execute_script("return document.body.innerText")
    browser.save_screenshot(str(tmp_path / "page.png"))


def opened(browser: Any, url: str) -> bool:
    """Whether the page is there; it needs no more than a moment longer than the API."""
    from selenium.common.exceptions import WebDriverException

    try:
        browser.get(url)
    except WebDriverException:
        return False
    return "Millrace" in browser.title
