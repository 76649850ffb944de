"""A whole platform with narrow bounds, for all tests of a file."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.simulation.real_platform import Platform, running, small

NARROW = {
    "MILLRACE_SHARDS": "4",
    "MILLRACE_SEGMENT_AGE_S": "3",
    "MILLRACE_OWNERSHIP_S": "2",
    "MILLRACE_SOURCES_MAX": "60",
    "MILLRACE_TAGS_PER_SOURCE_MAX": "60",
    "MILLRACE_NEW_TAGS_PER_SOURCE_DAY_MAX": "40",
}


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    with running(tmp_path_factory.mktemp("bad-input"), small(**NARROW)) as platform:
        yield platform
