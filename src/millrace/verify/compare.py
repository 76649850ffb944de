"""The comparison itself: pure, so that it can be read and tested without any store."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from millrace import names
from millrace.verify.archive import Files
from millrace.verify.report import Hole, Report
from millrace.verify.stores import Counted
from millrace.verify.tally import Amount, Key, Tally


def compare(counted: Counted, files: Files, *, full: bool, seconds_taken: float) -> Report:
    """Every (source, hour) that any store knows of, from `counted.from_us` on."""
    ledger = counted.ledger
    archived = Tally({key: amount for key, amount in files.rows.items() if key[1] >= counted.from_us})
    explained = Tally()
    for stage in ("duplicate", "rejected", "applied"):
        explained.add_all((*key, *amount) for key, amount in ledger[stage].items())

    critical = _owed(counted, names.TABLE_READING, ledger["critical"])
    reading = _owed(counted, names.TABLE_READING, counted.reading)
    minutes = _rollups(counted, names.TABLE_ROLLUP_1M, ledger["applied_1m"])
    seconds = _rollups(counted, names.TABLE_ROLLUP_1S, ledger["applied_1s"])
    hourly = counted.rollups[names.TABLE_ROLLUP_1H]
    rejected, rejects = (
        _kept(tally, lambda key: key[1] >= counted.from_us and key not in counted.older)
        for tally in (ledger["rejected"], files.rejects)
    )
    holes = [
        *_differences("ledger", ledger["received"], explained),
        *_differences("archive", ledger["applied"], archived),
        *_differences("quarantine", rejected, rejects),
        *_differences(names.TABLE_ROLLUP_1H, ledger["applied"], hourly.rows),
        *_differences(names.TABLE_ROLLUP_1M, *minutes),
        *_differences(names.TABLE_ROLLUP_1S, *seconds),
        *_differences(names.TABLE_READING, critical, reading, lambda key: key[1] not in counted.unhashed),
        *(hole for found in counted.rollups.values() for hole in found.holes),
        *counted.holes,
        *files.holes,
    ]
    totals = {
        stage: ledger[stage].row_count
        for stage in ("received", "duplicate", "rejected", "applied", "critical")
    }
    return Report(
        full=full, hours=len(set(explained) | set(archived) | set(hourly.rows)), **totals,
        archived=archived.row_count, quarantined=files.rejects.row_count, rolled_up=hourly.rows.row_count,
        rolled_up_1m=minutes[1].row_count, rolled_up_1s=seconds[1].row_count,
        owed_1m=minutes[0].row_count, owed_1s=seconds[0].row_count,
        rollup_hours_left_out=sum(len(found.uncovered) for found in counted.rollups.values()),
        readings=reading.row_count, readings_owed=critical.row_count, files=files.count,
        from_us=counted.from_us, seconds=seconds_taken, holes=tuple(holes),
    )  # fmt: skip


def _rollups(counted: Counted, table: str, applied: Tally) -> tuple[Tally, Tally]:
    """What a table of rollups must add up to and what it does, over the hours that it owes and that were recounted."""
    found = counted.rollups[table]

    def is_told(key: Key) -> bool:
        return key[1] not in found.uncovered and key not in counted.older

    return _kept(_owed(counted, table, applied), is_told), _kept(_owed(counted, table, found.rows), is_told)


def _owed(counted: Counted, table: str, tally: Tally) -> Tally:
    floors = counted.floors[table]
    return _kept(tally, lambda key: key[1] >= max(floors.get(key[0], 0), counted.from_us))


def _kept(tally: Tally, is_kept: Callable[[Key], bool]) -> Tally:
    return Tally({key: amount for key, amount in tally.items() if is_kept(key)})


def _differences(
    stage: str, wanted: Tally, found: Tally, is_hashed: Callable[[Key], bool] = lambda key: True
) -> Iterator[Hole]:
    for key in sorted(wanted.keys() | found.keys()):
        want, have = wanted[key], found[key]
        if want.rows != have.rows or (is_hashed(key) and want.total != have.total):
            yield _hole(stage, key, want, have)


def _hole(stage: str, key: Key, want: Amount, have: Amount) -> Hole:
    return Hole(stage, *key, want.rows, have.rows, want.total, have.total)
