"""A text output whose failures lose the line and nothing else.

A full disk, or a reader that went away, must not stop the program that speaks.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from typing import TextIO


class LossyOutput:
    """`lost` is called for each line that the output did not take."""

    def __init__(self, out: TextIO, lost: Callable[[], None]) -> None:
        self._out = out
        self._lost = lost

    def write(self, text: str) -> int:
        """Past Python's buffer, which would keep what failed and fail again when the process ends."""
        try:
            self._out.flush()
            _write_all(self._out.fileno(), text.encode(errors="replace"))
        except io.UnsupportedOperation:  # no file behind it
            self._out.write(text)
        except OSError:
            self._lost()
        return len(text)

    def flush(self) -> None:
        """Nothing is kept back."""

    def isatty(self) -> bool:
        return self._out.isatty()


def _write_all(file: int, data: bytes) -> None:
    while data:
        data = data[os.write(file, data) :]
