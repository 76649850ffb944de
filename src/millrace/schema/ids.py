"""Ids of anomalies and alarms: made from what they are, so that a second announcement is the same one.

The fast path, the PostgreSQL sink and the API compute the same id on their own; nobody hands one out.
"""

from __future__ import annotations

from functools import lru_cache
from uuid import UUID

import xxhash


@lru_cache(maxsize=65_536)
def event_id(path: str, source: str, name: str, start_us: int) -> UUID:
    """The 128-bit id of an anomaly (`name`: its detector) or an alarm (`name`: its rule).

    `path` is empty for an event of a whole source. Version and variant bits are those of RFC 9562's version 8
    (custom), so that any UUID library takes it.
    """
    key = "\0".join((path, source, name, str(start_us))).encode("utf-8", "surrogatepass")
    bits = xxhash.xxh3_128_intdigest(key)
    bits = (bits & ~(0xF << 76)) | (0x8 << 76)
    bits = (bits & ~(0x3 << 62)) | (0x2 << 62)
    return UUID(int=bits)


def detector_name(names: tuple[str, ...], index: int) -> str:
    """Name of detector or rule `index`; a number beyond the table (a newer writer's) still has a name."""
    return names[index] if 0 <= index < len(names) else f"number-{index}"
