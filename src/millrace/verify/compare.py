"""The comparison itself: pure, so that it can be read and tested without any store."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from millrace.verify.archive import Files
from millrace.verify.report import Hole, Report
from millrace.verify.stores import Counted
from millrace.verify.tally import Amount, Key, Tally


def compare(counted: Counted, files: Files, *, full: bool, seconds: float) -> Report:
    """Every (source, hour) that any store knows of, from `counted.from_us` on."""
    ledger = counted.ledger
    archived = Tally({key: amount for key, amount in files.rows.items() if key[1] >= counted.from_us})
    explained = Tally()
    for stage in ("duplicate", "rejected", "applied"):
        explained.add_all((*key, *amount) for key, amount in ledger[stage].items())

    def is_owed(key: Key) -> bool:
        return key[1] >= counted.floors.get(key[0], 0) and key[1] >= counted.from_us

    critical = Tally({key: amount for key, amount in ledger["critical"].items() if is_owed(key)})
    reading = Tally({key: amount for key, amount in counted.reading.items() if is_owed(key)})
    holes = [
        *_differences("ledger", ledger["received"], explained),
        *_differences("archive", ledger["applied"], archived),
        *_differences("rollup_1h", ledger["applied"], counted.rollup),
        *_differences("reading", critical, reading, lambda key: key[1] not in counted.uncovered),
        *files.holes,
    ]
    totals = {
        stage: ledger[stage].row_count
        for stage in ("received", "duplicate", "rejected", "applied", "critical")
    }
    return Report(
        full=full, hours=len(set(explained) | set(archived) | set(counted.rollup)), **totals,
        archived=archived.row_count, rolled_up=counted.rollup.row_count, readings=reading.row_count,
        readings_owed=critical.row_count, files=files.count, from_us=counted.from_us, seconds=seconds,
        holes=tuple(holes),
    )  # fmt: skip


def _differences(
    stage: str, wanted: Tally, found: Tally, is_hashed: Callable[[Key], bool] = lambda key: True
) -> Iterator[Hole]:
    for key in sorted(wanted.keys() | found.keys()):
        want, have = wanted[key], found[key]
        if want.rows != have.rows or (is_hashed(key) and want.total != have.total):
            yield _hole(stage, key, want, have)


def _hole(stage: str, key: Key, want: Amount, have: Amount) -> Hole:
    return Hole(stage, *key, want.rows, have.rows, want.total, have.total)
