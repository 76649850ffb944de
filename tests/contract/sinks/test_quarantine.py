"""Replays of rejects and changes of the asset model, as the store keeps them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from millrace.assets.publish import publish
from millrace.assets.tag import AssetModel, SourceModel, TagModel
from millrace.schema.quarantine import LOT_ROWS_MAX, RejectFilter, begin_replay, finish_replay
from millrace.stream.memory import MemoryStream

Query = Callable[..., list[tuple[Any, ...]]]


@pytest.fixture
def connection(url: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


def quarantine(connection: psycopg.Connection[Any], source: str, reason: str, count: int) -> None:
    connection.execute(
        "INSERT INTO reject (position, received_ts_us, ts_us, shard, index, count, reason, "
        "source, tag, payload) "
        "SELECT i, i, 0, 0, 0, 1, %s, %s, 'tag', 'x' FROM generate_series(1, %s) i",
        [reason, source, count],
    )


@pytest.mark.requirement("B-02")
def test_a_replay_cut_short_gives_the_same_rows_under_the_same_number(
    connection: psycopg.Connection[Any],
) -> None:
    quarantine(connection, "a", "foreign_source", 3)
    first = begin_replay(connection, RejectFilter(reason="foreign_source"))
    again = begin_replay(connection, RejectFilter(reason="foreign_source"))
    assert first == again
    assert [(lot.source, lot.number, len(lot.rejects)) for lot in first] == [("a", 1, 3)]
    finish_replay(connection, first[0])
    assert begin_replay(connection, RejectFilter()) == []


@pytest.mark.requirement("B-02")
def test_lots_of_a_source_come_in_the_order_of_their_numbers_unfinished_ones_first(
    connection: psycopg.Connection[Any],
) -> None:
    quarantine(connection, "a", "bad_time", LOT_ROWS_MAX + 5)
    quarantine(connection, "b", "bad_time", 2)
    begun = begin_replay(connection, RejectFilter(source="a"))
    assert [(lot.number, len(lot.rejects)) for lot in begun] == [(1, LOT_ROWS_MAX), (2, 5)]
    finish_replay(connection, begun[0])
    quarantine(connection, "a", "foreign_source", 1)
    lots = begin_replay(connection, RejectFilter())
    assert [(lot.source, lot.number, len(lot.rejects)) for lot in lots] == [
        ("a", 2, 5),
        ("a", 3, 1),
        ("b", 1, 2),
    ]


@pytest.mark.requirement("B-02")
def test_a_filter_takes_what_it_names_and_never_a_reject_without_a_source(
    connection: psycopg.Connection[Any],
) -> None:
    quarantine(connection, "", "bad_syntax", 4)
    quarantine(connection, "a", "bad_time", 4)
    assert begin_replay(connection, RejectFilter(reason="bad_syntax")) == []
    assert begin_replay(connection, RejectFilter(tag="other")) == []
    (lot,) = begin_replay(connection, RejectFilter(from_us=2, until_us=4))
    assert [reject.received_ts_us for reject in lot.rejects] == [2, 3]
    (lot, more) = begin_replay(connection, RejectFilter(ids=(lot.rejects[0].id - 1,)))
    assert (lot.number, more.number, len(more.rejects)) == (1, 2, 1)


def plant_model(high: float) -> AssetModel:
    tags = (
        TagModel(path="acme/lyon/p/temp", source="g\0", high=high, unit="°C", data_class="critical"),
        TagModel(path="acme/lyon/p/mode", source="g", kind="state", states=("idle", "run, fast", '"{')),
    )
    return AssetModel(sources=(SourceModel(name="g"), SourceModel(name="g\0")), tags=tags)


@pytest.mark.requirement("S-21")
def test_a_model_is_numbered_once_and_readable_as_rows(url: str, query: Query) -> None:
    stream = MemoryStream(2)
    first = publish(url, stream, plant_model(80.0), made_by="test")
    assert publish(url, stream, plant_model(80.0)) == first
    assert query("SELECT number, made_by, appended FROM model_change") == [(first, "test", True)]
    second = publish(url, stream, plant_model(90.0))
    assert second > first
    assert query("SELECT path, high, states, data_class FROM asset_tag ORDER BY path") == [
        ("acme/lyon/p/mode", None, ["idle", "run, fast", '"{'], 0), ("acme/lyon/p/temp", 90.0, [], 1)
    ]  # fmt: skip
