"""Text as PostgreSQL takes it: no NUL, valid UTF-8."""

from __future__ import annotations


def storable(text: str) -> str:
    """The same text wherever PostgreSQL can hold it; NUL and lone surrogates become U+FFFD."""
    try:
        text.encode()
    except UnicodeEncodeError:
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text.replace("\0", "\ufffd") if "\0" in text else text
