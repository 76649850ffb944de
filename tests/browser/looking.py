"""What a person sees."""

from __future__ import annotations

from typing import Any


def text(browser: Any) -> str:
    return str(browser.execute_script("return document.body.innerText"))
