"""The report's arithmetic: no figure for rows that are not equal, every ratio to ours as shipped."""

from __future__ import annotations

import json

from benchmarks.peers.outcome import Outcome, Spent, report, table


def outcome(engine: str, cpu_s: float, difference: str = "", spent: Spent | None = None) -> Outcome:
    return Outcome(
        engine, "as it comes", "rollups", 1_000_000, 3.0, 0.25, spent or Spent(cpu_s), 100, 7, difference
    )


def row(engine: str, outcomes: list[Outcome]) -> str:
    return next(line for line in table(outcomes).splitlines() if line.startswith(engine + " "))


OURS, FAST, SLOW = outcome("millrace", 1.0), outcome("bytewax", 2.0), outcome("pathway", 8.0)


def test_the_best_other_engine_is_what_ours_is_measured_by() -> None:
    ours_alone = outcome("millrace, EWMA alone", 0.5)
    assert report([SLOW, FAST, ours_alone, OURS])["ours_to_best"] == 2.0


def test_each_row_has_its_readings_a_cpu_second_and_its_ratio_to_ours() -> None:
    cells = row("bytewax", [FAST, OURS]).split()
    assert cells == ["bytewax", "1,000,000", "3.00", "2.00", "0.25", "500,000", "0.500", "100", "7"]


def test_rows_that_are_not_equal_have_no_figure_and_are_no_best() -> None:
    wrong = outcome("bytewax", 0.1, difference="rollup: 9 rows, wanted 10")
    said = row("bytewax", [wrong, SLOW, OURS])
    assert "NOT EQUAL: rollup: 9 rows, wanted 10" in said
    assert "10,000,000" not in said
    assert report([wrong, SLOW, OURS])["ours_to_best"] == 8.0


def test_without_ours_as_shipped_there_is_no_ratio() -> None:
    wrong = outcome("millrace", 1.0, difference="anomaly: none")
    for outcomes in ([FAST], [FAST, wrong], [OURS]):
        assert report(outcomes)["ours_to_best"] is None
    assert row("bytewax", [FAST]).split()[6] == "-"


def test_the_report_says_options_stores_and_cpu_by_process() -> None:
    spent = Spent(3.0, {"worker": 2.5, "producer": 0.5}, kept_bytes=4_096, committed_s=1.25)
    lines = table([outcome("millrace", 3.0, spent=spent)]).splitlines()
    assert [line.strip() for line in lines[2:]] == [
        "options: as it comes",
        "stores: rollups (4,096 bytes)",
        "all rows committed after 1.25 s, the rest is the archive's",
        "CPU s: producer 0.50, worker 2.50",
    ]


def test_the_report_is_one_line_of_json_with_every_field() -> None:
    said = json.loads(json.dumps(report([FAST, OURS])))
    assert said["rows"][0]["readings_per_cpu_s"] == 500_000
    assert {
        "engine",
        "options",
        "stores",
        "wall_s",
        "postgres_cpu_s",
        "spent",
        "rollups",
        "anomalies",
    } <= set(said["rows"][0])
