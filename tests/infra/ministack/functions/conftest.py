"""The synthesized functions over the emulated account, and a real PostgreSQL behind TLS where the cluster would be."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from millrace import names
from millrace_rotation.postgres import PORT
from tests.contract.sinks.conftest import server
from tests.infra.ministack.functions.function import Function, runtime
from tests.infra.ministack.roles.account import Account
from tests.integration.rotation.conftest import MASTER_PASSWORD, Database, database
from tests.integration.rotation.tls import certificate, door, shut, tls_before

__all__ = ["database", "server"]

Made = Callable[..., Function]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory, at: Account) -> Path:
    """Good for the cluster's name alone."""
    return certificate(tmp_path_factory.mktemp("authority"), at.database_host)


@pytest.fixture(scope="module")
def cluster(at: Account, database: Database, authority: Path) -> Iterator[Database]:
    """The database at the address that the function is told, and the master's password where it looks for it."""
    value = json.dumps({"username": names.DATABASE_MASTER, "password": MASTER_PASSWORD})
    at.root("secretsmanager").put_secret_value(
        SecretId=at.found("secrets/database-master", "arn"), SecretString=value
    )
    listening = door(tls_before(database, authority), at.database_host, PORT)
    yield database
    shut(listening)


@pytest.fixture(scope="module")
def brought(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return runtime(tmp_path_factory.mktemp("lambda") / "runtime")


@pytest.fixture
def function(at: Account, tmp_path: Path, brought: Path, authority: Path) -> Made:
    """`function("api-keys")`: the function that rotates that secret."""

    def of(noun: str, **more: object) -> Function:
        code = tmp_path / f"{noun}-{len(list(tmp_path.iterdir()))}"
        return Function(
            **({"account": at, "noun": noun, "code": code, "runtime": brought, "authority": authority} | more)
        )  # type: ignore[arg-type]

    return of
