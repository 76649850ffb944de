"""The comparison, without any store."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.verify.archive import Files
from millrace.verify.compare import compare
from millrace.verify.report import Report
from millrace.verify.rollups import Rollups
from millrace.verify.stores import Counted
from millrace.verify.tally import NOTHING, Amount, Tally

HOUR = 3_600_000_000
KEYS = st.tuples(st.sampled_from(["a", "b"]), st.sampled_from([0, HOUR, 2 * HOUR]))
AMOUNTS = st.builds(Amount, st.integers(1, 9), st.integers(0, 2**64 - 1))
TALLIES = st.dictionaries(KEYS, AMOUNTS).map(Tally)


def counted(applied: Tally, *, floor_us: int = 0) -> Counted:
    """As many rejected as applied, and each tag with every resolution."""
    ledger = {stage: Tally(applied) for stage in ("applied", "critical", "applied_1m", "applied_1s", "rejected")}
    ledger["duplicate"] = Tally()
    ledger["received"] = Tally(applied).add_all((*key, *amount) for key, amount in applied.items())
    rollups = {table: Rollups(Tally(applied)) for table in ("rollup_1h", "rollup_1m", "rollup_1s")}
    floors = {table: {"a": floor_us, "b": floor_us} for table in ("reading", "rollup_1m", "rollup_1s")}
    return Counted(0, ledger, rollups, Tally(applied), floors)


def files_of(applied: Tally) -> Files:
    return Files(rows=Tally(applied), rejects=Tally(applied))


def compared(stores: Counted, files: Files) -> Report:
    return compare(stores, files, full=False, seconds_taken=0)


@given(TALLIES)
def test_equal_stores_have_no_hole(applied: Tally) -> None:
    report = compared(counted(applied), files_of(applied))
    assert report.equal
    assert report.applied == report.quarantined == sum(amount.rows for amount in applied.values())


STAGES = st.sampled_from(
    ["rollup_1h", "rollup_1m", "rollup_1s", "reading", "archive", "quarantine", "ledger"]
)


@given(TALLIES, KEYS, STAGES, AMOUNTS)
def test_any_change_of_one_count_or_sum_is_one_hole_with_its_place(
    applied: Tally, key: tuple[str, int], stage: str, change: Amount
) -> None:
    stores, files = counted(applied), files_of(applied)
    stored = {
        "reading": stores.reading, "archive": files.rows, "quarantine": files.rejects,
        "ledger": stores.ledger["received"],
    } | {table: found.rows for table, found in stores.rollups.items()}  # fmt: skip
    stored[stage].add(*key, *change)
    report = compared(stores, files)
    assert [(hole.stage, hole.source, hole.hour_us) for hole in report.holes] == [(stage, *key)]


def test_equal_counts_with_other_content_are_a_hole() -> None:
    stores = counted(Tally({("a", 0): Amount(3, 7)}))
    stores.rollups["rollup_1h"].rows["a", 0] = Amount(3, 8)
    (hole,) = compared(stores, files_of(stores.ledger["applied"])).holes
    assert "other content" in hole.line()


@pytest.mark.parametrize("table", ["reading", "rollup_1m", "rollup_1s"])
def test_hours_below_the_floor_are_not_asked_of_a_table(table: str) -> None:
    applied = Tally({("a", 0): Amount(3, 7), ("a", HOUR): Amount(2, 1)})
    stores = counted(applied, floor_us=HOUR)
    rows = stores.reading if table == "reading" else stores.rollups[table].rows
    del rows["a", 0]
    assert compared(stores, files_of(applied)).equal
    del rows["a", HOUR]
    assert [hole.stage for hole in compared(stores, files_of(applied)).holes] == [table]


def test_hours_that_an_older_release_began_owe_neither_fine_rollups_nor_rejects() -> None:
    applied = Tally({("a", 0): Amount(3, 7), ("a", HOUR): Amount(2, 1)})
    stores = counted(applied)
    stores.older.add(("a", 0))
    for stage in ("applied_1m", "applied_1s"):
        stores.ledger[stage]["a", 0] = NOTHING
    files = files_of(applied)
    del files.rejects["a", 0]
    assert compared(stores, files).equal
    del stores.rollups["rollup_1h"].rows["a", 0]
    assert not compared(stores, files).equal


@given(TALLIES, TALLIES)
def test_subtracting_what_was_added_gives_the_old_tally(first: Tally, second: Tally) -> None:
    both = Tally(first)
    both.add_all((*key, *amount) for key, amount in second.items())
    left = both.without(second)
    assert left == {key: amount for key, amount in first.items() if amount != NOTHING}


def test_sums_are_taken_modulo_two_to_the_sixty_four_and_signed_ones_count_alike() -> None:
    tally = Tally().add_all([("a", 0, 1, 2**64 - 1), ("a", 0, 1, 5), ("a", 0, 1, -3)])
    assert tally["a", 0] == Amount(3, 1)
