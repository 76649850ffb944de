"""The archive's files counted up to the mark: the manifest says which there must be, the files what
they hold."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import psycopg

from millrace.errors import MillraceError
from millrace.schema import reject_files, segments
from millrace.schema.text import storable
from millrace.verify.marks import Placed
from millrace.verify.progress import Tell, nobody
from millrace.verify.report import Hole
from millrace.verify.tally import Tally

FOOTERS_READ: Final = 5_000
"""Files whose footer the fast pass reads, newest first; of the others it checks presence and size."""

READINGS: Final = "readings"  # the other kind is "quarantine"

LISTED: Final = """
SELECT file, kind, bytes, sha256, rows, counts FROM segment
WHERE retired_at IS NULL AND shard = %s AND last_position <= %s ORDER BY last_position DESC
"""


@dataclass(frozen=True, slots=True)
class Listed:
    """What the manifest says of a file. `hours` is None where an older release did not count as the ledger does."""

    file: str
    kind: str
    bytes: int
    sha256: str
    hours: list[tuple[str, int, int, int]] | None

    @property
    def readings(self) -> int:
        return sum(row[2] for row in self.hours or [])


@dataclass(slots=True)
class Files:
    """What the archive holds up to the mark, and the files that are missing, damaged, or not what the
    manifest says."""

    rows: Tally = field(default_factory=Tally)
    rejects: Tally = field(default_factory=Tally)
    count: int = 0
    holes: list[Hole] = field(default_factory=list)


def count(
    connection: psycopg.Connection[Any], root: Path, placed: Placed, *, full: bool, tell: Tell = nobody
) -> Files:
    """Count listed files. A file that cannot be read counts nothing, so that the hours it held show too."""
    files = Files()
    listed = [
        _listed(*row)
        for shard, position in placed.positions.items()
        for row in connection.execute(LISTED, [shard, position]).fetchall()
    ]
    for one in listed:
        tell("archive", files.count, len(listed))
        files.count += 1
        _check(files, root, one, look=full or files.count <= FOOTERS_READ, full=full)
    tell("archive", len(listed), len(listed))
    return files


def _listed(file: str, kind: str, size: int, sha256: str, rows: int, counts: list[Any]) -> Listed:
    hours = [(source, hour_us, readings, total) for source, hour_us, readings, total in counts]
    return Listed(file, kind, size, sha256, None if rows and not hours else hours)


def _check(files: Files, root: Path, listed: Listed, *, look: bool, full: bool) -> None:
    path = root / listed.file
    try:
        problem = _outside(path, listed, full)
        if problem:
            files.holes.append(_hole(listed, problem))
        if listed.hours is None:
            return
        found = _inside(path, listed, look=look, full=full, doubtful=bool(problem))
    except FileNotFoundError:
        files.holes.append(_hole(listed, "missing", held=True))
        return
    except (MillraceError, OSError) as error:
        files.holes.append(_hole(listed, f"cannot be read: {error}", held=True))
        return
    if Tally().add_all(found) != Tally().add_all(listed.hours):
        files.holes.append(_hole(listed, "its rows are not those that the manifest lists"))
    (files.rows if listed.kind == READINGS else files.rejects).add_all(found)


def _outside(path: Path, listed: Listed, full: bool) -> str:
    """What is wrong with a file as bytes; empty when nothing is."""
    found = path.stat().st_size
    if found != listed.bytes:
        return f"found {found:,} bytes, wanted {listed.bytes:,}"
    if full:
        with path.open("rb") as opened:
            digest = hashlib.file_digest(opened, "sha256").hexdigest()
        if digest != listed.sha256:
            return f"found SHA-256 {digest}, wanted {listed.sha256}"
    return ""


def _inside(
    path: Path, listed: Listed, *, look: bool, full: bool, doubtful: bool
) -> list[tuple[str, int, int, int]]:
    """(source, hour, count, hash) of a file: from its rows, or from its footer.

    A quarantine file has no footer: the fast pass goes by the manifest as long as the size is right.
    """
    if listed.kind != READINGS:
        recounted = reject_files.recount(path) if full or doubtful else None
    elif full:
        recounted = segments.recount(path)
    elif look:
        return _named(segments.decode_facts(segments.read_metadata(path), path).hours)
    else:
        recounted = None
    if recounted is None:
        return listed.hours or []
    return _named((c.source, c.hour_us, c.count, c.hash) for c in recounted)


def _named(rows: Iterable[tuple[str, int, int, int]]) -> list[tuple[str, int, int, int]]:
    """The same with sources as PostgreSQL writes them."""
    return [(storable(source), hour_us, readings, total) for source, hour_us, readings, total in rows]


def _hole(listed: Listed, detail: str, *, held: bool = False) -> Hole:
    if held and listed.hours:
        what = "readings" if listed.kind == READINGS else "rejects"
        return Hole(
            "file", listed.file, 0, listed.readings, 0, detail=f"{detail}; it held {listed.readings:,} {what}"
        )
    return Hole("file", listed.file, 0, 0, 0, detail=detail)
