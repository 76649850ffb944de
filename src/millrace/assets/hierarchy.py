"""A YAML asset model: the ISA-95 hierarchy with inheritance and equipment templates, walked into tags.

    templates: {<name>: {criticality, class, period, tags: {<tag>: {…}}}}
    sources:   {<name>: {silence, description}}
    enterprises: <name>: sites: <name>: areas: <name>: lines: <name>: equipment: <name>: {template, tags}

`source`, `criticality`, `class`, `period` may stand at every level and hold for all below; the nearest wins:
tag here > equipment here > template's tag > template > line > area > site > enterprise.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, Final

from millrace.assets.check import check_tag
from millrace.assets.document import Section
from millrace.assets.fields import FIELDS, INHERITED
from millrace.assets.mistakes import Mistakes
from millrace.assets.tag import SourceModel, TagModel
from millrace.errors import nearest

_LEVELS: Final = ("enterprises", "sites", "areas", "lines", "equipment", "tags")
_LEVEL_KEYS: Final = (*INHERITED, "description")
_TOP_KEYS: Final = ("version", "templates", "sources", "enterprises", *INHERITED)
_TAG_KEYS: Final = tuple(key for key in FIELDS if key not in ("range_low", "range_high"))

Attributes = dict[str, Any]


class Walk:
    """One pass over a document; `tags` and `sources` hold what was understood, `mistakes` the rest."""

    def __init__(self, mistakes: Mistakes, detectors: Collection[str] | None) -> None:
        self.mistakes = mistakes
        self.tags: list[TagModel] = []
        self.sources: dict[str, SourceModel] = {}
        self._detectors = detectors
        self._lines: dict[str, int] = {}  # path -> line
        self._templates: dict[str, tuple[Attributes, dict[str, Attributes]]] = {}

    def document(self, top: Section) -> None:
        """Read everything in the file."""
        self._only(top, _TOP_KEYS, "at the top")
        if top.values.get("version") not in (None, "1"):
            self.mistakes.add(top.lines["version"], f"version {top.values['version']!r}, wanted 1")
        for name, section in self._children(top, "templates"):
            self._template(name, section)
        for name, section in self._children(top, "sources"):
            self._source(name, section)
        self._level(top, 0, (), self._inherited(top))

    def _template(self, name: str, section: Section) -> None:
        self._only(section, (*_LEVEL_KEYS, "tags"), f"in template {name!r}")
        tags = {tag: self._attributes(body, tag) for tag, body in self._children(section, "tags")}
        self._templates[name] = (self._inherited(section), tags)

    def _source(self, name: str, section: Section) -> None:
        self._only(section, ("silence", "description"), f"in source {name!r}")
        found = self._attributes(section, name, check=False)
        self.sources[name] = SourceModel(
            name=name, silence_us=found.get("silence_us", 0), description=found.get("description", "")
        )

    def _level(self, section: Section, level: int, path: tuple[str, ...], inherited: Attributes) -> None:
        """Walk one level's children; `path` are the names above them."""
        key = _LEVELS[level]
        if key not in section.values:
            return
        known = (*_LEVEL_KEYS, _LEVELS[level + 1], *(("template",) if key == "equipment" else ()))
        for name, child in self._children(section, key):
            self._only(child, known, f"in {'/'.join((*path, name))}")
            below = inherited | self._inherited(child)
            if key == "equipment":
                self._equipment((*path, name), child, inherited)
            else:
                self._level(child, level + 1, (*path, name), below)

    def _equipment(self, path: tuple[str, ...], section: Section, above: Attributes) -> None:
        shared, templated = self._template_of(section)
        own = self._inherited(section)
        base = above | shared | own
        prefix = "/".join(path)
        written = dict(self._children(section, "tags", nothing_allowed=True))
        for name, attributes in templated.items():
            if name in written:
                continue
            self._tag(f"{prefix}/{name}", base | attributes | own, section.line)
        tags = section.values.get("tags")
        lines = tags.lines if isinstance(tags, Section) else {}
        for name, body in written.items():
            if body is None and name in templated:
                continue  # `name: null` takes a template's tag away
            found = base | templated.get(name, {}) | own
            if body is not None:
                found = found | self._attributes(body, name)
            self._tag(f"{prefix}/{name}", found, lines[name])

    def _template_of(self, section: Section) -> tuple[Attributes, dict[str, Attributes]]:
        name = section.values.get("template")
        if name is None:
            return {}, {}
        if not isinstance(name, str) or name not in self._templates:
            hint = nearest(str(name), self._templates)
            self.mistakes.add(
                section.lines["template"],
                f"unknown template {name!r}, wanted one of {', '.join(self._templates)}{hint}",
            )
            return {}, {}
        return self._templates[name]

    def _tag(self, path: str, attributes: Attributes, line: int) -> None:
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

    def _inherited(self, section: Section) -> Attributes:
        return self._attributes(section, "", only=INHERITED)

    def _attributes(
        self, section: Section, name: str, *, only: Collection[str] | None = None, check: bool = True
    ) -> Attributes:
        """Keys of a tag out of a section; with `only`, those keys and no complaint about others."""
        if only is None and check:
            self._only(section, _TAG_KEYS, f"at tag {name!r}")
        found: Attributes = {}
        for key, written in section.values.items():
            field = FIELDS.get(key)
            if field is None or (only is not None and key not in only):
                continue
            if written is None:
                found.update({attribute: TAG_DEFAULTS[attribute] for attribute in field.attributes})
                continue
            try:
                if isinstance(written, Section):
                    raise ValueError("one value, not a mapping")
                found.update(zip(field.attributes, field.parse(written), strict=True))
            except ValueError as error:
                shown = "a mapping" if isinstance(written, Section) else repr(written)
                self.mistakes.add(section.lines[key], f"{key}: found {shown}, wanted {error}")
        return found

    def _children(
        self, section: Section, key: str, *, nothing_allowed: bool = False
    ) -> Iterator[tuple[str, Any]]:
        """Name and section of each child under a key; a child that says nothing is an empty section."""
        group = section.values.get(key)
        if group is None:
            return
        if not isinstance(group, Section):
            self.mistakes.add(section.lines[key], f"{key}: found {group!r}, wanted a mapping of names")
            return
        for name, child in group.values.items():
            if isinstance(child, Section) or (child is None and nothing_allowed):
                yield name, child
            elif child is None:
                yield name, Section(group.lines[name])
            else:
                self.mistakes.add(group.lines[name], f"{name}: found {child!r}, wanted a mapping")

    def _only(self, section: Section, known: Collection[str], where: str) -> None:
        for key in section.values:
            if key not in known:
                message = (
                    f"unknown key {key!r} {where}, wanted one of {', '.join(known)}{nearest(key, known)}"
                )
                self.mistakes.add(section.lines[key], message)


def _defaults() -> Attributes:
    empty = TagModel(path="", source="")
    return {name: getattr(empty, name) for name in empty.__struct_fields__}


TAG_DEFAULTS: Final = _defaults()
