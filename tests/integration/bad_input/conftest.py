"""A whole platform with narrow bounds, for all tests of a file."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.simulation.real_platform import Platform, free_port

NARROW = {
    "MILLRACE_DASHBOARD": "false",
    "MILLRACE_SHARDS": "4",
    "MILLRACE_SEGMENT_AGE_S": "3",
    "MILLRACE_OWNERSHIP_S": "2",
    "MILLRACE_DISK_FREE_MIN": "128MiB",
    "MILLRACE_SOURCES_MAX": "60",
    "MILLRACE_TAGS_PER_SOURCE_MAX": "60",
    "MILLRACE_NEW_TAGS_PER_SOURCE_DAY_MAX": "40",
}


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    settings = NARROW | {"MILLRACE_API_PORT": str(free_port())}
    running = Platform(tmp_path_factory.mktemp("bad-input") / "home", settings)
    running.start()
    yield running
    running.stop()
