"""Patterns over ISA-95 paths: `acme/lyon/*` is everything below `acme/lyon`, `*` in the middle is one level.

`acme/*/press-07/*` matches any one level between; a pattern without `*` is exactly that path, or everything
below it when it names an equipment, a line or anything else above a tag.
"""

from __future__ import annotations

import re
from functools import lru_cache


@lru_cache(maxsize=1024)
def compiled(pattern: str) -> re.Pattern[str]:
    """A pattern as a regular expression over whole paths."""
    below = pattern.endswith("/*") or pattern == "*"
    stem = pattern[:-1] if below else pattern
    body = re.escape(stem).replace(r"\*", "[^/]*")
    return re.compile(body + (".*" if below else "(/.*)?"), re.DOTALL)


def matches(pattern: str, path: str) -> bool:
    """Whether a path is meant; an empty pattern means every path."""
    return not pattern or compiled(pattern).fullmatch(path) is not None


def literal_prefix(pattern: str) -> str:
    """What every match begins with: the index range to look in."""
    return pattern.split("*", 1)[0]
