"""Where the three servers answer, whoever started them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Addresses:
    """URLs; each holds a password."""

    postgres_url: str
    stream_url: str
    cache_url: str
