"""The comparison, without any store."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from millrace.verify.archive import Files
from millrace.verify.compare import compare
from millrace.verify.stores import Counted
from millrace.verify.tally import NOTHING, Amount, Tally

HOUR = 3_600_000_000
KEYS = st.tuples(st.sampled_from(["a", "b"]), st.sampled_from([0, HOUR, 2 * HOUR]))
AMOUNTS = st.builds(Amount, st.integers(1, 9), st.integers(0, 2**64 - 1))
TALLIES = st.dictionaries(KEYS, AMOUNTS).map(Tally)


def counted(applied: Tally, *, floor_us: int = 0) -> Counted:
    ledger = {stage: Tally() for stage in ("duplicate", "rejected")}
    ledger |= {stage: Tally(applied) for stage in ("received", "applied", "critical")}
    return Counted(0, ledger, Tally(applied), Tally(applied), {"a": floor_us, "b": floor_us})


@given(TALLIES)
def test_equal_stores_have_no_hole(applied: Tally) -> None:
    report = compare(counted(applied), Files(rows=Tally(applied)), full=False, seconds=0)
    assert report.equal
    assert report.applied == sum(amount.rows for amount in applied.values())


@given(TALLIES, KEYS, st.sampled_from(["rollup_1h", "reading", "archive", "ledger"]), AMOUNTS)
def test_any_change_of_one_count_or_sum_is_one_hole_with_its_place(
    applied: Tally, key: tuple[str, int], stage: str, change: Amount
) -> None:
    stores, files = counted(applied), Files(rows=Tally(applied))
    stored = {
        "rollup_1h": stores.rollup, "reading": stores.reading, "archive": files.rows,
        "ledger": stores.ledger["received"],
    }[stage]  # fmt: skip
    stored.add(*key, *change)
    report = compare(stores, files, full=False, seconds=0)
    assert [(hole.stage, hole.source, hole.hour_us) for hole in report.holes] == [(stage, *key)]


def test_equal_counts_with_other_content_are_a_hole() -> None:
    stores = counted(Tally({("a", 0): Amount(3, 7)}))
    stores.rollup["a", 0] = Amount(3, 8)
    (hole,) = compare(stores, Files(rows=Tally(stores.ledger["applied"])), full=False, seconds=0).holes
    assert "other content" in hole.line()


def test_hours_below_the_floor_are_not_asked_of_reading() -> None:
    applied = Tally({("a", 0): Amount(3, 7), ("a", HOUR): Amount(2, 1)})
    stores = counted(applied, floor_us=HOUR)
    del stores.reading["a", 0]
    assert compare(stores, Files(rows=applied), full=False, seconds=0).equal
    del stores.reading["a", HOUR]
    assert not compare(stores, Files(rows=applied), full=False, seconds=0).equal


@given(TALLIES, TALLIES)
def test_subtracting_what_was_added_gives_the_old_tally(first: Tally, second: Tally) -> None:
    both = Tally(first)
    both.add_all((*key, *amount) for key, amount in second.items())
    left = both.without(second)
    assert left == {key: amount for key, amount in first.items() if amount != NOTHING}


def test_sums_are_taken_modulo_two_to_the_sixty_four_and_signed_ones_count_alike() -> None:
    tally = Tally().add_all([("a", 0, 1, 2**64 - 1), ("a", 0, 1, 5), ("a", 0, 1, -3)])
    assert tally["a", 0] == Amount(3, 1)
