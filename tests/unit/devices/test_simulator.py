"""The simulator: open loop, orders while it runs, scenarios."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import msgspec
import pytest

from millrace.clock import SECOND_US, EdgeClock, HandClock
from millrace.devices.__main__ import WORKERS_WAIT_S, await_workers
from millrace.devices.commands import (
    PRESETS,
    Answer,
    Command,
    FaultOrder,
    Inbox,
    begin,
    folder_of,
    order,
    orders_of,
)
from millrace.devices.faults import Faults
from millrace.devices.plant import Plant, SourceReadings
from millrace.devices.scenarios import Scenario, load_scenario
from millrace.devices.simulator import BEHIND_US_MAX, Simulator
from millrace.errors import DataFolderError, MillraceError, SettingError

START_US = 1_767_600_000_000_000


def simulator(take: float = 1.0) -> tuple[Simulator, HandClock, list[SourceReadings]]:
    clock = HandClock(START_US)
    plant = Plant(200, seed=1, sources=2, start_us=START_US)
    got: list[SourceReadings] = []

    def send(readings: SourceReadings) -> int:
        got.append(readings)
        return int(len(readings) * take)

    return Simulator(plant, Faults(plant), send, clock), clock, got


def test_every_reading_is_sent_once_when_it_is_due() -> None:
    live, clock, got = simulator()
    live.run(lambda: clock.now_us() > START_US + 5 * SECOND_US)
    sent = [(part.source, tag, ts) for part in got for tag, ts in zip(part.tag, part.ts_us, strict=True)]
    plant = Plant(200, seed=1, sources=2, start_us=START_US)
    last_us = max(ts for _, _, ts in sent)
    due = [
        (part.source, tag, ts)
        for part in plant.readings(START_US, int(last_us) + 1)
        for tag, ts in zip(part.tag, part.ts_us, strict=True)
    ]
    assert sorted(sent) == sorted(due)
    assert live.sent.readings == len(due)
    assert last_us > START_US + 4.9 * SECOND_US


def test_what_the_platform_does_not_take_is_counted_and_the_plant_goes_on() -> None:
    live, clock, got = simulator(take=0.0)
    live.run(lambda: clock.now_us() > START_US + SECOND_US)
    assert live.sent.readings == 0
    assert live.sent.refused == sum(len(part) for part in got) > 100


def test_a_simulator_that_slept_does_not_send_hours_at_once() -> None:
    live, _, got = simulator()
    live.step(START_US + 3_600 * SECOND_US)
    oldest_us = min(int(part.ts_us.min()) for part in got)
    assert oldest_us >= START_US + 3_600 * SECOND_US - BEHIND_US_MAX
    assert live.sent.skipped_us == 3_600 * SECOND_US - BEHIND_US_MAX


def test_a_clock_set_back_does_not_stop_the_plant() -> None:
    live, _, got = simulator()
    live.step(START_US + 100 * SECOND_US)
    got.clear()
    live.step(START_US + 50 * SECOND_US)
    live.step(START_US + 51 * SECOND_US)
    assert got


def test_a_fault_ordered_while_it_runs_is_answered_with_its_tags(tmp_path: Path) -> None:
    plant = Plant(400, seed=1, sources=4, start_us=START_US)
    faults = Faults(plant)
    inbox = Inbox(tmp_path, faults)
    done = threading.Event()

    def serve() -> None:
        while not done.wait(0.01):
            inbox.poll(EdgeClock().now_us())

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        answer = order(tmp_path, Command(faults=orders_of("pump")))
        assert len(answer.struck) == 3
        assert "acme/lyon/utilities/line-1/pump-01/vibration-de" in answer.struck[1].tags
        assert len(faults.active) == 3
        with pytest.raises(MillraceError, match="did you mean"):
            order(
                tmp_path,
                Command(faults=(FaultOrder(kind="stuck", pattern="acme/lyon/utilities/line-1/pump-1"),)),
            )
        order(tmp_path, Command(clear=True))
        assert faults.active == ()
    finally:
        done.set()
        thread.join()
    assert list(folder_of(tmp_path).iterdir()) == []


@pytest.mark.parametrize(
    ("fault", "equipment", "words"),
    [
        ("stuck", "nosuch", r"wanted a path or pattern that some measured signal has, such as \*/"),
        ("stuck", "pump-01", r"did you mean \*/pump-01\?"),
        ("dropout", "acme/lyon/utilities/line-1/pump-1", "did you mean acme/lyon/utilities/line-1/pump-01"),
        ("pump", "*/press-01", "found '\\*/press-01/vibration-de'"),
    ],
)
def test_what_no_machine_is_called_is_a_mistake_of_whoever_asks_and_changes_nothing(
    tmp_path: Path, fault: str, equipment: str, words: str
) -> None:
    """Exit code 2, the nearest name, and neither half of a preset's faults nor the healing before them."""
    faults = Faults(Plant(400, seed=1, sources=4, start_us=START_US))
    inbox = Inbox(tmp_path, faults)
    begin(faults, orders_of("press")[0], START_US)
    before = faults.active
    told: list[MillraceError] = []

    def ask() -> None:
        well = orders_of("oven")
        with pytest.raises(MillraceError, match=words) as refused:
            order(tmp_path, Command(faults=(*well, *orders_of(fault, equipment=equipment)), clear=True))
        told.append(refused.value)

    asking = threading.Thread(target=ask)
    asking.start()
    while asking.is_alive():
        inbox.poll(START_US)
    asking.join()
    assert [error.exit_code for error in told] == [2]
    assert faults.active == before


