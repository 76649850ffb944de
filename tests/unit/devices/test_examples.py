"""The files in `examples/` are read as they are and strike what they say."""

from __future__ import annotations

from pathlib import Path

import pytest

from millrace.assets.load import load
from millrace.devices.commands import begin
from millrace.devices.faults import Faults
from millrace.devices.scenarios import load_scenario

EXAMPLES = Path(__file__).parents[3] / "examples"


def test_the_example_models_are_valid() -> None:
    model = load(EXAMPLES / "press-shop.yaml")
    assert len(model.tags) == 5 * 3 - 1 + 4 * 2
    assert {tag.source for tag in model.tags if "/line-2/" in tag.path} == {"gw-line-2"}
    assert len(load(EXAMPLES / "press-shop.csv").tags) == 5


@pytest.mark.parametrize("name", ["pump-failure.yaml", "sensor-faults.yaml"])
def test_every_fault_of_the_example_scenarios_strikes_a_tag(name: str) -> None:
    scenario = load_scenario(EXAMPLES / name)
    faults = Faults(scenario.plant(start_us=1_767_600_000_000_000))
    struck = [begin(faults, order, 0) for order in scenario.orders()]
    assert len(struck) >= 4
    assert all(one.tags for one in struck)
