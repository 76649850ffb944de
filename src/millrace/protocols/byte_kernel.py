"""How kernels over bytes are compiled, and how they read one.

They neither make nor keep arrays, so references are not counted, and nothing looks whether a place is negative, which
would count from the end: 41 ns a line of NDJSON instead of 190 (`python -m benchmarks.micro.decode`). So a kernel's
places are its own to prove: it never steps over a line end, and its text ends in one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar, cast

import numba
import numpy as np

from millrace.batch import U8

_HOW: Final[dict[str, Any]] = {"cache": True, "nogil": True, "error_model": "numpy", "_nrt": False}
_F = TypeVar("_F", bound=Callable[..., Any])


def kernel(function: _F) -> _F:
    """Compile it, without the GIL: the door decodes in threads."""
    return cast(_F, numba.njit(**_HOW)(function))


def inline(function: _F) -> _F:
    """For what is called several times a line: handing over an array costs more than the bytes that are looked at."""
    return cast(_F, numba.njit(forceinline=True, **_HOW)(function))


@inline
def byte(text: U8, at: int) -> int:
    """The byte at a place that is known to be inside; unsigned, as it is."""
    return text[np.uint64(at)]  # type: ignore[no-any-return]


@inline
def digit(text: U8, at: int) -> int:
    """The byte there less "0": 0 to 9 for a digit, else another number, perhaps below zero."""
    return int(np.int64(byte(text, at)) - 48)
