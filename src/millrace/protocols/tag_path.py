"""What a tag's path may be, a source, a unit: the same rule at the door, in every decoder, in the producer."""

from __future__ import annotations

import re
from functools import lru_cache

from millrace.batch import SOURCE_LENGTH_MAX, TAG_LENGTH_MAX, Reason
from millrace.protocols.limits import UNIT_LENGTH_MAX

# Control characters would break logs and terminals; an empty, `.` or `..` segment would not survive a URL;
# `*` is the API's pattern character.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_NO_PATH = re.compile(r"(?:^|/)\.{0,2}(?:/|$)|\*|^\s|\s$")


@lru_cache(maxsize=65_536)
def tag_reason(tag: str) -> Reason:
    """OK, or why the text cannot be a tag: `bad_tag` or `tag_too_long`."""
    if len(tag) > TAG_LENGTH_MAX:
        return Reason.TAG_TOO_LONG
    try:
        size = len(tag.encode())
    except UnicodeEncodeError:  # a lone surrogate
        return Reason.BAD_TAG
    if size > TAG_LENGTH_MAX:
        return Reason.TAG_TOO_LONG
    if _CONTROL.search(tag) or _NO_PATH.search(tag):
        return Reason.BAD_TAG
    return Reason.OK


def source_ok(source: str) -> bool:
    """Whether the text can name a source: 1 to 128 bytes of UTF-8 without control characters."""
    return source != "" and _is_plain(source, SOURCE_LENGTH_MAX)


def unit_ok(unit: str) -> bool:
    """Whether the text can be a unit: at most 32 bytes of UTF-8 without control characters; empty: none said."""
    return _is_plain(unit, UNIT_LENGTH_MAX)


def _is_plain(text: str, bytes_max: int) -> bool:
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        return False
    return size <= bytes_max and not _CONTROL.search(text)
