"""A frame's dictionary: tags with their kinds and units, texts of states. Made once, sent often, parsed once.

A producer keeps a `Dictionary` per source; its `block` only changes when a tag or a state is new.
A reader keeps the newest parsed blocks by their bytes: equal blocks give the *same* tuple of tags, so that
whoever maps tags to numbers may do it once per block.

Block: codec u8 (0 stored, 1 zstd), sections u8 (1: units), 2 zero bytes, tags u32, states u32, raw length u32,
then the raw part, stored or compressed: kinds u8 (k,), shared prefix u8 (k,), suffix length u16 (k,),
state length u16 (s,), suffixes, state texts, and the units (`unit_section`) if a tag says one.
Tags are front-coded in the order of their indexes: byte i shares its prefix with i-1.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np

from millrace.batch import FRAME_TAGS_MAX, U8, Reason, ValueKind
from millrace.errors import ProtocolError
from millrace.protocols import unit_section, zstd_block
from millrace.protocols.limits import STATE_LENGTH_MAX, UNITS_MAX
from millrace.protocols.tag_path import tag_reason, unit_ok

_HEAD: Final = struct.Struct("<BB2xIII")
_UNITS: Final = 1
_COMPRESS_FROM_BYTES: Final = 128
DICTIONARY_BYTES_MAX: Final = 4 * 1024**2
"""Raw bytes of one dictionary."""

_CACHE_BLOCKS_MAX: Final = 4_096
_CACHE_BYTES_MAX: Final = 64 * 1024**2  # per generation
_TEXT_OVERHEAD_BYTES: Final = 64  # a str object and its place in the tuple


@dataclass(frozen=True, slots=True)
class Parsed:
    """A dictionary as its reader uses it. `block` are the bytes it came from; `kinds` is read-only."""

    block: bytes
    tags: tuple[str, ...]
    kinds: U8
    states: tuple[str, ...]
    has_states: bool
    units: tuple[str, ...] = ()


class Dictionary:
    """A producer's growing dictionary of one source: an index, once given, stays."""

    def __init__(self) -> None:
        self._index: dict[tuple[str, int, str], int] = {}
        self._state: dict[str, int] = {}
        self._units: set[str] = set()
        self._kinds: list[int] = []
        self._parsed: Parsed | None = None

    def __len__(self) -> int:
        return len(self._index)

    def index(self, tag: str, kind: ValueKind = ValueKind.FLOAT, unit: str = "") -> int:
        """Number of a tag; ProtocolError (`bad_tag`, `tag_too_long`, `too_many_tags`; `bad_schema` for its
        unit) if it can have none."""
        known = self._index.get((tag, kind, unit))
        if known is not None:
            return known
        reason = tag_reason(tag)
        if reason is not Reason.OK:
            raise ProtocolError(reason.name.lower(), f"found tag {tag[:80]!r}")
        if len(self._index) >= FRAME_TAGS_MAX:
            raise ProtocolError("too_many_tags", f"a source's dictionary holds {FRAME_TAGS_MAX} at most")
        if unit and unit not in self._units:
            self._add_unit(unit)
        self._parsed = None
        self._kinds.append(int(kind))
        return self._index.setdefault((tag, kind, unit), len(self._index))

    def _add_unit(self, unit: str) -> None:
        if not unit_ok(unit) or len(self._units) >= UNITS_MAX:
            raise ProtocolError(
                "bad_schema", f"found unit {unit[:80]!r}, wanted one of {UNITS_MAX} short texts"
            )
        self._units.add(unit)

    def state(self, text: str) -> int:
        """Number of a state's text: what a reading of a STATE tag carries as its value."""
        known = self._state.get(text)
        if known is not None:
            return known
        if not state_ok(text) or len(self._state) >= FRAME_TAGS_MAX:
            raise ProtocolError("bad_schema", f"no state text: {text[:80]!r}")
        self._parsed = None
        return self._state.setdefault(text, len(self._state))

    def parsed(self) -> Parsed:
        """The dictionary as it is now: for `Frame(tags=…, kinds=…, states=…, units=…, dictionary=….block)`."""
        if self._parsed is None:
            tags = tuple(tag for tag, _, _ in self._index)
            units = tuple(unit for _, _, unit in self._index) if self._units else ()
            self._parsed = parse(pack(tags, np.array(self._kinds, np.uint8), tuple(self._state), units))
        return self._parsed

    @property
    def block(self) -> bytes:
        return self.parsed().block


