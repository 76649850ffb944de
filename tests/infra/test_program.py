"""Promises about the whole program, over every environment."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.infra.conftest import SUFFIX, Synthesize
from tests.infra.program import Program


def empty_blocks(value: Any, where: str = "") -> Iterator[str]:
    """Places of `{}` and `[{}]`: what a dict of the wrong case leaves behind."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if inner in ({}, [{}]):
                yield f"{where}.{key}"
            yield from empty_blocks(inner, f"{where}.{key}")
    elif isinstance(value, list):
        for inner in value:
            yield from empty_blocks(inner, where)


def test_no_block_is_empty(platform: Program) -> None:
    assert list(empty_blocks(platform.json["resource"])) == []


@pytest.mark.requirement("S-03")
def test_the_same_input_gives_the_same_bytes(synthesize: Synthesize, dev: Program) -> None:
    again = synthesize.__wrapped__(  # type: ignore[attr-defined]
        "dev", SUFFIX
    )[dev.name]
    assert again.text == dev.text
