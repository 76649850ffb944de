"""What the generator says when the service's document holds something that API Gateway cannot be told."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from millrace.errors import SettingError


class CannotExpress(SettingError):
    """Names the place in the document, what is there and what would do instead."""


def only(where: str, found: Mapping[str, Any], *, handled: Collection[str]) -> None:
    """Refuse keys that nobody handles: a constraint that is lost without a word is a hole in the edge."""
    unknown = sorted(set(found) - set(handled))
    if unknown:
        raise CannotExpress(f"{where}/{unknown[0]}", got=found[unknown[0]], want=f"one of {sorted(handled)}")
