"""What every part of an environment's settings file obeys: unknown keys are refused, nothing changes once read."""

from __future__ import annotations

import re

from pydantic import AfterValidator, BaseModel, ConfigDict


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Impossible(ValueError):
    """A value that cannot be. `key`: which one it is, where a rule is about several."""

    def __init__(self, got: object, want: str, *, key: str = "") -> None:
        super().__init__(f"found {got!r}, wanted {want}")
        self.got, self.want, self.key = got, want, key


def shaped(pattern: str, want: str) -> AfterValidator:
    """A string of that shape: whoever writes the file is told `want`, and not a regular expression."""

    def check(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise Impossible(text, want)
        return text

    return AfterValidator(check)


def each_once(values: tuple[str, ...], noun: str) -> tuple[str, ...]:
    """The list itself, or Impossible with what is in it twice: AWS makes no rule and no subscription a second time."""
    for value in values:
        if values.count(value) > 1:
            raise Impossible(value, f"each {noun} once")
    return values