def state_ok(text: str) -> bool:
    """Whether a text can be a state's."""
    try:
        return len(text) <= STATE_LENGTH_MAX and len(text.encode()) <= STATE_LENGTH_MAX
    except UnicodeEncodeError:
        return False


def pack(tags: tuple[str, ...], kinds: U8, states: tuple[str, ...], units: tuple[str, ...] = ()) -> bytes:
    """The block of a dictionary; ProtocolError if something in it cannot be sent."""
    _check(tags, kinds, states, units)
    section = unit_section.pack(units)
    raw = _raw(tags, kinds, states) + section
    if len(raw) > DICTIONARY_BYTES_MAX:
        raise ProtocolError(
            "record_too_large", f"a dictionary of {len(raw)} bytes, at most {DICTIONARY_BYTES_MAX}"
        )
    packed = zstd_block.compress(raw) if len(raw) >= _COMPRESS_FROM_BYTES else raw
    codec = int(len(packed) < len(raw))
    return _HEAD.pack(codec, _UNITS * bool(section), len(tags), len(states), len(raw)) + (
        packed if codec else raw
    )


def _check(tags: tuple[str, ...], kinds: U8, states: tuple[str, ...], units: tuple[str, ...]) -> None:
    if len(tags) != len(kinds) or len(tags) > FRAME_TAGS_MAX or len(states) > FRAME_TAGS_MAX:
        raise ProtocolError(
            "too_many_tags", f"found {len(tags)} tags, {len(kinds)} kinds, {len(states)} states"
        )
    for tag in tags:
        if tag_reason(tag) is not Reason.OK:
            raise ProtocolError(tag_reason(tag).name.lower(), f"found tag {tag[:80]!r}")
    if not all(map(state_ok, states)):
        raise ProtocolError("bad_schema", f"a state's text is longer than {STATE_LENGTH_MAX} bytes")
    if units and len(units) != len(tags):
        raise ProtocolError("bad_schema", f"found {len(tags)} tags and {len(units)} units")


def _raw(tags: tuple[str, ...], kinds: U8, states: tuple[str, ...]) -> bytes:
    shared, suffixes = bytearray(), []
    before = b""
    for tag in map(str.encode, tags):
        same = _same_prefix(before, tag)
        shared.append(same)
        suffixes.append(tag[same:])
        before = tag
    texts = [state.encode() for state in states]
    lengths = np.fromiter(map(len, suffixes + texts), "<u2", len(suffixes) + len(texts))
    return b"".join((kinds.tobytes(), bytes(shared), lengths.tobytes(), *suffixes, *texts))


def _same_prefix(a: bytes, b: bytes) -> int:
    """Length of the shared prefix, at most 255."""
    end = min(len(a), len(b), 255)
    if a[:end] == b[:end]:
        return end
    low = 0
    while low < end:  # halve: a[:low] == b[:low] always holds
        middle = (low + end + 1) // 2
        if a[:middle] == b[:middle]:
            low = middle
        else:
            end = middle - 1
    return low


# Two generations instead of an exact LRU: a hit is one lookup, and no lock is needed under the GIL.
_young: dict[bytes, Parsed] = {}
_old: dict[bytes, Parsed] = {}
_young_bytes = 0


def parse(block: bytes) -> Parsed:
    """The dictionary of a block; ProtocolError if it holds anything that a tag, kind or state cannot be."""
    found = known(block)
    if found is None:
        found = _parse(block)
        _keep(found)
    return found


def known(block: bytes) -> Parsed | None:
    """The dictionary of a block that was parsed not long ago; None otherwise."""
    found = _young.get(block)
    if found is None:
        found = _old.get(block)
        if found is not None:
            _keep(found)
    return found


