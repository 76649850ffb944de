from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from millrace_infra.session import client_of
from millrace_infra.settings import Environment, load
from tests.infra.conftest import FOLDER
from tests.infra.emulator.server import CREDENTIALS, emulator


@pytest.fixture(scope="session")
def address() -> Iterator[str]:
    with emulator() as where:
        yield where


@pytest.fixture
def environment() -> Environment:
    return load("dev", "t1", folder=FOLDER)


@pytest.fixture
def client(address: str, environment: Environment, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """The verbs' own clients, turned to the emulator as anybody would: by the environment."""
    for name, value in {**CREDENTIALS, "AWS_ENDPOINT_URL": address}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    return client_of(environment)
