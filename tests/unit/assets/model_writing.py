"""An asset model back into a file that `load` reads, to the same model: YAML by its hierarchy, or CSV."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

from millrace.assets.duration import shown
from millrace.assets.fields import FIELDS
from millrace.assets.spreadsheet import COLUMNS
from millrace.assets.tag import AssetModel, SourceModel, TagModel

_LEVELS = ("enterprises", "sites", "areas", "lines", "equipment", "tags")
_ATTRIBUTES = {key: field.attributes[0] for key, field in FIELDS.items() if key != "range"}


def dump(model: AssetModel, path: Path) -> None:
    """Write the model as `.yaml`, `.yml` or `.csv`, decided by the name."""
    text = dump_csv(model) if path.suffix.lower() == ".csv" else dump_yaml(model)
    path.write_text(text, encoding="utf-8", newline="")


def dump_csv(model: AssetModel) -> str:
    """One row a tag; a source is described in the row of its first tag."""
    sources = {source.name: source for source in model.sources}
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    for tag in model.tags:
        row = {"path": tag.path} | {key: _flat(value) for key, value in _said(tag).items()}
        source = sources.pop(tag.source, None)
        if source is not None and source.silence_us:
            row["source_silence"] = shown(source.silence_us)
        if source is not None:
            row["source_description"] = source.description
        writer.writerow(row)
    return out.getvalue()


def dump_yaml(model: AssetModel) -> str:
    """The hierarchy, one line a tag."""
    lines = ["version: 1"]
    described = [source for source in model.sources if source.silence_us or source.description]
    if described:
        lines.append("sources:")
        lines += [f"  {_quoted(source.name)}: {_flow(_said_of(source))}" for source in described]
    above: list[str] = []
    for tag in sorted(model.tags, key=lambda tag: tag.path.split("/")):
        names = tag.path.split("/")
        lines += _headings(above, names[:-1])
        lines.append(f"{'    ' * 5}  {_quoted(names[-1])}: {_flow(_said(tag))}")
        above = names[:-1]
    return "\n".join(lines) + "\n"


def _headings(above: list[str], names: list[str]) -> list[str]:
    """Lines that lead from the equipment written last to this one; the parent's key stands there already."""
    if above == names:
        return []
    same = next((level for level, name in enumerate(above) if name != names[level]), 0)
    lines: list[str] = []
    for level in range(same, len(names)):
        if level > same or not above:
            lines.append(f"{'    ' * level}{_LEVELS[level]}:")
        lines.append(f"{'    ' * level}  {_quoted(names[level])}:")
    return [*lines, f"{'    ' * 5}{_LEVELS[5]}:"]


def _said(tag: TagModel) -> dict[str, Any]:
    """Keys and written values of what is not a default."""
    empty = TagModel(path="", source="")
    found: dict[str, Any] = {}
    for key, attribute in _ATTRIBUTES.items():
        value = getattr(tag, attribute)
        if value != getattr(empty, attribute):
            found[key] = shown(value) if attribute.endswith("_us") else value
    return found


def _said_of(source: SourceModel) -> dict[str, Any]:
    found = {"silence": shown(source.silence_us)} if source.silence_us else {}
    return found | ({"description": source.description} if source.description else {})


def _flat(value: Any) -> str:
    if isinstance(value, tuple):
        return "|".join(value)
    return repr(value) if isinstance(value, float) else str(value)


def _flow(said: dict[str, Any]) -> str:
    low, high = said.pop("range_low", None), said.pop("range_high", None)
    if low is not None or high is not None:
        said["range"] = (low, high)
    return "{" + ", ".join(f"{key}: {_written(value)}" for key, value in said.items()) + "}"


def _written(value: Any) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(_written(part) for part in value) + "]"
    if value is None:
        return "null"
    return _quoted(value) if isinstance(value, str) else repr(value)


def _quoted(text: str) -> str:
    """A JSON string is a YAML string; a plain word needs no quotes."""
    plain = text.replace("-", "").replace("_", "").isalnum() and text.isascii() and text[0].isalpha()
    reserved = text.lower() in {"null", "true", "false", "yes", "no", "on", "off", "y", "n"}
    return text if plain and not reserved else json.dumps(text, ensure_ascii=False)
