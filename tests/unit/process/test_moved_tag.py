"""A tag that the asset model gives to another source of the same shard: the old pair is nobody's any more."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from millrace.assets.tag import SourceModel, TagModel
from millrace.batch import Output
from millrace.process.shard import ShardProcess
from millrace.process.state import ProcessLimits, ShardState
from millrace.protocols import Limits, control, decode_record


def put_model(log: Any, number: int, owner: str) -> None:
    tag = TagModel(path="press/force", source=owner, period_us=200_000, data_class="critical", high=80.0)
    sources = (SourceModel(name="old"), SourceModel(name="new"))
    log.put(control.encode(control.ModelChunk(number, 0, 1, True, sources, (tag,))), "model")


def run(log: Any, *, restored: bool) -> list[Output]:
    """Record by record; `restored`: by a new process out of a snapshot each time."""
    state, outputs = ShardState(0), []
    for record in log.records:
        shard = ShardProcess(state, lambda one: decode_record(one, Limits()))
        outputs += shard.step([record])
        if restored:
            state = ShardState.restored(*state.snapshot(), ProcessLimits())
    return outputs


@pytest.mark.parametrize("restored", [False, True])
def test_a_tag_that_moved_to_another_source_is_not_missed_at_the_old_one(log: Any, restored: bool) -> None:
    log.tick(0)
    put_model(log, 1, "old")
    for second in range(1, 60):
        if second == 10:
            put_model(log, 2, "new")
        at = [second + step / 5 for step in range(5)]
        owner = "old" if second < 10 else "new"
        log.frame(owner, [("press/force", when, 1.0 + when) for when in at], received=second + 1)
        log.frame("old", [("free", when, 2.0 + when) for when in at], received=second + 1)
        log.tick(second + 1)
    outputs = run(log, restored=restored)
    told = [tag for output in outputs for tag in output.tags if tag.path == "press/force"]
    assert {tag.source: tag.modelled for tag in told} == {
        "old": False,
        "new": True,
    }  # the newest word of each
    slots = {tag.slot for tag in told if tag.source == "old"}
    anomalies = np.concatenate([output.anomalies for output in outputs])
    alarms = np.concatenate([output.alarms for output in outputs])
    assert len(slots) == 1
    assert not np.isin(anomalies["slot"], list(slots)).any()
    assert not np.isin(alarms["slot"], list(slots)).any()
