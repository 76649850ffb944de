"""A CSV asset model: one row a tag, the columns of `COLUMNS` in any order, `path` and `source` at least.

`states` and `detectors` are separated by `|`. `source_silence` and `source_description` say something of the
row's source; where several rows do, they must agree. An empty cell says nothing.
"""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterable
from typing import Any, Final

from millrace.assets.check import check_tag
from millrace.assets.duration import duration_us
from millrace.assets.fields import FIELDS
from millrace.assets.mistakes import Mistakes
from millrace.assets.tag import SourceModel, TagModel
from millrace.errors import nearest

COLUMNS: Final = ("path", *(key for key in FIELDS if key != "range"), "source_silence", "source_description")


class Sheet:
    """One pass over the rows; `tags` and `sources` hold what was understood."""

    def __init__(self, mistakes: Mistakes, detectors: Collection[str] | None) -> None:
        self.mistakes = mistakes
        self.tags: list[TagModel] = []
        self.sources: dict[str, SourceModel] = {}
        self._detectors = detectors
        self._lines: dict[str, int] = {}

    def document(self, lines: Iterable[str]) -> None:
        """Read header and rows."""
        reader = csv.reader(lines, strict=True)
        try:
            header = [cell.strip() for cell in next(reader, [])]
            if not self._header_fits(header):
                return
            for cells in reader:
                if cells:
                    self._row(header, cells, reader.line_num)
        except csv.Error as error:
            self.mistakes.add(reader.line_num, f"not CSV: {error}; correct the quotes")

    def _header_fits(self, header: list[str]) -> bool:
        fits = True
        for name in header:
            if name not in COLUMNS:
                wanted = f"one of {', '.join(COLUMNS)}{nearest(name, COLUMNS)}"
                self.mistakes.add(1, f"unknown column {name!r}, wanted {wanted}")
                fits = False
        for name in ("path", "source"):
            if name not in header:
                self.mistakes.add(1, f"no column {name!r}, wanted one; add it to the header")
                fits = False
        if len(set(header)) != len(header):
            self.mistakes.add(1, "a column stands twice in the header; keep one")
            fits = False
        return fits

    def _row(self, header: list[str], cells: list[str], line: int) -> None:
        if len(cells) != len(header):
            self.mistakes.add(
                line, f"{len(cells)} cells, wanted {len(header)} as in the header; mind the commas"
            )
            return
        row = {name: cell for name, cell in zip(header, cells, strict=True) if cell != ""}
        path = row.pop("path", "").strip()
        self._tag(path, self._attributes(row, line), line)
        self._source(row, line)

    def _attributes(self, row: dict[str, str], line: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, text in row.items():
            field = FIELDS.get(key)
            if field is None:
                continue
            try:
                found.update(zip(field.attributes, field.parse(text), strict=True))
            except ValueError as error:
                self.mistakes.add(line, f"{key}: found {text!r}, wanted {error}")
        return found

    def _tag(self, path: str, attributes: dict[str, Any], line: int) -> None:
        first = self._lines.setdefault(path, line)
        if first != line:
            self.mistakes.add(
                line, f"path {path!r} a second time, first at line {first}; rename or remove one"
            )
            return
        tag = TagModel(**{"source": "", **attributes, "path": path})
        for mistake in check_tag(tag, self._detectors):
            self.mistakes.add(line, f"{path}: {mistake}")
        self.tags.append(tag)

    def _source(self, row: dict[str, str], line: int) -> None:
        name = row.get("source", "").strip()
        try:
            silence_us = duration_us(row.get("source_silence", "0"))
        except ValueError as error:
            self.mistakes.add(line, f"source_silence: found {row['source_silence']!r}, wanted {error}")
            return
        said = SourceModel(
            name=name, silence_us=silence_us, description=row.get("source_description", "").strip()
        )
        known = self.sources.setdefault(name, said)
        nothing = not silence_us and not said.description
        if known == said or nothing:
            return
        if known.silence_us or known.description:
            self.mistakes.add(line, f"source {name!r} is described otherwise in a row above; say it once")
        self.sources[name] = said
