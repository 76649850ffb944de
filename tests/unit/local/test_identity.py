"""Law 14: stores of different data folders, or of different times of one, are not used together."""

from __future__ import annotations

import pytest

from millrace.errors import DataFolderError
from millrace.identity import claim
from millrace.shard_keeper import check_span
from millrace.stream.contract import Entry
from millrace.stream.memory import MemoryStream

MINE, OTHER = "mine:1", "other:1"


class Registry:
    """The operational store's side, in memory."""

    def __init__(self, identity: str | None) -> None:
        self.found = identity
        self.prepared: list[tuple[str, int]] = []

    def identity(self) -> str | None:
        return self.found

    def prepare(self, identity: str, shard_count: int) -> None:
        self.prepared.append((identity, shard_count))


def stream_of(identity: str | None, records: int = 0) -> MemoryStream:
    stream = MemoryStream(2)
    if identity:
        stream.claim_identity(identity)
    for number in range(records):
        stream.append([Entry(0, "gw", b"%d" % number)])
    return stream


def test_new_stores_become_this_folders_and_are_it_at_the_next_start() -> None:
    stream, registry = stream_of(None), Registry(None)
    claim(MINE, stream=stream, registry=registry)
    assert stream.identity() == MINE
    assert registry.prepared == [(MINE, 2)]
    claim(MINE, stream=stream, registry=Registry(MINE))


@pytest.mark.requirement("S-19")
@pytest.mark.parametrize(
    ("stored", "streamed", "who"),
    [
        (OTHER, MINE, "PostgreSQL belongs to data folder other:1, this one is mine:1"),
        (OTHER, None, "PostgreSQL belongs to data folder other:1"),
        (MINE, OTHER, "the stream belongs to data folder other:1, this one is mine:1"),
        (None, OTHER, "the stream belongs to data folder other:1"),
        ("mine:2", MINE, "PostgreSQL belongs to data folder mine:2, this one is mine:1"),
    ],
)
def test_a_store_of_another_folder_is_named_and_nothing_is_changed(
    stored: str | None, streamed: str | None, who: str
) -> None:
    stream, registry = stream_of(streamed, records=1), Registry(stored)
    with pytest.raises(DataFolderError, match=who) as refused:
        claim(MINE, stream=stream, registry=registry)
    assert "MILLRACE_HOME" in str(refused.value)
    assert "millrace reset" in str(refused.value)
    assert registry.prepared == []
    assert stream.identity() == streamed


def test_a_used_stream_that_lost_its_identity_is_not_taken_for_a_new_one() -> None:
    stream, registry = stream_of(None, records=1), Registry(MINE)
    with pytest.raises(DataFolderError, match="the stream has lost its identity"):
        claim(MINE, stream=stream, registry=registry)
    assert registry.prepared == []
    assert stream.identity() is None


@pytest.mark.requirement("S-19")
def test_a_stream_that_ends_before_what_is_applied_is_refused() -> None:
    stream = stream_of(MINE, records=3)
    newest = stream.span(0).newest
    check_span(stream, 0, applied=newest, snapshot=0)
    with pytest.raises(DataFolderError, match=rf"shard 0: the stream ends at {newest}, but .* {newest + 1}"):
        check_span(stream, 0, applied=newest + 1, snapshot=0)


@pytest.mark.requirement("S-19")
def test_a_stream_that_begins_after_the_snapshot_is_refused() -> None:
    stream = stream_of(MINE, records=5)
    positions = [record.position for record in stream.read({0: 0}, count_max=10, wait_s=0)[0]]
    stream.trim(0, positions[2])
    check_span(stream, 0, applied=positions[4], snapshot=positions[2])
    for snapshot in (positions[1], 0):  # records between are gone; without a snapshot, all that were trimmed
        with pytest.raises(DataFolderError, match="after the snapshot"):
            check_span(stream, 0, applied=positions[4], snapshot=snapshot)
