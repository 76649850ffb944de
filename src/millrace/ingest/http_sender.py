"""A producer's transport over HTTP: one request a frame, several sources at a time, Retry-After honoured."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import httpx

from millrace.ingest.body import FRAME_TYPE
from millrace.ingest.delivery import Delivery, Outcome, Outgoing

TIMEOUT_S: Final = 15.0
RETRY_AFTER_MAX_S: Final = 60.0
NEVER: Final = frozenset({400, 404, 405, 413, 415, 422})
"""Answers that the same bytes will get again. 401 and 403 are not among them: a token can be put right."""


class HttpSender:
    """Give it to `Producer` in the place of a stream's append. The door stamps, so the producer does not."""

    direct = False
    frames_per_source = 1

    def __init__(
        self, url: str, token: str, *, parallel: int = 8, client: httpx.Client | None = None
    ) -> None:
        """`url` of the platform, as `http://127.0.0.1:8080`; `parallel` requests at a time."""
        self._client = client or httpx.Client(
            base_url=url,
            timeout=TIMEOUT_S,
            limits=httpx.Limits(max_connections=parallel, max_keepalive_connections=parallel),
        )
        self._headers = {b"Authorization": f"Bearer {token}".encode(), b"Content-Type": FRAME_TYPE.encode()}
        self._threads = ThreadPoolExecutor(parallel, thread_name_prefix="sender")

    def deliver(self, frames: Sequence[Outgoing]) -> list[Delivery]:
        """At most one frame of a source is in the call, so that a source's frames arrive in order."""
        if len(frames) == 1:
            return [self._post(frames[0])]
        return list(self._threads.map(self._post, frames))

    def close(self) -> None:
        self._threads.shutdown(wait=True, cancel_futures=True)
        self._client.close()

    def _post(self, frame: Outgoing) -> Delivery:
        try:
            # Bytes: httpx takes a text for ASCII, and one Gießerei would stop every source beside it.
            headers = self._headers | {b"Millrace-Source": frame.source.encode()}
            if frame.trace:
                headers[b"traceparent"] = frame.trace.encode()
            answer = self._client.post("/v1/readings", content=frame.data, headers=headers)
        except (httpx.HTTPError, OSError) as error:
            return Delivery(Outcome.LATER, detail=f"{type(error).__name__}: {error}")
        if answer.status_code == 202:
            return Delivery(Outcome.TAKEN)
        detail = f"{answer.status_code}: {answer.text[:200]}"
        if answer.status_code in NEVER:
            return Delivery(Outcome.REFUSED, detail=detail)
        return Delivery(Outcome.LATER, retry_after_s=_retry_after_s(answer), detail=detail)


def _retry_after_s(answer: httpx.Response) -> float:
    """Seconds that the door asks to wait; 0 where it does not say (or says a date)."""
    try:
        return min(max(0.0, float(answer.headers.get("Retry-After", "0"))), RETRY_AFTER_MAX_S)
    except ValueError:
        return 0.0
