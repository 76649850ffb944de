"""An asset model out of a file: YAML (the hierarchy) or CSV (one row a tag), every mistake with its line."""

from __future__ import annotations

import gc
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from millrace.assets.document import DocumentError, read
from millrace.assets.hierarchy import Walk
from millrace.assets.mistakes import Mistakes
from millrace.assets.spreadsheet import Sheet
from millrace.assets.tag import AssetModel, SourceModel, TagModel

FILE_BYTES_MAX: Final = 256_000_000


def load(path: Path, *, detectors: Collection[str] | None = None) -> AssetModel:
    """The model in a `.yaml`, `.yml` or `.csv` file, tags sorted by path, sources by name.

    `detectors`: the names of the detectors that exist, to check the model's choice; None: not checked.
    AssetModelError holds all mistakes as `file:line: what was found, what was wanted, what to do`.
    """
    mistakes = Mistakes(path)
    text = _text(path, mistakes)
    mistakes.raise_if_any()
    suffix = path.suffix.lower()
    if suffix not in (".yaml", ".yml", ".csv"):
        mistakes.add(1, f"a file that ends in {suffix!r}, wanted .yaml, .yml or .csv")
        mistakes.raise_if_any()
    with _no_collection():
        reader = _csv(text, mistakes, detectors) if suffix == ".csv" else _yaml(text, mistakes, detectors)
    if not reader.tags:
        mistakes.add(1, "no tags; wanted at least one")
    mistakes.raise_if_any()
    return model_of(reader.tags, reader.sources)


def model_of(tags: Collection[TagModel], sources: dict[str, SourceModel] | None = None) -> AssetModel:
    """A model of these tags; a source that is only named by a tag gets the defaults."""
    known = dict(sources or {})
    for tag in tags:
        if tag.source not in known:
            known[tag.source] = SourceModel(name=tag.source)
    return AssetModel(
        sources=tuple(known[name] for name in sorted(known)),
        tags=tuple(sorted(tags, key=lambda tag: tag.path)),
    )


def extended(model: AssetModel, more: AssetModel) -> AssetModel:
    """The model with the sources and tags of another; where both know one, `more` has the last word."""
    tags = {tag.path: tag for tag in (*model.tags, *more.tags)}
    sources = {source.name: source for source in (*model.sources, *more.sources)}
    return model_of(list(tags.values()), sources)


def without(model: AssetModel, sources: Collection[str]) -> AssetModel:
    """The model without these sources and their tags."""
    return AssetModel(
        sources=tuple(source for source in model.sources if source.name not in sources),
        tags=tuple(tag for tag in model.tags if tag.source not in sources),
    )


def _text(path: Path, mistakes: Mistakes) -> str:
    try:
        size = path.stat().st_size
        if size > FILE_BYTES_MAX:
            mistakes.add(
                1, f"a file of {size} bytes, wanted at most {FILE_BYTES_MAX}; split the model by site"
            )
            return ""
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        mistakes.add(1, f"cannot be read ({error.strerror}); name a file that exists")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        mistakes.add(line, f"bytes that are not UTF-8 at offset {error.start}; save the file as UTF-8")
    return ""


def _yaml(text: str, mistakes: Mistakes, detectors: Collection[str] | None) -> Walk:
    walk = Walk(mistakes, detectors)
    try:
        walk.document(read(text))
    except DocumentError as error:
        mistakes.add(error.line, str(error))
        mistakes.raise_if_any()
    return walk


def _csv(text: str, mistakes: Mistakes, detectors: Collection[str] | None) -> Sheet:
    sheet = Sheet(mistakes, detectors)
    sheet.document(text.splitlines(keepends=True))
    return sheet


@contextmanager
def _no_collection() -> Iterator[None]:
    """Loading makes a million small objects and no garbage: the collector alone triples its time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