def test_without_a_simulator_an_order_says_how_to_start_one(tmp_path: Path) -> None:
    with pytest.raises(DataFolderError, match="millrace up"):
        order(tmp_path, Command(clear=True), wait_s=0.1)
    assert list(folder_of(tmp_path).iterdir()) == []


def test_an_answer_that_is_read_while_old_ones_are_looked_for_stops_no_plant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inbox = Inbox(tmp_path, Faults(Plant(100, seed=1, sources=1, start_us=START_US)))
    monkeypatch.setattr(Path, "glob", lambda self, pattern: [self / "read.answer"] * (pattern == "*.answer"))
    assert inbox.poll(START_US) == 0


def test_rubbish_in_the_inbox_is_answered_and_removed(tmp_path: Path) -> None:
    plant = Plant(100, seed=1, sources=1, start_us=START_US)
    inbox = Inbox(tmp_path, Faults(plant))
    (folder_of(tmp_path) / "a.json").write_bytes(b"{nonsense")
    (folder_of(tmp_path) / "b.json").write_bytes(b'{"fautls": []}')
    (folder_of(tmp_path) / "c.json").write_bytes(b" " * 100_000)
    assert inbox.poll(START_US) == 3
    answers = {
        path.stem: msgspec.json.decode(path.read_bytes()) for path in folder_of(tmp_path).glob("*.answer")
    }
    assert sorted(answers) == ["a", "b", "c"]
    assert all(answer["error"] for answer in answers.values())
    assert not list(folder_of(tmp_path).glob("*.json"))


def test_orders_to_an_earlier_life_are_not_carried_out(tmp_path: Path) -> None:
    folder_of(tmp_path).mkdir(parents=True)
    (folder_of(tmp_path) / "old.json").write_bytes(msgspec.json.encode(Command(faults=orders_of("pump"))))
    faults = Faults(Plant(400, seed=1, sources=4, start_us=START_US))
    assert Inbox(tmp_path, faults).poll(START_US) == 0
    assert faults.active == ()


@pytest.mark.parametrize("name", list(PRESETS))
def test_every_preset_strikes_something_in_the_default_plant(name: str) -> None:
    faults = Faults(Plant(10_000, start_us=START_US))
    for one in orders_of(name):
        assert begin(faults, one, START_US).tags


def test_a_preset_strikes_one_machine_of_the_plant() -> None:
    faults = Faults(Plant(10_000, start_us=START_US))
    tags = [tag for one in orders_of("pump") for tag in begin(faults, one, START_US).tags]
    assert {tag.rpartition("/")[0] for tag in tags} == {"acme/lyon/utilities/line-1/pump-01"}


def test_what_a_pump_does_at_once_it_does_to_a_tag_that_speaks_every_second() -> None:
    """One that speaks more seldom is learned, and found, minutes later."""
    plant = Plant(10_000, start_us=START_US)
    (knocking,) = begin(Faults(plant), orders_of("pump")[0], START_US).tags
    assert next(tag for tag in plant.model.tags if tag.path == knocking).period_us <= SECOND_US


def test_an_answer_says_how_long_the_plant_has_been_sending(tmp_path: Path) -> None:
    """And not how long its process has waited for the workers before."""
    plant = Plant(400, seed=1, sources=4, start_us=START_US - 30 * SECOND_US)
    inbox = Inbox(tmp_path, Faults(plant, sent_from_us=START_US))
    told: list[Answer] = []
    asking = threading.Thread(target=lambda: told.append(order(tmp_path, Command(faults=orders_of("pump")))))
    asking.start()
    while asking.is_alive():
        inbox.poll(START_US + 88 * SECOND_US)
        time.sleep(0.01)
    assert told[0].plant_age_s == 88.0


