"""Bounds that a decoder keeps, whatever the sender claims."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from millrace.batch import FRAME_READINGS_MAX, FRAME_TAGS_MAX

if TYPE_CHECKING:  # a producer needs the limits, and no settings
    from millrace.settings import Settings

STATE_LENGTH_MAX = 256
"""Bytes of UTF-8 in the text of a discrete state."""

UNIT_LENGTH_MAX = 32
"""Bytes of UTF-8 in the unit that a reading says."""

UNITS_MAX = 255
"""Different units in one dictionary."""

KEY_LENGTH_MAX = 256
"""Bytes of an Idempotency-Key."""

LINE_BYTES_MAX = 16_384
"""A reading as text: a tag and a state with every character escaped still fit."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one body or record may hold. `past_max_us` and `future_max_us` count from its receipt.

    The bounds of time are the widest of all data classes: whoever reads bytes knows no tag's class yet.
    """

    past_max_us: int = 30 * 86_400_000_000
    future_max_us: int = 5_000_000
    readings_max: int = FRAME_READINGS_MAX
    tags_max: int = FRAME_TAGS_MAX
    bytes_max: int = 8 * 1024**2

    @classmethod
    def of(cls, settings: Settings) -> Limits:
        """The limits that the settings ask for."""
        return cls(
            past_max_us=round(max(settings.past_s) * 1_000_000),
            future_max_us=round(max(settings.future_s) * 1_000_000),
            tags_max=min(settings.tags_per_source_max, FRAME_TAGS_MAX),
            bytes_max=settings.body_bytes_max,
        )
