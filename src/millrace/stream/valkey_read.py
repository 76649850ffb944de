"""Reading many logs in one blocking call, with a bound on the bytes of one answer.

XREAD bounds records, not bytes, and a record may be a megabyte. So the first call takes few records a shard
(all there is, when a worker keeps up), and further calls take more as far as the bytes seen so far allow.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from millrace.batch import Record
from millrace.stream.position import arrival_us, id_of, position_of

FIRST_COUNT: Final = 8
"""Records a shard in the first call: 8 x 1 MB x shards is the worst answer of a server."""
READ_BYTES_MAX: Final = 4_000_000
"""No further call once an answer holds this much: about 300,000 readings, a sixth of a second of work. More, and
a backlog in one shard would delay the live readings of its neighbours."""
ROUNDS_MAX: Final = 8


class BoundedRead:
    """XREAD over several logs."""

    def __init__(self, client: Any, keys: Sequence[bytes]) -> None:
        self._client = client
        self._keys = keys
        self._shards = {key: shard for shard, key in enumerate(keys)}

    def __call__(self, after: Mapping[int, int], *, count_max: int, wait_s: float) -> dict[int, list[Record]]:
        """Records per shard that has any."""
        records: dict[int, list[Record]] = {}
        wanted = dict(after)
        count = min(FIRST_COUNT, count_max)
        size = 0
        for _ in range(ROUNDS_MAX):
            fresh = self._once(wanted, count=count, wait_s=0.0 if records else wait_s)
            for shard, found in fresh.items():
                records.setdefault(shard, []).extend(found)
                size += sum(len(record.data) for record in found)
            wanted = _more(fresh, records, count=count, count_max=count_max)
            count = _next_count(records, wanted, size=size, count_max=count_max)
            if not wanted or count < 1:
                break
        return records

    def _once(self, after: Mapping[int, int], *, count: int, wait_s: float) -> dict[int, list[Record]]:
        if not after:
            return {}
        block = ["BLOCK", max(1, round(wait_s * 1_000))] if wait_s > 0 else []
        keys = [self._keys[shard] for shard in after]
        ids = [id_of(position) for position in after.values()]
        answer = self._client.execute_command("XREAD", "COUNT", count, *block, "STREAMS", *keys, *ids)
        logs = answer.items() if isinstance(answer, dict) else answer
        return {self._shards[key]: [_record(*entry) for entry in entries] for key, entries in logs}


def _record(entry_id: bytes, fields: Sequence[bytes]) -> Record:
    """An entry as we or anybody else put it: without our fields its data is empty, which no decoder knows."""
    position = position_of(entry_id)
    if len(fields) == 4 and fields[0] == b"k" and fields[2] == b"d":
        key, data = fields[1], fields[3]
    else:
        by_name = dict(zip(fields[::2], fields[1::2], strict=True))
        key, data = by_name.get(b"k", b""), by_name.get(b"d", b"")
    return Record(position, arrival_us(position), key.decode(errors="replace"), data)


def _more(
    fresh: Mapping[int, list[Record]], records: Mapping[int, list[Record]], *, count: int, count_max: int
) -> dict[int, int]:
    """Where to go on: shards whose answer was as long as asked for, and that may give more."""
    return {
        shard: found[-1].position
        for shard, found in fresh.items()
        if len(found) >= count and len(records[shard]) < count_max
    }


def _next_count(
    records: Mapping[int, list[Record]], wanted: Mapping[int, int], *, size: int, count_max: int
) -> int:
    """Records a shard to ask for next: bounded by the bytes left at the mean size so far."""
    if not wanted:
        return 0
    number = sum(len(found) for found in records.values())
    fitting = (READ_BYTES_MAX - size) * number // max(size, 1) // len(wanted)
    return int(min(count_max - max(len(records[shard]) for shard in wanted), fitting))
