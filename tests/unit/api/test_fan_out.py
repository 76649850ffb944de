"""What one turn of the follower tells a client: one event of readings, whatever the shards; nothing of unknown tags."""

from __future__ import annotations

import json
from typing import Any, cast

import numpy as np

from millrace.api.fan_out import FanOut
from millrace.api.live_view import EVENTS_KEPT, ShardView
from millrace.api.subscribers import EventId, Message, Subscriber
from millrace.api.window import Window
from millrace.batch import DataClass, TagInfo, ValueKind
from millrace.schema.live import AnomalyEvent, LiveBlob


class Loop:
    """An event loop that keeps what it is asked to run."""

    def __init__(self) -> None:
        self.offered: list[list[Message]] = []

    def call_soon_threadsafe(self, _work: Any, messages: list[Message], _now_us: int) -> None:
        self.offered.append(messages)


def tag(shard: int, slot: int) -> TagInfo:
    return TagInfo(
        slot, f"a/shard-{shard}/t{slot}", "gw", ValueKind.FLOAT, DataClass.STANDARD, True, 100_000, "°C"
    )


def blob(shard: int, slots: list[int], received_us: int) -> LiveBlob:
    n = len(slots)
    return LiveBlob(
        shard, 1, 1, 2, 0, 5, received_us, np.array(slots, np.int32), np.arange(n, dtype=np.int64),
        np.arange(n, dtype=np.float64), np.full(n, 192, np.uint8), np.zeros(n, np.uint8),
    )  # fmt: skip


def told(
    blobs: list[LiveBlob], patterns: tuple[str, ...] = (), tags_per_shard: int = 3
) -> list[dict[str, Any]]:
    """Data of the events of one turn over two shards."""
    views = [ShardView(Window(10**6, 10**9)) for _ in range(2)]
    for shard, view in enumerate(views):
        view.tags.extend(tag(shard, slot) for slot in range(tags_per_shard))
    loop = Loop()
    fan_out = FanOut(views)
    assert fan_out.join(Subscriber(patterns, "", cast(Any, loop)), "", 1, 0) == []
    fan_out.tell(blobs, 1, 77)
    return [json.loads(message.data) for messages in loop.offered for message in messages]


def test_a_turn_is_one_event_with_the_newest_receipt_whatever_the_shards() -> None:
    (event,) = told([blob(0, [0, 1], 100), blob(1, [2], 300), blob(0, [0], 200)])
    assert event["received_us"] == 300
    assert [reading["tag"] for reading in event["readings"]] == [
        "a/shard-0/t0", "a/shard-0/t1", "a/shard-1/t2", "a/shard-0/t0",
    ]  # fmt: skip


def test_a_window_that_is_said_again_is_told_apart_from_what_is_fresh() -> None:
    again, fresh = told([blob(0, [1], 100), blob(1, [2], 0)])
    assert (again["received_us"], [r["tag"] for r in again["readings"]]) == (0, ["a/shard-1/t2"])
    assert (fresh["received_us"], [r["tag"] for r in fresh["readings"]]) == (100, ["a/shard-0/t1"])


def test_only_what_is_wanted_is_told_and_a_slot_beyond_the_tags_never() -> None:
    for count in (3, 63, 64, 65, 128):
        events = told(
            [blob(0, [0, 1, count - 1, count, 10_000], 100)], ("a/shard-0/*",), tags_per_shard=count
        )
        names = [reading["tag"] for event in events for reading in event["readings"]]
        assert names == ["a/shard-0/t0", "a/shard-0/t1", f"a/shard-0/t{count - 1}"]
    assert told([blob(1, [0, 1], 100)], ("a/shard-0/*",)) == []


def test_who_comes_back_after_more_events_than_are_kept_is_told_that_some_are_missing() -> None:
    fan_out = FanOut([ShardView(Window(10**6, 10**9))])
    for turn in range(1, EVENTS_KEPT + 2):
        one = blob(0, [], 100)
        one.anomalies = [anomaly(turn)]
        fan_out.keep(one, turn)

    def first_of(last_turn: int) -> list[str]:
        last_id = str(EventId(fan_out.instance, last_turn, 7))
        subscriber = Subscriber((), "", cast(Any, Loop()))
        messages = fan_out.join(subscriber, last_id, EVENTS_KEPT + 1, 8) or []
        return [message.event for message in messages]

    assert first_of(1) == ["missed"]
    assert first_of(EVENTS_KEPT) == ["anomaly"]


def anomaly(number: int) -> AnomalyEvent:
    return AnomalyEvent(
        id=str(number), path="a/b", source="gw", detector="ewma", kind=0, start_us=number, end_us=number,
        score=1.0, value=None, expected=None,
    )  # fmt: skip
