"""What a shard's slots and source numbers are called in PostgreSQL: ids, given once and never reused.

An id is given in the transaction that first applies the tag. Until that transaction is committed it is only
`proposed`: `forget_proposed` after a rollback, `keep_proposed` after the commit.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from millrace.accounting import tag_hash
from millrace.batch import I32, U8, TagInfo
from millrace.errors import MillraceError
from millrace.schema.text import storable
from millrace.sinks.postgres.connection import Cursor

INSERT_SOURCES = """
INSERT INTO source (name) SELECT name FROM unnest(%(names)s::text[]) AS t (name)
WHERE NOT EXISTS (SELECT FROM source s WHERE s.name = t.name) ON CONFLICT (name) DO NOTHING
"""
SELECT_SOURCES = "SELECT name, id FROM source WHERE name = ANY(%(names)s)"

NEW_TAGS = """
SELECT * FROM unnest(%(path)s::text[], %(source)s::text[], %(tag_hash)s::bigint[], %(kind)s::smallint[],
    %(data_class)s::smallint[], %(modelled)s::boolean[], %(period_us)s::bigint[], %(unit)s::text[])
    AS n (path, source, tag_hash, kind, data_class, modelled, period_us, unit)
"""
# WHERE NOT EXISTS: ON CONFLICT alone would burn an id per known tag at each restart.
INSERT_TAGS = f"""
INSERT INTO tag (path, source, tag_hash, shard, kind, data_class, modelled, period_us, unit)
SELECT path, source, tag_hash, %(shard)s, kind, data_class, modelled, period_us, unit FROM ({NEW_TAGS}) n
WHERE NOT EXISTS (SELECT FROM tag t WHERE t.path = n.path AND t.source = n.source)
ON CONFLICT (path, source) DO NOTHING
"""  # nosec B608
UPDATE_TAGS = f"""
UPDATE tag t SET kind = n.kind, data_class = n.data_class, modelled = n.modelled, period_us = n.period_us,
    unit = n.unit, shard = %(shard)s
FROM ({NEW_TAGS}) n WHERE t.path = n.path AND t.source = n.source
AND (t.kind, t.data_class, t.modelled, t.period_us, t.unit, t.shard)
    IS DISTINCT FROM (n.kind, n.data_class, n.modelled, n.period_us, n.unit, %(shard)s)
