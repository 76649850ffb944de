"""The simulated plant: the same whatever the cuts, plausible, and cheap."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.assets.check import check_tag
from millrace.clock import HOUR_US, SECOND_US
from millrace.devices import latent, sampling
from millrace.devices.equipment import FAULT, IDLE, MACHINE_STATES, RUNNING
from millrace.devices.plant import Plant, Window

START_US = 1_767_600_000_000_000  # Monday 2026-01-05, 08:00 UTC


@pytest.fixture(scope="module")
def plant() -> Plant:
    return Plant(600, seed=5, sources=6, start_us=START_US)


def rows(window: Window) -> set[tuple[int, int, float, int]]:
    columns = (window.tag, window.ts_us, window.value, window.quality)
    return set(zip(*(column.tolist() for column in columns), strict=True))


@settings(max_examples=25)
@given(cuts=st.lists(st.integers(1, 6 * SECOND_US - 1), max_size=12, unique=True).map(sorted))
def test_any_cut_of_time_gives_the_same_readings(cuts: list[int]) -> None:
    whole = Plant(200, seed=3, sources=2, start_us=START_US).window(START_US, START_US + 6 * SECOND_US)
    cut = Plant(200, seed=3, sources=2, start_us=START_US)
    edges = [0, *cuts, 6 * SECOND_US]
    parts = [cut.window(START_US + a, START_US + b) for a, b in pairwise(edges)]
    assert sum(len(part.tag) for part in parts) == len(whole.tag) > 500
    assert set().union(*(rows(part) for part in parts)) == rows(whole)


def test_going_back_in_time_gives_the_same_readings_again(plant: Plant) -> None:
    first = rows(plant.window(START_US + SECOND_US, START_US + 3 * SECOND_US))
    plant.window(START_US + 100 * SECOND_US, START_US + 101 * SECOND_US)
    assert rows(plant.window(START_US + SECOND_US, START_US + 3 * SECOND_US)) == first


def test_another_seed_is_another_plant() -> None:
    one, other = (Plant(100, seed=seed, sources=1, start_us=START_US) for seed in (1, 2))
    assert one.tags == other.tags
    span = (START_US, START_US + SECOND_US)
    assert rows(one.window(*span)).isdisjoint(rows(other.window(*span)))


def due_times(plant: Plant, tag: int, from_us: int, to_us: int) -> list[int]:
    """Slow twin of the kernel's schedule: walk every k near the window."""
    sample = plant.samples[tag]
    period, phase, jitter = (int(sample[name]) for name in ("period_us", "phase_us", "jitter_us"))
    found = []
    for k in range(from_us // period - 3, to_us // period + 3):
        due_us = phase + k * period + int(latent.chance(plant.seed + 5, tag, k) * jitter)
        if from_us <= due_us < to_us:
            found.append(due_us)
    return found


def test_each_reading_is_due_at_its_phase_period_and_jitter(plant: Plant) -> None:
    from_us, to_us = START_US + 1_234_567, START_US + 9_876_543
    window = plant.window(from_us, to_us)
    for tag in range(len(plant.tags)):
        assert window.ts_us[window.tag == tag].tolist() == due_times(plant, tag, from_us, to_us)


def test_a_sensors_value_is_the_sum_that_its_table_says(plant: Plant) -> None:
    """Twin of the value: steady signals, with the state taken at the same instant."""
    plant.window(START_US + 50 * SECOND_US, START_US + 51 * SECOND_US)
    window = plant.window(START_US + 60 * SECOND_US, START_US + 61 * SECOND_US)
    before, after = plant._before, plant._after
    checked = 0
    for tag, ts_us, value in zip(window.tag, window.ts_us, window.value, strict=True):
        sample = plant.samples[tag]
        if sample["form"] != sampling.MEASURED or sample["wave"] != 0:
            continue
        share = (int(ts_us) % SECOND_US) / SECOND_US
        machine = before[sample["machine"]] * (1 - share) + after[sample["machine"]] * share
        run, load, heat, wear = machine[[latent.RUN, latent.LOAD, latent.HEAT, latent.WEAR]]
        expected = sample["offset"] + sample["run"] * run + sample["load"] * load + sample["heat"] * heat
        expected += sample["wear"] * wear * run + sample["ambient"] * (machine[latent.AMBIENT] - 20)
        expected = min(max(expected, sample["low"]), sample["high"])
        assert abs(value - expected) <= 3.5 * sample["noise"] + sample["resolution"], plant.tags[tag]
        checked += 1
    assert checked > 100


def test_values_stay_within_the_sensors_range_and_resolution(plant: Plant) -> None:
    window = plant.window(START_US, START_US + 20 * SECOND_US)
    sample = plant.samples[window.tag]
    assert np.isfinite(window.value).all()
    assert (window.value >= sample["low"] - 1e-6).all()
    assert (window.value <= sample["high"] + 1e-6).all()
    measured = sample["form"] == sampling.MEASURED
    value = window.value[measured]
    assert (value == value.astype(np.float32)).all()
    steps = value / sample["resolution"][measured]
    assert np.abs(steps - np.round(steps)).max() < 1e-3


@pytest.mark.requirement("S-21")
def test_every_tag_of_the_default_plant_has_a_valid_model_of_about_ten_thousand_readings_a_second() -> None:
    plant = Plant(10_000, start_us=START_US)
    assert len(plant.model.tags) == len(set(plant.tags)) == 10_000
    assert len(plant.source_names) == len(plant.model.sources) == 100
    assert [mistake for tag in plant.model.tags for mistake in check_tag(tag)] == []
    periods_s = plant.samples["period_us"] / SECOND_US
    assert (periods_s.min(), periods_s.max()) == (0.1, 600)
    assert plant.rate == pytest.approx(10_000, rel=0.1)
    counted = len(plant.window(START_US, START_US + SECOND_US).tag)
    assert counted == pytest.approx(plant.rate, rel=0.02)


def test_machines_stand_still_at_night_and_warm_up_in_the_morning() -> None:
    """A two-shift line: cold at 05:50, warm at 08:00; its temperature follows its load with a lag."""
    parameters = np.array([[4.0, 600.0, 2.0, 1.0]])
    second = START_US // SECOND_US - 3 * 3_600
    state = latent.first_state(parameters, 1, second)
    latent.advance(state, parameters, 1, second, 3_000)
    assert state[0, latent.STATE] == IDLE
    assert state[0, latent.HEAT] < 0.01
    latent.advance(state, parameters, 1, second + 3_000, 900)
    rising = state[0, latent.HEAT]
    latent.advance(state, parameters, 1, second + 3_900, 6_900)
    assert 0.05 < rising < state[0, latent.HEAT] - 0.1


def test_heat_follows_load_as_a_first_order_lag() -> None:
    """Twin: one second moves heat by (load - heat) / time constant."""
    parameters = np.array([[4.0, 600.0, 3.0, 1.0]])
    second = START_US // SECOND_US
    state = latent.first_state(parameters, 1, second)
    for step in range(300):
        heat = state[0, latent.HEAT]
        latent.advance(state, parameters, 1, second + step, 1)
        assert state[0, latent.HEAT] == pytest.approx(heat + (state[0, latent.LOAD] - heat) / 600.0)
    assert 0.1 < state[0, latent.HEAT] < 0.4


def test_skipping_ahead_gives_what_walking_there_gives() -> None:
    walked, skipped = (Plant(100, seed=2, sources=1, start_us=START_US) for _ in range(2))
    for second in range(40):
        walked.window(START_US + second * SECOND_US, START_US + (second + 1) * SECOND_US)
    span = (START_US + 40 * SECOND_US, START_US + 42 * SECOND_US)
    assert rows(skipped.window(*span)) == rows(walked.window(*span))


def test_vibration_grows_with_wear_and_maintenance_ends_it() -> None:
    parameters = np.array([[4.0, 600.0, 3.0, 1.0]])
    state = latent.first_state(parameters, 1, START_US // SECOND_US)
    state[0, latent.WEAR] = 0.99999
    latent.advance(state, parameters, 1, START_US // SECOND_US, 120)
    assert 0 <= state[0, latent.WEAR] < 0.01


def test_counters_never_fall_and_go_on_over_a_restart() -> None:
    plant = Plant(200, seed=3, sources=2, start_us=START_US)
    later = Plant(200, seed=3, sources=2, start_us=START_US + HOUR_US)
    counters = np.flatnonzero(plant.samples["form"] == sampling.COUNTER)
    assert len(counters)
    before = plant.window(START_US, START_US + 30 * SECOND_US)
    after = later.window(START_US + HOUR_US, START_US + HOUR_US + 30 * SECOND_US)
    for tag in counters:
        values = before.value[before.tag == tag]
        assert (np.diff(values) >= 0).all()
        assert (values == np.floor(values)).all()
        assert after.value[after.tag == tag].min() >= values.max()


def test_states_are_the_models_codes_mostly_running_on_shift() -> None:
    codes = [latent.state_at(1, machine, START_US + slot * latent.SLOT_US, 3)
             for machine in range(50) for slot in range(60)]  # fmt: skip
    assert set(codes) <= set(range(len(MACHINE_STATES)))
    assert {RUNNING, IDLE, FAULT} <= set(codes)
    assert codes.count(RUNNING) > 0.9 * len(codes)


def test_a_stronger_press_stroke_shows_in_pressure_and_force_together() -> None:
    """Signals of one machine share its cycle: pressure and force of a running press go together."""
    plant = Plant(100, seed=1, sources=1, start_us=START_US, period_scale=0.1)
    pressure, force = (
        plant.tags.index(f"acme/lyon/press-shop/line-1/press-01/{name}")
        for name in ("hydraulic-pressure", "press-force")
    )
    window = plant.window(START_US, START_US + 60 * SECOND_US)
    columns = [
        (window.ts_us[window.tag == tag], window.value[window.tag == tag]) for tag in (pressure, force)
    ]
    grid = np.arange(START_US + SECOND_US, START_US + 59 * SECOND_US, 50_000)
    a, b = (np.interp(grid, ts_us, value) for ts_us, value in columns)
    assert np.ptp(a) > 50
    assert np.corrcoef(a, b)[0, 1] > 0.9


def test_tags_shared_out_over_sources_are_neighbours_and_complete() -> None:
    plant = Plant(1_003, seed=1, sources=17, start_us=START_US)
    assert len(plant.tags) == 1_003
    assert (np.diff(plant.source_of_tag) >= 0).all()
    readings = plant.readings(START_US, START_US + 5 * SECOND_US)
    for part in readings:
        names = {plant.source_names[number] for number in plant.source_of_tag[part.tag]}
        assert names == {part.source}


def test_more_sources_than_tags_is_refused() -> None:
    with pytest.raises(ValueError, match="5 sources for 3 tags"):
        Plant(3, sources=5, start_us=START_US)
