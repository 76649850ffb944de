"""Files of readings as bodies that the ingest takes: NDJSON cut at line ends, a JSON array cut between
elements.
"""

from __future__ import annotations

import gzip
import json
import sys
import zlib
from collections.abc import Iterable, Iterator
from io import BufferedReader
from pathlib import Path
from typing import cast

from millrace.errors import MillraceError, SettingError

BODY_BYTES = 512 * 1024
BODY_LINES = 20_000
LINE_BYTES_MAX = 1_000_000
ARRAY_BYTES_MAX = 256 * 1024**2
BYTE_ORDER_MARK = b"\xef\xbb\xbf"  # what some editors put before UTF-8


def bodies(path: Path) -> Iterator[tuple[bytes, int, int]]:
    """(NDJSON body, its readings, bytes of the file read so far). `-` is stdin; .gz is unpacked on the
    way.
    """
    with _opened(path) as file:
        try:
            if file.peek(64).startswith(BYTE_ORDER_MARK):
                file.read(len(BYTE_ORDER_MARK))
            if file.peek(64).lstrip()[:1] == b"[":
                yield from _packed(_elements(file.read(ARRAY_BYTES_MAX + 1), path))
            else:
                yield from _blocks(file, path)
        except (EOFError, zlib.error, OSError) as error:  # of gzip; also a disk that cannot be read
            raise MillraceError(f"{path} cannot be read to its end: {error}") from None


def _blocks(file: BufferedReader, path: Path) -> Iterator[tuple[bytes, int, int]]:
    """Blocks of whole lines as they stand in the file: looking at each line costs more than the door's decoding."""
    passed = line_count = 0
    while block := file.read(BODY_BYTES):
        block += file.readline(LINE_BYTES_MAX) if not block.endswith(b"\n") else b""
        _check_last_line(block, path, line_count)
        passed, lines = passed + len(block), block.count(b"\n")
        line_count += lines
        if not block.endswith(b"\n"):
            block, lines = block + b"\n", lines + 1
        if lines <= BODY_LINES and b"\n\n" not in block and b"\r" not in block:
            yield block, lines, passed
            continue
        kept = (line.rstrip(b"\r") + b"\n" for line in block.split(b"\n") if line.strip())
        for body, readings, _ in _packed(kept):
            yield body, readings, passed


def _check_last_line(block: bytes, path: Path, lines_before: int) -> None:
    """Only the last line of a block can be longer than a block."""
    if len(block) - 1 - block.rfind(b"\n") < LINE_BYTES_MAX:
        return
    number = lines_before + block.count(b"\n") + 1
    raise MillraceError(f"{path}:{number}: a line of over {LINE_BYTES_MAX:,} bytes; a reading takes one line")


def _opened(path: Path) -> BufferedReader:
    if str(path) == "-":
        return cast("BufferedReader", sys.stdin.buffer)
    try:
        return cast("BufferedReader", gzip.open(path)) if path.suffix == ".gz" else path.open("rb")
    except OSError as error:
        raise SettingError(
            str(path), got=error.strerror, want="a file of readings, or - for standard input"
        ) from None


def _elements(content: bytes, path: Path) -> Iterator[bytes]:
    if len(content) > ARRAY_BYTES_MAX:
        raise MillraceError(
            f"{path}: an array of over {ARRAY_BYTES_MAX // 2**20} MiB; send it as one reading a line"
        )
    try:
        for element in json.loads(content):
            yield json.dumps(element).encode() + b"\n"
    except (ValueError, RecursionError) as error:
        raise MillraceError(f"{path}: begins like a JSON array but is none: {error}") from None


def _packed(lines: Iterable[bytes]) -> Iterator[tuple[bytes, int, int]]:
    held: list[bytes] = []
    size = passed = 0
    for line in lines:
        held.append(line)
        size += len(line)
        if size >= BODY_BYTES or len(held) >= BODY_LINES:
            passed += size
            yield b"".join(held), len(held), passed
            held, size = [], 0
    if held:
        yield b"".join(held), len(held), passed + size
