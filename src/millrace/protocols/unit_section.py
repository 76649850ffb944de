"""The units in a dictionary's block: a part that only a dictionary has of which a tag says its unit.

Section: units u8 (u: 1 to 255) · unit u8 (k,) of each tag (0: not said, i: the i-th) · length u8 (u,) · texts
"""

from __future__ import annotations

from collections.abc import Sequence

from millrace.errors import ProtocolError
from millrace.protocols.limits import UNIT_LENGTH_MAX, UNITS_MAX
from millrace.protocols.tag_path import unit_ok


def pack(units: Sequence[str]) -> bytes:
    """The section of the tags' units (k,), "" where none is said; nothing where no tag says one."""
    number = {"": 0}
    for unit in units:
        number.setdefault(unit, len(number))
    if len(number) == 1:
        return b""
    if len(number) > 1 + UNITS_MAX or not all(map(unit_ok, number)):
        raise ProtocolError("bad_schema", f"wanted at most {UNITS_MAX} units of {UNIT_LENGTH_MAX} bytes each")
    texts = [unit.encode() for unit in number if unit]
    parts = (len(texts), *(number[unit] for unit in units), *map(len, texts))
    return bytes(parts) + b"".join(texts)


def unpack(section: bytes, tag_count: int) -> tuple[str, ...]:
    """The tags' units; ProtocolError where they cannot be. Equal units are the same text in memory."""
    count = section[0] if section else 0
    texts_at = 1 + tag_count + count
    index, lengths = section[1 : 1 + tag_count], section[1 + tag_count : texts_at]
    if len(section) != texts_at + sum(lengths):
        raise ProtocolError("truncated", f"{count} units of {tag_count} tags in {len(section)} bytes")
    if not 0 < max(index, default=0) <= count:
        raise ProtocolError("bad_schema", f"the tags' units are not among the {count} of the dictionary")
    units = [""]
    for length in lengths:
        units.append(section[texts_at : texts_at + length].decode())
        texts_at += length
    if not all(map(unit_ok, units)) or len(set(units)) != len(units):
        raise ProtocolError("bad_schema", f"found units {units[1:5]}")
    return tuple(map(units.__getitem__, index))
