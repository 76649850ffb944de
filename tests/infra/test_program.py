"""Promises about the whole program, over every environment."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.infra.conftest import SUFFIX, Synthesize
from tests.infra.program import Program

EMPTY_ON_PURPOSE = {"aws_wafv2_web_acl": {"allow", "block", "count", "none", "uri_path"}}
"""Blocks that say all by being there: what the firewall does, and what it reads."""


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
    found = [
        place
        for type_, blocks in platform.json["resource"].items()
        for place in empty_blocks(blocks, type_)
        if place.rpartition(".")[2] not in EMPTY_ON_PURPOSE.get(type_, ())
    ]
    assert found == []


@pytest.mark.requirement("S-03")
def test_the_same_input_gives_the_same_bytes(synthesize: Synthesize, dev: Program) -> None:
    again = synthesize.__wrapped__(  # type: ignore[attr-defined]
        "dev", SUFFIX
    )[dev.name]
    assert again.text == dev.text
