"""What a person sees, and waiting until they do."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

WAIT_S = 40.0


def wait_for(check: Callable[[], Any], what: str, timeout_s: float = WAIT_S) -> Any:
    until_s = time.monotonic() + timeout_s
    while time.monotonic() < until_s:
        found = check()
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError(f"{what}: not within {timeout_s} s")


def text(browser: Any) -> str:
    return str(browser.execute_script("return document.body.innerText"))
