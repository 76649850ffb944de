"""Promises about the runbooks: whoever is woken finds what it means, where to look and what to do."""

from __future__ import annotations

import pytest

from millrace_infra.observability.alarm_table import ROWS
from millrace_infra.observability.event_table import Ours, events
from tests.infra.observability.alarms import RUNBOOKS, runbooks

pytestmark = pytest.mark.requirement("S-23")
PARTS = ["## What it means", "## Look at", "## Do"]
COMPOSITE = "platform-unhealthy"


def named() -> set[str]:
    ours = Ours("arn", "app", "vault", ["s"], ["r"], ["k"])
    return {row.runbook for row in ROWS} | {event.runbook for event in events(ours)} | {COMPOSITE}


def test_every_alarm_and_event_has_a_runbook_and_every_runbook_one_that_names_it() -> None:
    assert named() == runbooks()


@pytest.mark.parametrize("name", sorted(named()))
def test_a_runbook_says_what_it_means_where_to_look_and_what_to_do(name: str) -> None:
    text = (RUNBOOKS / f"{name}.md").read_text(encoding="utf-8")
    assert [line for line in text.splitlines() if line.startswith("## ")] == PARTS
    steps = text.partition(PARTS[-1])[2].strip().splitlines()
    assert steps, "what to do is empty"
    assert steps[0].startswith("1. ")


@pytest.mark.parametrize("name", sorted(named() - {COMPOSITE}))
def test_a_runbook_names_each_alarm_and_event_that_leads_to_it(name: str) -> None:
    text = (RUNBOOKS / f"{name}.md").read_text(encoding="utf-8")
    ours = Ours("arn", "app", "vault", ["s"], ["r"], ["k"])
    leading = [row.name for row in ROWS if row.runbook == name]
    leading += [event.name for event in events(ours) if event.runbook == name]
    assert [one for one in leading if f"`{one}" not in text] == [], (
        f"docs/runbooks/{name}.md names what leads to it"
    )