def _keep(parsed: Parsed) -> None:
    global _young, _old, _young_bytes
    # what it takes as Python texts: front-coding hides a long prefix that every tag shares
    size = len(parsed.block) + sum(map(len, parsed.tags)) + _TEXT_OVERHEAD_BYTES * len(parsed.tags)
    size += 8 * len(parsed.units)  # a pointer each: equal units are one text
    if len(_young) >= _CACHE_BLOCKS_MAX or _young_bytes + size > _CACHE_BYTES_MAX:
        _old, _young, _young_bytes = _young, {}, 0
    _young[parsed.block] = parsed
    _young_bytes += size


def _parse(block: bytes) -> Parsed:
    if len(block) < _HEAD.size:
        raise ProtocolError("truncated", "a dictionary without its head")
    codec, sections, tag_count, state_count, raw_length = _HEAD.unpack_from(block)
    if sections & ~_UNITS:
        raise ProtocolError("unknown_version", f"sections {sections:#x} of a dictionary")
    raw = _inflated(block, codec, raw_length, tag_count, state_count)
    kinds = np.frombuffer(raw, np.uint8, tag_count)
    if tag_count and int(kinds.max()) > max(ValueKind):
        raise ProtocolError("bad_schema", f"value kind {int(kinds.max())} is unknown")
    lengths = np.frombuffer(raw, "<u2", tag_count + state_count, 2 * tag_count).tolist()
    at = 4 * tag_count + 2 * state_count
    end = at + sum(lengths)
    if end != len(raw) and not (sections and end < len(raw)):
        raise ProtocolError("truncated", "the dictionary's texts are not as long as it says")
    parts = _cut(raw, at, lengths)
    try:
        tags = tuple(_unfold(parts[:tag_count], raw[tag_count : 2 * tag_count]))
        states = tuple(part.decode() for part in parts[tag_count:])
        units = unit_section.unpack(raw[end:], tag_count) if sections else ()
    except UnicodeDecodeError as error:
        raise ProtocolError("bad_encoding", f"the dictionary is not UTF-8: {error.reason}") from None
    if not all(map(state_ok, states)):
        raise ProtocolError("bad_schema", f"a state's text is longer than {STATE_LENGTH_MAX} bytes")
    kinds = kinds.copy()
    kinds.flags.writeable = False
    return Parsed(block, tags, kinds, states, bool((kinds == ValueKind.STATE).any()), units)


def _inflated(block: bytes, codec: int, raw_length: int, tag_count: int, state_count: int) -> bytes:
    if tag_count > FRAME_TAGS_MAX or state_count > FRAME_TAGS_MAX:
        raise ProtocolError("too_many_tags", f"{tag_count} tags and {state_count} states in one dictionary")
    if raw_length > DICTIONARY_BYTES_MAX:
        raise ProtocolError("compression_bomb", f"a dictionary of {raw_length} bytes")
    if raw_length < 4 * tag_count + 2 * state_count:
        raise ProtocolError("truncated", f"{tag_count} tags do not fit into {raw_length} bytes")
    if codec == 1:
        return zstd_block.inflate(block[_HEAD.size :], raw_length)
    if codec or len(block) - _HEAD.size != raw_length:
        raise ProtocolError("truncated", f"a dictionary of {len(block)} bytes that says {raw_length}")
    return block[_HEAD.size :]


def _cut(raw: bytes, at: int, lengths: Iterable[int]) -> list[bytes]:
    parts = []
    for length in lengths:
        parts.append(raw[at : at + length])
        at += length
    return parts


def _unfold(suffixes: list[bytes], shared: bytes) -> Iterable[str]:
    before = b""
    for suffix, same in zip(suffixes, shared, strict=True):
        if same > len(before):
            raise ProtocolError("bad_schema", "a tag shares more than the one before it has")
        before = before[:same] + suffix
        if len(before) > 4 * 256:
            raise ProtocolError("tag_too_long", f"a tag of {len(before)} bytes")
        tag = before.decode()
        reason = tag_reason(tag)
        if reason is not Reason.OK:
            raise ProtocolError(reason.name.lower(), f"found tag {tag[:80]!r}")
        yield tag
