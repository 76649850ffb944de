"""A YAML file as mappings that remember their lines: 100,000 tags in seconds, and nothing a file can blow up.

Anchors, aliases and tags are refused: templates do their work here, and an alias can be a bomb.
"""

from __future__ import annotations

from typing import Any, Final

import yaml

DEPTH_MAX: Final = 40


class Section:
    """A mapping: values by key, the line of each key (1-based), the line where it begins.

    A value is a Section, a text, a list of texts, or None where the file says nothing or `null`.
    """

    __slots__ = ("line", "lines", "values")

    def __init__(self, line: int) -> None:
        self.line = line
        self.values: dict[str, Section | str | list[str] | None] = {}
        self.lines: dict[str, int] = {}


class DocumentError(Exception):
    """The file is not a document of this form; `line` is 1-based."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


def read(text: str) -> Section:
    """The document's top mapping; DocumentError says where it stops being one."""
    try:
        return _Reader(text).top()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise DocumentError(line, f"not YAML: {error.problem or error.context}; correct the line") from None
    except yaml.YAMLError as error:
        raise DocumentError(1, f"not YAML: {error}") from None


class _Reader:
    def __init__(self, text: str) -> None:
        self._events = yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))

    def _next(self) -> Any:
        event = next(self._events)
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            raise DocumentError(_line(event), "an anchor or alias, which is not read; use `templates`")
        return event

    def top(self) -> Section:
        for event in iter(self._next, None):
            if isinstance(event, yaml.MappingStartEvent):
                section = self._section(event, depth=1)
                self._end()
                return section
            if isinstance(event, yaml.ScalarEvent | yaml.SequenceStartEvent):
                raise DocumentError(_line(event), "not a mapping; wanted `enterprises:` at the top")
            if isinstance(event, yaml.StreamEndEvent):
                break
        raise DocumentError(1, "an empty file; wanted `enterprises:` at the top")

    def _end(self) -> None:
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                raise DocumentError(_line(event), "a second document; wanted one")

    def _section(self, start: Any, depth: int) -> Section:
        if depth > DEPTH_MAX:
            raise DocumentError(_line(start), f"nested deeper than {DEPTH_MAX} levels; no asset model is")
        section = Section(_line(start))
        values, lines = section.values, section.lines
        while True:
            key_event = self._next()
            if isinstance(key_event, yaml.MappingEndEvent):
                return section
            key = getattr(key_event, "value", None)
            if key is None:
                raise DocumentError(_line(key_event), "a key that is not a plain text; wanted a name")
            line = _line(key_event)
            if key in values:
                raise DocumentError(line, f"{key!r} a second time, first at line {lines[key]}; keep one")
            values[key] = self._value(self._next(), depth)
            lines[key] = line

    def _value(self, event: Any, depth: int) -> Section | str | list[str] | None:
        if isinstance(event, yaml.ScalarEvent):
            plain = event.style is None or event.style == ""
            return None if plain and event.value in ("", "~", "null") else str(event.value)
        if isinstance(event, yaml.MappingStartEvent):
            return self._section(event, depth + 1)
        return self._texts()

    def _texts(self) -> list[str]:
        texts: list[str] = []
        while not isinstance(event := self._next(), yaml.SequenceEndEvent):
            if not isinstance(event, yaml.ScalarEvent):
                raise DocumentError(_line(event), "a list of something else than plain values; wanted texts")
            texts.append(str(event.value))
        return texts


def _line(event: Any) -> int:
    return int(event.start_mark.line) + 1