"""  # nosec B608
SELECT_TAGS = f"SELECT t.path, t.source, t.id FROM tag t JOIN ({NEW_TAGS}) n USING (path, source)"  # nosec B608


class Directory:
    """Slots and sources of one shard: `tag_id`, `critical` (k,) by slot, `source_id` by number; id 0:
    not known."""

    def __init__(self, shard: int) -> None:
        self.shard = shard
        self.tag_id: I32 = np.zeros(0, np.int32)
        self.critical: U8 = np.zeros(0, np.uint8)
        self.source_id: I32 = np.zeros(0, np.int32)
        self.tags: dict[int, TagInfo] = {}
        self.sources: dict[int, str] = {}
        self._new_tags: dict[int, TagInfo] = {}
        self._new_sources: dict[int, str] = {}

    def learn(self, tags: Iterable[TagInfo], sources: Mapping[int, str]) -> None:
        """Take new or changed slots and sources; they reach PostgreSQL with the next transaction."""
        for tag in tags:
            if self.tags.get(tag.slot) != tag:
                self.tags[tag.slot] = self._new_tags[tag.slot] = tag
        for number, name in sources.items():
            if self.sources.get(number) != name:
                self.sources[number] = self._new_sources[number] = name
        self._grow()
        for slot, tag in self._new_tags.items():
            self.critical[slot] = tag.data_class

    def propose(self, cursor: Cursor) -> None:
        """Insert or find what is new, inside the caller's transaction."""
        if self._new_sources:
            self._propose_sources(cursor)
        if self._new_tags:
            self._propose_tags(cursor)

    def keep_proposed(self) -> None:
        """The transaction is committed."""
        self._new_tags.clear()
        self._new_sources.clear()

    def forget_proposed(self) -> None:
        """The transaction is not (or not surely) committed: the ids must be asked for again."""
        self.tag_id[list(self._new_tags)] = 0
        self.source_id[list(self._new_sources)] = 0

    def tag_ids(self, slots: I32) -> I32:
        """Ids of slots; MillraceError for a slot that nobody announced."""
        return self._looked_up(self.tag_id, slots, "slot")

    def source_ids(self, numbers: I32) -> I32:
        """Ids of source numbers."""
        return self._looked_up(self.source_id, numbers, "source")

    def _looked_up(self, ids: I32, wanted: I32, what: str) -> I32:
        if len(wanted) and (int(wanted.max()) >= len(ids) or int(wanted.min()) < 0):
            raise self._unknown(what, int(wanted.max()))
        found = ids[wanted]
        if not found.all():
            raise self._unknown(what, int(wanted[found == 0][0]))
        return found

    def _unknown(self, what: str, number: int) -> MillraceError:
        return MillraceError(
            f"shard {self.shard}: found {what} {number} in an output, wanted one that an output announced; "
            "after a restore, hand the state's tags and sources to `learn` first"
        )

    def source_ids_of(self, slots: I32) -> I32:
        """Ids of the sources of slots: of use while something is counted by source."""
        by_name = {name: int(self.source_id[number]) for number, name in self.sources.items()}
        used, place = np.unique(slots, return_inverse=True)
        ids = np.array([by_name.get(self.tags[int(slot)].source, 0) for slot in used], np.int32)
        if not ids.all():
            raise self._unknown("source of slot", int(used[ids == 0][0]))
        found: I32 = ids[place]
        return found

    def critical_of(self, slots: I32) -> U8:
        """1 where a slot's tag is of class critical; MillraceError for a slot that nobody announced."""
        if len(slots) and (int(slots.max()) >= len(self.critical) or int(slots.min()) < 0):
            raise self._unknown("slot", int(slots.max()))
        critical: U8 = self.critical[slots]
        return critical

    def subject(self, slot: int, source: int) -> tuple[int | None, str, str]:
        """(tag id, path, source) of an anomaly or alarm of a slot; (None, "", source) when it is a whole source's
        (slot -1)."""
        if slot < 0:
            return None, "", self.sources[source]
        tag = self.tags[slot]
        return int(self.tag_id[slot]), tag.path, tag.source

    def _grow(self) -> None:
        self.tag_id = _grown(self.tag_id, max(self._new_tags, default=-1) + 1)
        self.critical = _grown(self.critical, len(self.tag_id))
        self.source_id = _grown(self.source_id, max(self._new_sources, default=-1) + 1)

    def _propose_sources(self, cursor: Cursor) -> None:
        stored = {number: storable(name) for number, name in self._new_sources.items()}
        parameters = {"names": sorted(set(stored.values()))}
        cursor.execute(INSERT_SOURCES, parameters)
        ids = dict(cursor.execute(SELECT_SOURCES, parameters).fetchall())
        for number, name in stored.items():
            self.source_id[number] = ids[name]

    def _propose_tags(self, cursor: Cursor) -> None:
        unique = {(storable(t.path), storable(t.source)): t for t in self._new_tags.values()}
        parameters = _columns(self.shard, unique)
        cursor.execute(INSERT_TAGS, parameters)
        cursor.execute(UPDATE_TAGS, parameters)
        rows = cursor.execute(SELECT_TAGS, parameters).fetchall()
        ids = {(path, source): number for path, source, number in rows}
        for slot, tag in self._new_tags.items():
            self.tag_id[slot] = ids[storable(tag.path), storable(tag.source)]


def _columns(shard: int, tags: Mapping[tuple[str, str], TagInfo]) -> dict[str, object]:
    ordered = sorted(tags.items())
    return {
        "shard": shard,
        "path": [path for (path, _), _ in ordered],
        "source": [source for (_, source), _ in ordered],
        "tag_hash": [_signed(tag_hash_of(tag.path)) for _, tag in ordered],
        "kind": [int(tag.kind) for _, tag in ordered],
        "data_class": [int(tag.data_class) for _, tag in ordered],
        "modelled": [tag.modelled for _, tag in ordered],
        "period_us": [tag.period_us for _, tag in ordered],
        "unit": [storable(tag.unit) for _, tag in ordered],
    }


def tag_hash_of(path: str) -> int:
    """The accounting's hash of a path; of its storable form where the path itself is no text."""
    try:
        return tag_hash(path)
    except UnicodeEncodeError:
        return tag_hash(storable(path))


def _signed(bits: int) -> int:
    return bits - 2**64 if bits >= 2**63 else bits


def _grown(array: Any, count: int) -> Any:
    if count <= len(array):
        return array
    grown = np.zeros(max(count, 2 * len(array)), array.dtype)
    grown[: len(array)] = array
    return grown
