"""`GET /v1/live`: readings, anomalies and alarms as they come, as server-sent events.

Each event has an id. Whoever comes back with `Last-Event-ID` goes on behind it, or is told by a `missed`
event from when to when nothing can be told any more; so is a client that reads too slowly.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request
from starlette.responses import StreamingResponse

from millrace.api.dependencies import Dependencies, dependencies
from millrace.api.live import LiveFollower
from millrace.api.problems import Problem, bad_parameter
from millrace.api.subscribers import EventId, Message, Subscriber
from millrace.batch import TAG_LENGTH_MAX

router = APIRouter(tags=["live"])

HEARTBEAT_S = 10.0
PATTERNS_MAX = 1_000


@router.get(
    "/v1/live",
    summary="Follow readings, anomalies and alarms",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}},
)
async def follow(
    request: Request,
    path: Annotated[
        list[str] | None, Query(max_length=PATTERNS_MAX, description="Paths or patterns; all.")
    ] = None,
    source: Annotated[str, Query(max_length=128)] = "",
    last_event_id: Annotated[str, Header(max_length=64)] = "",
) -> StreamingResponse:
    """Events `readings`, `anomaly`, `alarm`, `missed`; a comment every ten seconds keeps the line open."""
    needs = dependencies(request)
    patterns = tuple(path or ())
    for pattern in patterns:
        if len(pattern) > TAG_LENGTH_MAX:
            raise bad_parameter("path", pattern, f"at most {TAG_LENGTH_MAX} characters")
    loop = asyncio.get_running_loop()
    joined = await loop.run_in_executor(None, needs.live.subscribe, patterns, source, loop, last_event_id)
    if joined is None:
        raise Problem(
            429,
            "too_many_followers",
            "as many clients follow as may",
            headers={"Retry-After": "5"},
            what_to_do="close a follower, or ask again later",
        )
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(_events(needs, *joined), media_type="text/event-stream", headers=headers)


async def _events(needs: Dependencies, subscriber: Subscriber, first: list[Message]) -> AsyncIterator[bytes]:
    live: LiveFollower = needs.live
    try:
        yield b": millrace\nretry: 1000\n\n"
        for message in first:
            yield message.encoded()
        while True:
            messages = await subscriber.take(HEARTBEAT_S)
            out = b"".join(message.encoded() for message in messages)
            now_us = needs.clock.now_us()
            data = subscriber.missed(now_us)
            if data is not None:
                out += Message(str(EventId(live.instance, live.turn, now_us)), "missed", data).encoded()
            yield out or b": still here\n\n"
    finally:
        live.unsubscribe(subscriber)
