"""A secret that holds two values, {"current": …, "previous": …}: both are accepted, the first one is given out.

The previous value is good for as long as the next one is current: a whole rhythm of the rotation.
"""

from __future__ import annotations

import json
import secrets
from typing import Any, Final

from millrace_rotation.stages import RotationRefused

RANDOM_BYTES: Final = 48
"""64 characters: more than the 32 bytes of HMAC-SHA256's key, less than the 128 characters of an API key."""


def current_of(text: str) -> str:
    """The value that is given out. A secret that nobody rotated yet may hold any text, or a JSON without it."""
    content = _content(text)
    return str(content.get("current", "")) if content is not None else text.strip()


def previous_of(text: str) -> str:
    return str((_content(text) or {}).get("previous", ""))


def next_pair(text: str) -> str:
    """A new value, and the one that it follows."""
    pair = {"current": secrets.token_urlsafe(RANDOM_BYTES), "previous": current_of(text)}
    return json.dumps({**(_content(text) or {}), **pair})


def check_follows(pending: str, current: str) -> None:
    """Refuse a pair that would cut off who uses the current value now."""
    if len(current_of(pending)) < RANDOM_BYTES or current_of(pending) == current_of(current):
        raise RotationRefused("the pending value is no new one")
    if previous_of(pending) != current_of(current):
        raise RotationRefused(
            "the secret was changed since this rotation began: its pending value does not keep what is current. "
            "Take AWSPENDING away from that version, and rotate again"
        )


def _content(text: str) -> dict[str, Any] | None:
    try:
        content = json.loads(text)
    except ValueError:
        return None
    return content if isinstance(content, dict) else None
