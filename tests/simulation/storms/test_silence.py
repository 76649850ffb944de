"""A source that dies raises its alarm in time; a stream that is away raises none."""

from __future__ import annotations

import itertools
import signal
import threading
import time
from typing import Any

import numpy as np
import pytest

from millrace.assets.tag import AssetModel, SourceModel, TagModel
from millrace.clock import EdgeClock
from millrace.protocols import control
from millrace.stream.contract import shard_of
from tests.simulation.real_platform import Platform, Witness, check_equal, until

LIMIT_S = 4.0
AWAY_S = 20.0
LONG_LIMIT_S = AWAY_S / 2
"""Above the pause of a producer between two tries (5 s at most), and what a busy machine adds to it."""
GRACE_S = 2.0
TICK_S = 1.0
LOOK_S = 60.0
DEAD = "dead-pump"
DEAD_TAG = "acme/lyon/l1/dead-pump/t0"


def model(witness: Witness, limit_s: float) -> AssetModel:
    """Every source of the witness, and one that will die: silent for so long is silent."""
    limit_us = round(limit_s * 1e6)
    sources = [SourceModel(name=name, silence_us=limit_us) for name in (*witness.sources, DEAD)]
    tags = [
        TagModel(path=tag, source=name, period_us=50_000, silence_us=limit_us)
        for name, own in zip(witness.sources, witness.tags, strict=True)
        for tag in own
    ]
    tags.append(TagModel(path=DEAD_TAG, source=DEAD, period_us=50_000, silence_us=limit_us))
    return AssetModel(sources=tuple(sources), tags=tuple(tags))


def begin(platform: Platform, witness: Witness, limit_s: float) -> None:
    """Every source of the witness is heard before its silence counts: a first frame may take seconds."""
    witness.start()
    until(lambda: len(witness.told) > 20 * sum(map(len, witness.tags)), LOOK_S, "every source")
    platform.publish(model(witness, limit_s))


def silent(platform: Platform, state: str) -> list[dict[str, Any]]:
    """Alarms about silence, as an operator asks for them."""
    with platform.client() as client:
        answer = client.get("/v1/alarms", params={"state": state, "limit": 1000})
    assert answer.status_code == 200, answer.text
    return [alarm for alarm in answer.json()["alarms"] if alarm["rule"] in ("source_silent", "tag_silent")]


def say(witness: Witness, seconds: float) -> int:
    """The doomed source speaks for a while; when it last did."""
    end_s = time.monotonic() + seconds
    last_us = 0
    while time.monotonic() < end_s:
        last_us = witness.clock.now_us()
        witness.producer.send(DEAD, [DEAD_TAG], np.array([last_us]), np.array([1.0]))
        time.sleep(0.1)
    return last_us


@pytest.mark.requirement("S-17")
def test_a_dead_source_raises_its_alarm_within_its_limit_and_two_seconds(platform: Platform) -> None:
    witness = Witness(platform)
    begin(platform, witness, LIMIT_S)
    last_us = say(witness, 3.0)
    until(lambda: bool(silent(platform, "active")), LOOK_S, "an alarm")
    seen_us = EdgeClock().now_us()
    alarms = silent(platform, "all")
    print(f"seen {(seen_us - last_us) / 1e6:.2f} s after the last word, limit {LIMIT_S} s")
    assert {alarm["source"] for alarm in alarms} == {DEAD}
    raised = [alarm["raised_us"] for alarm in alarms if alarm["rule"] == "source_silent"]
    assert len(raised) == 1
    # On the shard's own clock, which advances with the ticks: one a second, or as late as a busy machine made one.
    late_s = longest_tick_s(platform, last_us, raised[0]) - TICK_S
    assert (LIMIT_S - TICK_S) * 1e6 <= raised[0] - last_us <= (LIMIT_S + GRACE_S + max(0.0, late_s)) * 1e6
    until(lambda: say(witness, 0.3) and not silent(platform, "active"), LOOK_S, "the source's return")
    witness.close()


def longest_tick_s(platform: Platform, from_us: int, to_us: int) -> float:
    """The longest time between two ticks of the source's shard, around these times."""
    stream = platform.stream()
    shard = shard_of(DEAD, stream.shard_count)
    records = stream.read({shard: 0}, count_max=1_000_000, wait_s=0.0)[shard]
    stream.close()
    said = [control.decode(record.data) for record in records if control.is_control(record.data)]
    times_us = [tick.time_us for tick in said if isinstance(tick, control.Tick)]
    gaps_us = [late - soon for soon, late in itertools.pairwise(times_us) if late > from_us and soon < to_us]
    return max(gaps_us) / 1e6


@pytest.mark.long
@pytest.mark.requirement("S-17")
def test_twenty_seconds_without_a_stream_raise_no_silence(platform: Platform) -> None:
    witness = Witness(platform)
    begin(platform, witness, LONG_LIMIT_S)
    stop = threading.Event()
    speaker = threading.Thread(
        target=lambda: [say(witness, 0.3) for _ in iter(stop.is_set, True)], daemon=True
    )
    speaker.start()
    time.sleep(4)
    assert platform.kill("stream", signal.SIGSTOP)
    time.sleep(AWAY_S)
    assert platform.kill("stream", signal.SIGCONT)
    time.sleep(LONG_LIMIT_S + 4)
    stop.set()
    speaker.join(LOOK_S)
    heard = silent(platform, "all")
    witness.close()
    assert not heard, heard
    check_equal(platform, witness.told)
