"""What pydantic found wrong in a settings file, in the words of who writes the file: the first thing to mend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from millrace.errors import SettingError, nearest
from millrace.wanted import in_words
from millrace_infra.settings.section import Impossible, Section

_KINDS: Final = {
    "string_type": "a string, in quotes",
    "tuple_type": "a list, [one, another]",
    "model_type": "a mapping, {key: value}",
}
"""pydantic's kind of error -> what is wanted in a YAML file, where Python's own words (a tuple) are no help."""


def mistake(error: ValidationError, settings: type[BaseModel], file: str) -> SettingError:
    """The first one; an unknown key before all others, because a misspelt one is also a missing one."""
    found = error.errors(include_url=False)
    first = next((one for one in found if one["type"] == "extra_forbidden"), found[0])
    where, got, want = _said(first, settings)
    return SettingError(f"{file} {'.'.join(where)}".strip(), got=got, want=want)


def _said(one: ErrorDetails, settings: type[BaseModel]) -> tuple[Sequence[str], object, str]:
    where = [str(part) for part in one["loc"]]
    cause = one.get("ctx", {}).get("error")
    if isinstance(cause, Impossible):
        return [*where, cause.key] if cause.key else where, cause.got, cause.want
    if one["type"] == "missing":
        return where, "nothing", "a value: this key has no default"
    got = "a mapping" if isinstance(one["input"], Mapping | Section) else one["input"]
    if one["type"] == "extra_forbidden":
        known = _keys(settings, where[:-1])
        return (
            where,
            got,
            f"no key of that name{nearest(where[-1], known) or '; known are ' + ', '.join(known)}",
        )
    return where, got, _KINDS.get(one["type"]) or in_words(one)


def _keys(section: Any, path: Sequence[str]) -> list[str]:
    """What may stand in that part of the file."""
    for part in path:
        section = section.model_fields[part].annotation
    return list(section.model_fields)
