"""What the API needs of others, as it needs it; `__main__.py` brings the real ones, tests bring theirs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Protocol

from fastapi import Request

from millrace.api.live import LiveFollower
from millrace.api.store import Store
from millrace.batch import F64, I64, U8, Incarnation
from millrace.clock import Clock
from millrace.schema.quarantine import RejectFilter
from millrace.settings import Settings


@dataclass(frozen=True, slots=True)
class SentBody:
    """One body of one source, as sent. `incarnation` and `seq`: the sender's identity, both or neither."""

    source: str
    content_type: str
    data: bytes
    content_encoding: str
    incarnation: Incarnation | None
    seq: int | None
    key: bytes
    trace: str


class AcceptedBody(Protocol):
    """What the door answers: counts, and the refused readings as (index, name of the reason)."""

    @property
    def accepted(self) -> int: ...
    @property
    def rejected(self) -> int: ...
    @property
    def rejects(self) -> Sequence[tuple[int, str]]: ...


class Door(Protocol):
    """The front door: returns once the stream holds the readings durably, else raises a refusal:

    an error with `status`, `reason`, `detail` and `retry_after_s`.
    """

    async def accept(self, sent: SentBody) -> AcceptedBody:
        """Take one body."""

    def admit(self, source: str, content_length: int) -> None:
        """Refuse before the body is read, where that is known already."""


class ReadTag(Protocol):
    """`schema.segments.read_tag` bound to the archive's root."""

    def __call__(
        self, files: Sequence[str], path: str, source: str, from_us: int, to_us: int, rows_max: int
    ) -> tuple[I64, F64, U8]:
        """Times, values and qualities of one tag, in order of time."""


@dataclass(slots=True)
class Dependencies:
    """Everything that `create_app` needs.

    `disk()` gives `used_bytes`, `max_bytes`, `free_bytes`; `closed()` why the door lets nobody in, as reason and
    detail, None while it is open; `replay` sends rejects again and answers counts;
    `token_source` names the source of bodies that name none.
    """

    settings: Settings
    clock: Clock
    live: LiveFollower
    token: str
    store: Store | None = None
    door: Door | None = None
    read_tag: ReadTag | None = None
    replay: Callable[[RejectFilter], dict[str, int]] | None = None
    disk: Callable[[], dict[str, int]] | None = None
    closed: Callable[[], tuple[str, str] | None] = lambda: None
    ready_checks: dict[str, Callable[[], bool]] = field(default_factory=dict)
    token_source: str = "api"
    queries: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(max_workers=6, thread_name_prefix="query")
    )


def dependencies(request: Request) -> Dependencies:
    """The running application's dependencies."""
    found = request.app.state.dependencies
    assert isinstance(found, Dependencies)
    return found
