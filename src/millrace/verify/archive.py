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
from millrace.schema import segments
from millrace.verify.marks import Placed
from millrace.verify.report import Hole
from millrace.verify.tally import Tally

FOOTERS_READ: Final = 5_000
"""Files whose footer the fast pass reads, newest first; of the others it checks presence and size."""

LISTED: Final = """
SELECT file, kind, bytes, sha256, counts FROM segment
WHERE retired_at IS NULL AND shard = %s AND last_position <= %s ORDER BY last_position DESC
"""


@dataclass(slots=True)
class Files:
    """What the archive holds up to the mark, and the files that are missing, damaged, or not what the
    manifest says."""

    rows: Tally = field(default_factory=Tally)
    count: int = 0
    holes: list[Hole] = field(default_factory=list)


def count(connection: psycopg.Connection[Any], root: Path, placed: Placed, *, full: bool) -> Files:
    """Count listed files. A file that cannot be read counts nothing, so that the hours it held show too."""
    files = Files()
    for shard, position in placed.positions.items():
        for file, kind, size, sha256, counts in connection.execute(LISTED, [shard, position]).fetchall():
            files.count += 1
            hours = [tuple(row) for row in counts]
            look = full or files.count <= FOOTERS_READ
            _check(
                files,
                root,
                file,
                size,
                sha256 if full else "",
                hours if kind == "readings" else None,
                look,
                full,
            )
    return files


def _check(
    files: Files,
    root: Path,
    file: str,
    size: int,
    sha256: str,
    hours: list[Any] | None,
    look: bool,
    full: bool,
) -> None:
    path = root / file
    try:
        problem = _outside(path, size, sha256)
        if problem:
            files.holes.append(_hole(file, problem))
        if hours is None:
            return
        found = _inside(path, full) if look else hours
    except FileNotFoundError:
        files.holes.append(_hole(file, "missing", rows=sum(row[2] for row in hours or [])))
        return
    except (MillraceError, OSError) as error:
        files.holes.append(_hole(file, f"cannot be read: {error}", rows=sum(row[2] for row in hours or [])))
        return
    if Tally().add_all(found) != Tally().add_all(hours):
        files.holes.append(_hole(file, "its rows are not those that the manifest lists"))
    files.rows.add_all(found)


def _outside(path: Path, size: int, sha256: str) -> str:
    """What is wrong with a file as bytes; empty when nothing is."""
    found = path.stat().st_size
    if found != size:
        return f"found {found:,} bytes, wanted {size:,}"
    if sha256:
        with path.open("rb") as opened:
            digest = hashlib.file_digest(opened, "sha256").hexdigest()
        if digest != sha256:
            return f"found SHA-256 {digest}, wanted {sha256}"
    return ""


def _inside(path: Path, full: bool) -> Iterable[tuple[str, int, int, int]]:
    """(source, hour, count, hash) of a file: from its rows, or from its footer."""
    if full:
        return [(c.source, c.hour_us, c.count, c.hash) for c in segments.recount(path)]
    return list(segments.decode_facts(segments.read_metadata(path), path).hours)


def _hole(file: str, detail: str, *, rows: int = 0) -> Hole:
    return Hole("file", file, 0, rows, 0, detail=f"{detail}; it held {rows:,} readings" if rows else detail)
