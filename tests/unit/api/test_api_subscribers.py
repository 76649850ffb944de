"""A client of /v1/live that reads too slowly costs bounded memory and is told what it missed."""

from __future__ import annotations

import asyncio
import json

from millrace.api import subscribers
from millrace.api.subscribers import EventId, Message, Subscriber


def test_a_slow_client_is_told_from_when_to_when_it_missed() -> None:
    async def scenario() -> tuple[int, dict[str, object], int]:
        client = Subscriber((), "", asyncio.get_running_loop())
        data = b"x" * 100_000
        for i in range(200):
            client._push([Message(f"a-{i}-{i}", "readings", data)], 1_000 + i)
        taken = await client.take(0.1)
        missed = client.missed(5_000)
        client._push([Message("a-201-1", "readings", b"y")], 6_000)
        again = await client.take(0.1)
        assert missed is not None
        return len(taken), json.loads(missed), len(again)

    taken, missed, again = asyncio.run(scenario())
    assert taken == subscribers.QUEUE_BYTES_MAX // 100_000
    assert (missed["reason"], missed["events"]) == ("too_slow", 200 - taken)
    assert (missed["from_us"], missed["to_us"]) == (1_000 + taken, 5_000)
    assert again == 1


def test_event_ids_come_back() -> None:
    event_id = EventId("ab12cd34", 77, 1_700_000_000_000_000)
    assert EventId.parse(str(event_id)) == event_id
    for text in ("", "x", "-1-2", "a-b-c", "a-1-", "a-1-" + "9" * 99, "a--1-2"):
        assert EventId.parse(text) is None
