"""MILLRACE_ASSET_MODEL over three starts: what was joined in between stays, what changed in the file is in force."""

from __future__ import annotations

from pathlib import Path

import msgspec
import psycopg
import pytest

from millrace.assets.load import extended, model_of
from millrace.assets.publish import put_in_force
from millrace.assets.tag import AssetModel, TagModel
from millrace.local.endpoints import Endpoints
from millrace.stream.valkey import ValkeyStream
from tests.integration.local.test_supervisor import WAIT_S, run

HEADER = "path,source,unit\n"
FIRST = "acme/lyon/press-shop/line-1/press-01/temp,plc-1,degC\n"
SECOND = "acme/lyon/press-shop/line-1/press-01/force,plc-1,kN\n"
JOINED = TagModel(path="acme/lyon/utilities/line-1/pump-01/flow", source="plant")


def in_force(found: Endpoints) -> tuple[int, list[str]]:
    with psycopg.connect(found.postgres_url) as connection:
        row = connection.execute("SELECT number, model FROM model_change ORDER BY number DESC").fetchone()
    assert row is not None
    return row[0], [tag.path.split("/")[-1] for tag in msgspec.msgpack.decode(row[1], type=AssetModel).tags]


def join(found: Endpoints) -> int:
    """As `millrace model --join`, a replay or a plant does."""
    stream = ValkeyStream(found.stream_url, shard_count=found.shards, bytes_max=1 << 30)
    more = model_of([JOINED])
    number = put_in_force(found.postgres_url, stream, lambda before: extended(before, more)).number
    stream.close()
    return number


@pytest.mark.requirement("S-21")
def test_the_next_start_keeps_what_joined_and_puts_only_the_files_changes_in_force(tmp_path: Path) -> None:
    home, file = tmp_path / "home", tmp_path / "model.csv"
    file.write_text(HEADER + FIRST)
    with run(home, ASSET_MODEL=str(file)) as platform:
        found = platform.ready()
        assert in_force(found)[1] == ["temp"]
        assert "1 tags new or described anew" in platform.text
        number = join(found)
        assert platform.stop() == 0
    with run(home, ASSET_MODEL=str(file)) as platform:
        assert in_force(platform.ready()) == (number, ["temp", "flow"])
        assert f"nothing changed in it, change {number} stays in force" in platform.text
        assert platform.stop() == 0
    file.write_text(HEADER + SECOND)
    with run(home, ASSET_MODEL=str(file)) as platform:
        assert in_force(platform.ready()) == (number + 1, ["force", "flow"])
        assert "1 that it no longer has are unmodelled" in platform.text


def test_a_mistake_in_the_file_is_told_before_anything_starts(tmp_path: Path) -> None:
    home, file = tmp_path / "home", tmp_path / "model.csv"
    file.write_text("path,source,unit,detectors\n" + FIRST.strip() + ",ewmaa\n")
    with run(home, ASSET_MODEL=str(file)) as platform:
        assert platform.process.wait(WAIT_S) == 2
        assert f"{file}:2: " in platform.text
        assert "ewma?" in platform.text
        assert not home.exists()
