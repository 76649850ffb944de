"""The producer over HTTP, against a server of the standard library."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from millrace.batch import Incarnation
from millrace.clock import EdgeClock
from millrace.ingest.delivery import Outcome, Outgoing
from millrace.ingest.http_sender import HttpSender
from millrace.ingest.producer import Producer
from millrace.protocols import frame as frame_codec


class Door(ThreadingHTTPServer):
    """Answers by plan per source (202 when the plan is empty) and keeps what it took."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.plan: dict[str, list[tuple[int, str]]] = {}
        self.bodies: list[bytes] = []
        self.taken: list[bytes] = []
        self.headers: list[dict[str, str]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Door

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.bodies.append(body)
        self.server.headers.append(dict(self.headers))
        plan = self.server.plan.get(self.headers["Millrace-Source"].encode("latin-1").decode(), [])
        status, retry_after = plan.pop(0) if plan else (202, "")
        if status == 0:  # taken, but the answer is lost
            self.server.taken.append(body)
            self.close_connection = True
            return
        if status == 202:
            self.server.taken.append(body)
        self.send_response(status)
        if retry_after:
            self.send_header("Retry-After", retry_after)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def door() -> Iterator[Door]:
    door = Door()
    thread = threading.Thread(target=door.serve_forever, daemon=True)
    thread.start()
    yield door
    door.shutdown()
    door.server_close()


def test_every_answer_has_its_outcome(door: Door) -> None:
    sender = HttpSender(door.url, "secret")
    frame = Outgoing("gw", 0, Incarnation(1, 1), 1, 1, b"bytes")
    for status, retry_after, outcome, wait_s in (
        (202, "", Outcome.TAKEN, 0.0),
        (400, "", Outcome.REFUSED, 0.0),
        (413, "", Outcome.REFUSED, 0.0),
        (415, "", Outcome.REFUSED, 0.0),
        (401, "", Outcome.LATER, 0.0),
        (403, "", Outcome.LATER, 0.0),
        (429, "3.5", Outcome.LATER, 3.5),
        (429, "9999999", Outcome.LATER, 60.0),
        (503, "Wed, 21 Oct 2026 07:28:00 GMT", Outcome.LATER, 0.0),
        (500, "", Outcome.LATER, 0.0),
        (0, "", Outcome.LATER, 0.0),
    ):
        door.plan["gw"] = [(status, retry_after)]
        (delivery,) = sender.deliver([frame])
        assert (delivery.outcome, delivery.retry_after_s) == (outcome, wait_s), status
    sender.close()
    assert door.headers[0]["Authorization"] == "Bearer secret"
    assert door.headers[0]["Content-Type"] == "application/vnd.millrace.frame"


def test_no_door_is_later(door: Door) -> None:
    door.shutdown()
    door.server_close()
    sender = HttpSender(door.url, "secret")
    frame = Outgoing("gw", 0, Incarnation(1, 1), 1, 1, b"bytes")
    assert sender.deliver([frame])[0].outcome is Outcome.LATER
    sender.close()


@pytest.mark.requirement("S-19")
def test_a_producer_over_http_delivers_everything_in_order_whatever_it_is_answered(door: Door) -> None:
    rng = random.Random(17)
    sources = [f"gw-{i}" for i in range(5)]
    for source in sources:
        door.plan[source] = [rng.choice([(202, ""), (429, "0.02"), (503, ""), (0, "")]) for _ in range(20)]
    producer = Producer(
        HttpSender(door.url, "secret"), shard_count=4, clock=EdgeClock(), linger_s=0.005, rng=random.Random(1)
    )
    producer.start()
    for i in range(10):
        for source in sources:
            producer.send(source, ["a"] * 3, np.arange(3) + i, np.arange(3) + 3.0 * i)
    assert producer.close(timeout_s=60.0) == 0
    frames = [frame_codec.decode(body) for body in door.taken]
    for source in sources:
        first_seen = {frame.seq: frame for frame in reversed(frames) if frame.source == source}
        order = list(dict.fromkeys(frame.seq for frame in frames if frame.source == source))
        assert order == sorted(order)
        assert [v for seq in order for v in first_seen[seq].value] == list(range(30))
    identical: dict[tuple[str, int], set[bytes]] = {}
    for body in door.bodies:
        frame = frame_codec.decode(body)
        identical.setdefault((frame.source, frame.seq), set()).add(body)
    assert all(len(bodies) == 1 for bodies in identical.values())


@pytest.mark.requirement("S-19")
def test_a_source_is_named_in_any_script_and_stops_no_other(door: Door) -> None:
    sources = {"Gießerei 東", "gw"}
    producer = Producer(HttpSender(door.url, "secret"), shard_count=4, clock=EdgeClock())
    for source in sources:
        producer.send(source, ["a"], np.arange(1), np.arange(1) + 0.5)
    assert producer.close(timeout_s=60.0) == 0
    assert {frame_codec.decode(body).source for body in door.taken} == sources
    assert {headers["Millrace-Source"].encode("latin-1").decode() for headers in door.headers} == sources
