"""Labelled faults: each does what it says, to the tags it names, for as long as it says, and no more."""

from __future__ import annotations

import numpy as np
import pytest

from millrace.clock import SECOND_US
from millrace.devices.faults import FAULTS, FAULTS_MAX, Fault, Faults
from millrace.devices.plant import Plant, Window
from millrace.devices.sampling import MEASURED
from millrace.errors import SettingError

START_US = 1_767_600_000_000_000
PUMP = "acme/lyon/utilities/line-1/pump-01"


def plant() -> Plant:
    return Plant(300, seed=5, sources=3, start_us=START_US)


def fault(kind: str, pattern: str, begin_s: float = 2.011, duration_s: float = 4.017, **more: float) -> Fault:
    return Fault(kind, pattern, START_US + int(begin_s * SECOND_US), int(duration_s * SECOND_US), **more)


def played(*faults: Fault, step_us: int = 50_000, until_s: float = 8) -> tuple[Plant, Window, Window]:
    """The plant, its healthy readings, and what comes out of it with the faults, played in steps."""
    healthy, sick = plant(), plant()
    active = Faults(sick)
    for one in faults:
        active.add(one)
    parts = [
        active.apply(sick.window(from_us, from_us + step_us), from_us)
        for from_us in range(START_US, START_US + int(until_s * SECOND_US), step_us)
    ]
    whole = Window(*(np.concatenate([getattr(part, name) for part in parts]) for name in Window.__slots__))
    order = np.lexsort((whole.ts_us, whole.tag))
    whole = Window(*(getattr(whole, name)[order] for name in Window.__slots__))
    return healthy, healthy.window(START_US, START_US + int(until_s * SECOND_US)), whole


def during(one: Fault, window: Window) -> np.ndarray:
    return (window.ts_us >= one.start_us) & (window.ts_us < one.end_us)


@pytest.mark.parametrize("kind", [name for name, row in FAULTS.items() if not row.drops])
def test_a_fault_changes_its_tags_in_its_time_and_nothing_else(kind: str) -> None:
    pattern = PUMP if kind == "bearing-wear" else f"{PUMP}/discharge-pressure"
    one = fault(kind, pattern, magnitude=40)
    source, healthy, sick = played(one)
    assert (sick.ts_us == healthy.ts_us).all()
    changed = sick.value != healthy.value
    assert changed.any()
    struck = [n for n, path in enumerate(source.tags) if path.startswith(PUMP)]
    assert set(sick.tag[changed].tolist()) <= set(struck)
    assert during(one, sick)[changed].all()


@pytest.mark.parametrize("kind", list(FAULTS))
def test_a_fault_is_the_same_for_any_cut_of_time(kind: str) -> None:
    one = fault(kind, PUMP if kind == "bearing-wear" else f"{PUMP}/flow", magnitude=25)
    _, _, fine = played(one, step_us=30_000, until_s=7.5)
    _, _, coarse = played(one, step_us=1_500_000, until_s=7.5)
    for name in Window.__slots__:
        np.testing.assert_array_equal(getattr(fine, name), getattr(coarse, name))


def one_tag(window: Window, number: int, one: Fault) -> np.ndarray:
    return window.value[(window.tag == number) & during(one, window)]


def test_a_stuck_sensor_repeats_its_last_value() -> None:
    one = fault("stuck", f"{PUMP}/discharge-pressure")
    source, healthy, sick = played(one)
    number = source.tags.index(one.pattern)
    held = one_tag(sick, number, one)
    assert len(held) > 15
    assert len(set(held.tolist())) == 1
    assert held[0] == one_tag(healthy, number, one)[0]


def test_a_drift_begins_at_nothing_and_ends_at_its_magnitude() -> None:
    one = fault("drift", f"{PUMP}/discharge-pressure", magnitude=20)
    source, healthy, sick = played(one)
    number = source.tags.index(one.pattern)
    away = one_tag(sick, number, one) - one_tag(healthy, number, one)
    resolution = source.samples["resolution"][number]
    assert abs(away[0]) <= 20 * source.spread[number] * 0.1 + resolution
    assert away[-1] == pytest.approx(20 * source.spread[number], rel=0.1)
    assert (np.diff(away) >= -2 * resolution).all()


def test_a_dropout_of_a_tag_silences_it_alone() -> None:
    one = fault("dropout", f"{PUMP}/flow")
    source, healthy, sick = played(one)
    number = source.tags.index(one.pattern)
    assert len(one_tag(healthy, number, one)) > 0
    assert len(one_tag(sick, number, one)) == 0
    assert len(healthy.tag) - len(sick.tag) == len(one_tag(healthy, number, one))


def test_a_source_dropout_silences_its_gateway_whole() -> None:
    one = fault("source-dropout", f"{PUMP}/flow")
    source, _, sick = played(one)
    gateway = source.source_of_tag[source.tags.index(one.pattern)]
    hit = during(one, sick)
    assert (source.source_of_tag[sick.tag[hit]] != gateway).all()
    assert (source.source_of_tag[sick.tag[~hit]] == gateway).any()
    by_name = fault("source-dropout", f"source:{source.source_names[gateway]}")
    _, _, again = played(by_name)
    np.testing.assert_array_equal(again.ts_us, sick.ts_us)


def test_a_sensor_never_says_more_than_its_range() -> None:
    one = fault("step", PUMP + "/*", magnitude=1e6)
    source, _, sick = played(one)
    assert (sick.value <= source.samples["high"][sick.tag] + 1e-6).all()


def test_states_and_counters_are_only_silenced_never_bent() -> None:
    source, healthy, sick = played(fault("step", f"{PUMP}/*", magnitude=30))
    others = source.samples["form"][healthy.tag] != MEASURED
    np.testing.assert_array_equal(sick.value[others], healthy.value[others])


def test_a_fault_that_strikes_nothing_says_so_with_the_nearest_path() -> None:
    faults = Faults(plant())
    with pytest.raises(SettingError, match=r"did you mean acme/lyon/utilities/line-1/pump-01/flow"):
        faults.add(fault("step", f"{PUMP}/flwo"))
    with pytest.raises(SettingError, match="did you mean stuck"):
        faults.add(fault("stuk", f"{PUMP}/flow"))
    with pytest.raises(SettingError, match="more than nothing"):
        faults.add(fault("step", f"{PUMP}/flow", duration_s=0))


def test_the_faults_of_a_plant_are_bounded_and_forgotten_when_over() -> None:
    source = plant()
    faults = Faults(source)
    for _ in range(FAULTS_MAX):
        faults.add(fault("step", f"{PUMP}/flow"))
    with pytest.raises(SettingError, match="faults already"):
        faults.add(fault("step", f"{PUMP}/flow"))
    faults.apply(source.window(START_US, START_US + 1), START_US + 10 * SECOND_US)
    assert faults.active == ()


@pytest.mark.parametrize("duration_s", [0, -1, 400 * 86_400, 1e15])
def test_a_fault_lasts_more_than_nothing_and_at_most_a_year(duration_s: float) -> None:
    faults = Faults(Plant(400, seed=1, sources=4, start_us=0))
    with pytest.raises(SettingError, match=r"fault duration: found .* wanted more than nothing and at most"):
        faults.add(fault("step", PUMP, duration_s=duration_s))
    assert faults.active == ()
