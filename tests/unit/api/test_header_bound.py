"""Headers that do not end cost bounded memory, whoever sends them; over a real server."""

from __future__ import annotations

import select
import socket
import threading
import time
from collections.abc import Iterator

import pytest
import uvicorn
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from millrace.api.header_bound import HEADER_BYTES_MAX, BoundedHeaders

FLOOD_BYTES = 64 * 1024 * 1024


async def length(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers how long the body was."""
    body = await Request(scope, receive).body()
    await PlainTextResponse(f"{len(body)} bytes")(scope, receive, send)


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    config = uvicorn.Config(length, port=0, http=BoundedHeaders, lifespan="off", log_level="warning")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield int(server.servers[0].sockets[0].getsockname()[1])
    server.should_exit = True
    thread.join()


def told(port: int, begin: bytes, flood: bytes = b"") -> tuple[bytes, int]:
    """What is answered, and how much of `flood`, said again and again, was taken before the connection ended."""
    taken = 0
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(begin)
        try:
            while flood and taken < FLOOD_BYTES:
                taken += connection.send(flood)
        except ConnectionError:
            return b"", taken
        answer = b""
        while part := connection.recv(65_536):
            answer += part
    return answer, taken


@pytest.mark.parametrize(
    ("begin", "flood"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: ", b"y" * 65_536),
        (b"GET / HTTP/1.1\r\nHost: x\r\n", b"X: y\r\n" * 8_192),
        (b"GET /", b"y" * 65_536),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: ", b"y" * 65_536),
    ],
    ids=["one header", "many headers", "the address", "a trailer"],
)
def test_what_comes_before_or_after_a_body_and_does_not_end_ends_the_connection(
    port: int, begin: bytes, flood: bytes
) -> None:
    assert told(port, begin, flood)[1] < FLOOD_BYTES


def test_a_header_that_is_too_large_is_told_so(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nX: ")
        for _ in range(1_000):  # in pieces: whatever reads the server makes of them, it has enough once
            if select.select([connection], [], [], 0.02)[0]:
                break
            connection.sendall(b"y" * (HEADER_BYTES_MAX // 16))
        answer = connection.recv(65_536)
    assert answer.startswith(b"HTTP/1.1 431 ")
    assert b"application/problem+json" in answer
    assert b"header_too_large" in answer


def test_long_bodies_long_headers_and_requests_in_a_row_pass(port: int) -> None:
    header = b"X: " + b"y" * 8_000 + b"\r\n"
    body = b"z" * 3_000_000
    post = b"POST / HTTP/1.1\r\nHost: x\r\n" + header + b"Content-Length: %d\r\n\r\n" % len(body) + body
    chunked = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunked += b"".join(b"%x\r\n%s\r\n" % (100_000, b"z" * 100_000) for _ in range(20)) + b"0\r\n\r\n"
    last = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    answer, _ = told(port, post + chunked + post + last)
    assert answer.count(b"HTTP/1.1 200 OK") == 4
    assert [answer.count(said) for said in (b"3000000 bytes", b"2000000 bytes", b"0 bytes")] == [2, 1, 4]