def test_a_preset_moves_to_the_named_equipment() -> None:
    orders = orders_of("pump", equipment="acme/turin/utilities/line-1/pump-03", duration_s=9)
    assert [one.pattern for one in orders] == [
        "acme/turin/utilities/line-1/pump-03/vibration-de",
        "acme/turin/utilities/line-1/pump-03",
        "acme/turin/utilities/line-1/pump-03/flow",
    ]
    assert {one.duration_s for one in orders} == {9}


def test_a_scenario_file_gives_a_plant_its_faults_and_labels(tmp_path: Path) -> None:
    path = tmp_path / "pump.yaml"
    path.write_text(
        "seed: 7\ntags: 400\nsources: 4\nfaults:\n"
        "  - {kind: bearing-wear, at: 5min, for: 10min, magnitude: 9,\n"
        "     target: acme/lyon/utilities/line-1/pump-01}\n"
        "  - {preset: oven, at: 30s}\n"
    )
    scenario = load_scenario(path)
    plant = scenario.plant(start_us=START_US)
    assert (plant.seed, len(plant.tags), len(plant.source_names)) == (7, 400, 4)
    wear, oven = scenario.orders()
    assert (wear.after_s, wear.duration_s, wear.magnitude) == (300, 600, 9)
    assert (oven.kind, oven.after_s) == ("step", 30)
    inbox = Faults(plant)
    labels = msgspec.json.decode(scenario.labels([begin(inbox, one, START_US) for one in scenario.orders()]))
    assert labels["seed"] == 7
    assert labels["faults"][0]["start_us"] == START_US + 300 * SECOND_US
    assert all(tag.startswith("acme/lyon/utilities/line-1/pump-01/") for tag in labels["faults"][0]["tags"])


@pytest.mark.parametrize(
    ("scenario", "found"),
    [
        (Scenario(tags=0), "0 tags of 1 sources"),
        (Scenario(tags=-5), "-5 tags of 1 sources"),
        (Scenario(tags=3, sources=4), "3 tags of 4 sources"),
        (Scenario(tags=10**9), "1000000000 tags of 10000000 sources"),
    ],
)
def test_a_plant_that_cannot_be_is_refused_before_it_is_made(scenario: Scenario, found: str) -> None:
    with pytest.raises(SettingError, match=f"plant: found '{found}', wanted 1 to 1000000 tags"):
        scenario.plant(start_us=START_US)


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ("sed: 7", "did you mean seed"),
        ("tags: many", "a whole number, 1 or more"),
        ("faults: [{kind: stuk, target: a}]", "did you mean stuck"),
        ("faults: [{kind: stuck}]", "a path or pattern"),
        ("faults: [{kind: stuck, preset: pump}]", "kind or preset"),
        ("faults: [{preset: pmup}]", "did you mean pump"),
        ("faults: [{preset: pump, at: soon}]", "a length of time"),
        ("faults: {}", "a list"),
        ("seed: 99999999999999999999999", "up to 9007199254740992"),
        ("faults: [{kind: step, target: '*', magnitude: .inf}]", "a number between"),
        ("faults: [{kind: step, target: '*', magnitude: .nan}]", "a finite number"),
        ("faults: [{kind: oscillation, target: '*', period: 0s}]", "more than nothing"),
        ("[1, 2", "wanted YAML in UTF-8"),
        ("period_scale: 0", "period_scale: found 0, wanted 0.001 to 1000"),
        ("period_scale: .nan", "wanted 0.001 to 1000"),
        ("- a", "a mapping"),
    ],
)
def test_a_wrong_scenario_says_what_was_found_and_wanted(tmp_path: Path, text: str, mistake: str) -> None:
    path = tmp_path / "scenario.yaml"
    path.write_text(text)
    with pytest.raises(SettingError, match=mistake):
        load_scenario(path)


def test_a_plant_waits_for_the_workers_and_no_longer_than_its_bound() -> None:
    clock = HandClock(START_US)
    await_workers(lambda: clock.monotonic_s() >= 7, lambda: False, clock)
    assert 7 <= clock.monotonic_s() < 8
    await_workers(lambda: False, lambda: False, clock)
    assert WORKERS_WAIT_S <= clock.monotonic_s() - 7 < WORKERS_WAIT_S + 2
    waited_s = clock.monotonic_s()
    await_workers(lambda: False, lambda: True, clock)
    assert clock.monotonic_s() == waited_s
