"""PostgreSQL's binary COPY out of and into NumPy structured arrays: no Python per row.

A row on the wire is a field count (int16) and for each field its length (int32) and its big-endian bytes. For
fixed widths without NULL that is itself a structured dtype, so a whole batch is one assignment per column.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from millrace.batch import Rows

HEADER: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER: Final = b"\xff\xff"

_SQL: Final = {"i2": "smallint", "i4": "integer", "i8": "bigint", "f8": "float8"}


class Layout:
    """Columns of fixed width, in the order of the COPY; `fields` are (name, 'i2' | 'i4' | 'i8' | 'f8')."""

    def __init__(self, *fields: tuple[str, str]) -> None:
        self.fields = fields
        self.names = tuple(name for name, _ in fields)
        self.dtype = np.dtype([("fields", ">i2"), *(part for field in fields for part in self._wire(*field))])
        self._row = np.zeros(1, self.dtype)
        self._row["fields"] = len(fields)
        for name, kind in fields:
            self._row["length of " + name] = int(kind[1])

    @staticmethod
    def _wire(name: str, kind: str) -> tuple[tuple[str, str], tuple[str, str]]:
        return ("length of " + name, ">i4"), (name, ">" + kind)

    @property
    def columns(self) -> str:
        """For `COPY t (…)`."""
        return ", ".join(f'"{name}"' for name in self.names)

    @property
    def definition(self) -> str:
        """For `CREATE TEMP TABLE t (…)`."""
        return ", ".join(f'"{name}" {_SQL[kind]} NOT NULL' for name, kind in self.fields)

    def rows(self, count: int) -> Rows:
        """(count,) rows whose lengths are set and whose values are still to be."""
        return np.repeat(self._row, count)

    def encode(self, rows: Rows) -> bytes:
        """The whole COPY stream, header and trailer included."""
        return b"".join((HEADER, rows.tobytes(), TRAILER))

    def decode(self, data: bytes) -> Rows:
        """Rows of a whole COPY stream that holds no NULL, as a view on `data`."""
        if data[: len(HEADER)] != HEADER or data[-2:] != TRAILER:
            raise ValueError(f"found {data[:11]!r} … {data[-2:]!r}, wanted a whole binary COPY stream")
        return np.frombuffer(data, self.dtype, offset=len(HEADER), count=self._count(data))

    def _count(self, data: bytes) -> int:
        count, rest = divmod(len(data) - len(HEADER) - len(TRAILER), self.dtype.itemsize)
        if rest:
            raise ValueError(
                f"found {rest} bytes beyond {count} rows, wanted columns of fixed width and no NULL"
            )
        return count


def native(column: Any) -> Any:
    """A big-endian column in this machine's order, contiguous."""
    return np.ascontiguousarray(column).astype(column.dtype.newbyteorder("="))
