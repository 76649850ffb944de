"""A platform of its own for each test, and a printed seed."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.simulation.real_platform import Platform, free_port


@pytest.fixture
def settings() -> dict[str, str]:
    return {
        "MILLRACE_API_PORT": str(free_port()),
        "MILLRACE_DASHBOARD": "false",
        "MILLRACE_SHARDS": "4",
        "MILLRACE_SEGMENT_AGE_S": "3",
        "MILLRACE_OWNERSHIP_S": "2",
        "MILLRACE_DISK_FREE_MIN": "128MiB",
    }


@pytest.fixture
def platform(tmp_path: Path, settings: dict[str, str]) -> Iterator[Platform]:
    running = Platform(tmp_path / "home", settings)
    running.start()
    yield running
    running.stop()


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> random.Random:
    seed = int(os.environ.get("MILLRACE_TEST_SEED", "0")) or random.SystemRandom().randrange(2**31)
    print(f"MILLRACE_TEST_SEED={seed}")
    return random.Random(seed)
