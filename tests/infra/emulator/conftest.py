from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest

from tests.infra.emulator.server import CREDENTIALS, emulator

REGION = "eu-central-1"
Client = Callable[..., Any]


@pytest.fixture(scope="session")
def client() -> Iterator[Client]:
    """SDK clients of an emulator that these tests share."""
    with emulator() as address:

        def of(service: str, region: str = REGION) -> Any:
            return boto3.client(
                service,
                region_name=region,
                endpoint_url=address,
                aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
                aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
            )

        yield of
