"""A platform of its own for each test, and a printed seed."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.simulation.real_platform import Platform, running, small


@pytest.fixture
def settings() -> dict[str, str]:
    return small(MILLRACE_SEGMENT_AGE_S="3", MILLRACE_OWNERSHIP_S="2")


@pytest.fixture
def platform(tmp_path: Path, settings: dict[str, str]) -> Iterator[Platform]:
    with running(tmp_path, settings) as platform:
        yield platform


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> random.Random:
    seed = int(os.environ.get("MILLRACE_TEST_SEED", "0")) or random.SystemRandom().randrange(2**31)
    print(f"MILLRACE_TEST_SEED={seed}")
    return random.Random(seed)
