"""The simulator as a process of its own, against a real stream and a real PostgreSQL."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import psycopg
import pytest

from millrace.assets.load import extended
from millrace.assets.publish import publish
from millrace.assets.tag import AssetModel, SourceModel, TagModel
from millrace.batch import Frame, ValueKind
from millrace.devices.commands import Command, order, orders_of
from millrace.devices.equipment import MACHINE_STATES
from millrace.devices.plant import Plant
from millrace.local.addresses import Addresses
from millrace.local.servers import running
from millrace.protocols import control, frame
from millrace.schema import migrate
from millrace.settings import Settings
from millrace.sinks.postgres import Owners
from millrace.stream.valkey import ValkeyStream

SHARDS = 4
WAIT_S = 90.0
SHORT: dict[str, Any] = {"capture_output": True, "text": True, "timeout": WAIT_S}


@pytest.fixture(scope="module")
def addresses(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Addresses]:
    with running(Settings(home=tmp_path_factory.mktemp("home"))) as (_, servers):
        migrate(servers.addresses.postgres_url)
        yield servers.addresses


PRESS = AssetModel(
    sources=(SourceModel(name="plc-77", silence_us=5_000_000),),
    tags=(TagModel(path="acme/lyon/press-shop/line-9/press-77/oil-temp", source="plc-77", unit="degC"),),
)
"""What an engineer gave the platform before; no plant takes it away."""


def stream_of(addresses: Addresses) -> ValkeyStream:
    return ValkeyStream(addresses.stream_url, shard_count=SHARDS, bytes_max=10**9)


def records(stream: ValkeyStream) -> tuple[list[Frame], list[control.ModelChunk]]:
    frames, chunks = [], []
    for shard, held in stream.read(dict.fromkeys(range(SHARDS), 0), count_max=10_000, wait_s=0.1).items():
        for record in held:
            if control.is_control(record.data):
                chunks.append((shard, control.decode(record.data)))
            else:
                frames.append(frame.decode(record.data))
    return frames, [chunk for _, chunk in chunks if isinstance(chunk, control.ModelChunk)]


@pytest.mark.requirement("S-17")
def test_the_simulator_joins_the_model_in_an_earlier_ones_place_sends_takes_a_fault_and_stops(
    addresses: Addresses, tmp_path: Path
) -> None:
    environ = os.environ | {
        "MILLRACE_HOME": str(tmp_path),
        "MILLRACE_SHARDS": str(SHARDS),
        "MILLRACE_STREAM_URL": addresses.stream_url,
        "MILLRACE_POSTGRES_URL": addresses.postgres_url,
    }
    stream = stream_of(addresses)
    before = publish(addresses.postgres_url, stream, extended(PRESS, Plant(900, sources=9, start_us=0).model))
    process = subprocess.Popen([sys.executable, "-m", "millrace.devices", "--tags", "400"], env=environ)
    try:
        wait_for_the_model(stream, behind=before)
        time.sleep(1.0)
        assert records(stream)[0] == [], "nothing before workers own the shards: it would only wait"
        owned_by_a_worker(addresses)
        frames, every = wait_for_frames(stream)
        chunks = [chunk for chunk in every if chunk.number > before]
        assert {tag.path for chunk in chunks for tag in chunk.tags} == {
            PRESS.tags[0].path,
            *Plant(400, sources=4, start_us=0).tags,
        }
        states = [name for one in frames for name in one.states]
        assert set(states) <= set(MACHINE_STATES)
        assert_frames_match_the_model(frames, chunks)
        answer = order(tmp_path, Command(faults=orders_of("pump")), wait_s=WAIT_S)
        assert [struck.kind for struck in answer.struck] == ["spike", "bearing-wear", "drift"]
        second = subprocess.run(
            [sys.executable, "-m", "millrace.devices", "--tags", "3"], env=environ, **SHORT, check=False
        )
        assert (second.returncode, second.stdout) == (2, "")
        assert f"A plant runs on {tmp_path} already" in second.stderr
        assert order(tmp_path, Command(clear=True), wait_s=WAIT_S).error == ""
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(WAIT_S) == 0
        stream.close()


def wait_for_the_model(stream: ValkeyStream, *, behind: int) -> None:
    deadline_s = time.monotonic() + WAIT_S
    while max(chunk.number for chunk in records(stream)[1]) <= behind:
        assert time.monotonic() < deadline_s, "the simulator gave no model"
        time.sleep(0.2)


def owned_by_a_worker(addresses: Addresses) -> None:
    settings = Settings(postgres_url=addresses.postgres_url, shards=SHARDS, ownership_s=60.0)
    owners = Owners(addresses.postgres_url, "worker-0", settings)
    owners.prepare("of-this-test", SHARDS)
    assert all(owners.acquire(shard) for shard in range(SHARDS))
    owners.close()


def wait_for_frames(stream: ValkeyStream) -> tuple[list[Frame], list[control.ModelChunk]]:
    deadline_s = time.monotonic() + WAIT_S
    while time.monotonic() < deadline_s:
        frames, chunks = records(stream)
        if sum(len(one.ts_us) for one in frames) > 800:
            return frames, chunks
        time.sleep(0.2)
    raise AssertionError("the simulator sent too little")


def assert_frames_match_the_model(frames: list[Frame], chunks: list[control.ModelChunk]) -> None:
    models = {tag.path: tag for chunk in chunks for tag in chunk.tags}
    for one in frames:
        for number, path in enumerate(one.tags):
            assert models[path].source == one.source
            assert ValueKind(one.kinds[number]).name.lower() == models[path].kind
        assert np.isfinite(one.value).all()
        assert (np.abs(one.ts_us - one.received_ts_us) < 30_000_000).all()


def test_a_model_is_a_numbered_row_and_publishing_it_again_changes_nothing(addresses: Addresses) -> None:
    stream = stream_of(addresses)
    model = Plant(120, sources=3, start_us=0).model
    url = addresses.postgres_url
    number = publish(url, stream, model, made_by="test")
    before = [stream.span(shard) for shard in range(SHARDS)]
    assert publish(url, stream, model) == number
    assert [stream.span(shard) for shard in range(SHARDS)] == before
    with psycopg.connect(url) as connection:
        row = connection.execute(
            "SELECT number, appended, model FROM model_change ORDER BY number DESC"
        ).fetchone()
        assert row is not None
        assert row[:2] == (number, True)
        assert msgspec.msgpack.decode(row[2], type=AssetModel) == model
        count = connection.execute("SELECT count(*), count(DISTINCT source) FROM asset_tag").fetchone()
        assert count == (120, 3)
    other = Plant(130, sources=3, start_us=0).model
    assert publish(url, stream, other) == number + 1
    stream.close()


def test_a_change_that_was_not_appended_everywhere_is_appended_again(addresses: Addresses) -> None:
    stream = stream_of(addresses)
    model = Plant(50, sources=1, start_us=0).model
    number = publish(addresses.postgres_url, stream, model)
    with psycopg.connect(addresses.postgres_url, autocommit=True) as connection:
        connection.execute("UPDATE model_change SET appended = false WHERE number = %s", (number,))
    before = [stream.span(shard).newest for shard in range(SHARDS)]
    assert publish(addresses.postgres_url, stream, model) == number
    after = [stream.span(shard).newest for shard in range(SHARDS)]
    assert all(new > old for new, old in zip(after, before, strict=True))
    stream.close()
