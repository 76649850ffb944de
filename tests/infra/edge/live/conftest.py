"""The synthesized edge on the emulator, in front of the real API over real stores."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pytest

from tests.contract.api.api_platform import (
    cache,
    clock,
    follower,
    platform,
    postgres,
    postgres_server,
    writer,
)
from tests.infra.emulator.server import CREDENTIALS
from tests.infra.ministack.server import ministack, missing

__all__ = ["cache", "clock", "follower", "platform", "postgres", "postgres_server", "writer"]


@pytest.fixture(scope="session")
def address() -> Iterator[str]:
    if reason := missing():
        pytest.skip(reason)
    with ministack() as found:
        yield found


@pytest.fixture(scope="session")
def client(address: str) -> Any:
    return boto3.client(
        "apigateway",
        endpoint_url=address,
        region_name="eu-central-1",
        aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
    )
