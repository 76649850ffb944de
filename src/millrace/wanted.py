"""What a checker of values wanted, as we say it: `at least 1` for its `Input should be greater than or equal to 1`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

_WORDS: Final = {
    "greater_than_equal": "at least {ge}",
    "greater_than": "more than {gt}",
    "less_than_equal": "at most {le}",
    "less_than": "less than {lt}",
    "int_parsing": "a whole number",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_parsing": "a number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "string_type": "a text",
    "string_too_long": "at most {max_length} characters",
    "string_too_short": "at least {min_length} characters",
    "too_short": "a list of at least {min_length}",
    "too_long": "a list of at most {max_length}",
    "missing": "a value",
    "enum": "{expected}",
    "literal_error": "{expected}",
}
"""Kind of error -> our words for it, with what pydantic knows of the bound."""


def in_words(fault: Mapping[str, Any]) -> str:
    """One of pydantic's errors as the end of `found …, wanted`; its own words where we have none."""
    kind, known = fault["type"], fault.get("ctx") or {}
    if kind == "string_pattern_mismatch":
        return _alternatives(str(known["pattern"]))
    words = _WORDS.get(kind)
    return str(fault["msg"]) if words is None else words.format_map(known)


def _alternatives(pattern: str) -> str:
    """`one of a, b` for `^(a|b)$`, `digits alone` for `^\\d*$`; any other pattern as it stands."""
    if pattern == r"^\d*$":
        return "digits alone"
    inner = pattern.removeprefix("^(").removesuffix(")$")
    plain = inner != pattern and inner.replace("|", "").replace("_", "").isalnum()
    return f"one of {', '.join(inner.split('|'))}" if plain else f"text like {pattern}"
