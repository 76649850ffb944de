"""A PostgreSQL behind TLS as Amazon RDS gives it: a weak master and nobody else, and an emulated AWS."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import boto3
import psycopg
import pytest

from millrace import names
from tests.contract.sinks.conftest import Server, server  # noqa: F401
from tests.infra.emulator.server import CREDENTIALS, emulator
from tests.integration.migration.tls_door import authority_and_certificate, tls_door
from tests.integration.rotation.conftest import AS_IN_RDS, MASTER_PASSWORD, SIGN_IN

REGION = "eu-central-1"


@dataclass(frozen=True)
class Shared:
    """A database that holds nothing yet, and what a task is told of it."""

    server: Server
    environ: dict[str, str]

    def asked(self, statement: str) -> list[tuple[Any, ...]]:
        """By the superuser, whom RDS gives to nobody."""
        with psycopg.connect(self.server.url(names.DATABASE), autocommit=True) as connection:
            return connection.execute(statement.encode()).fetchall()

    def users(self) -> set[str]:
        found = self.asked("SELECT rolname FROM pg_roles WHERE rolname LIKE 'millrace\\_%'")
        return {name for (name,) in found}


@pytest.fixture(scope="module")
def aws() -> Iterator[str]:
    with emulator() as address:
        yield address


@pytest.fixture(scope="module")
def shared(
    server: Server,  # noqa: F811
    aws: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Shared]:
    with psycopg.connect(server.url("postgres"), autocommit=True) as superuser:
        superuser.execute(AS_IN_RDS.encode())
        superuser.execute(f"ALTER DATABASE {names.DATABASE} OWNER TO {names.DATABASE_MASTER}".encode())
        (server.data / "pg_hba.conf").write_text(SIGN_IN)
        superuser.execute("SELECT pg_reload_conf()")
    # an address of this machine's own that no other run listens on, for a port that is the same everywhere
    address = f"127.{os.getpid() % 250 + 2}.{os.getpid() // 250 % 250}.77"
    ca, certificate = authority_and_certificate(tmp_path_factory.mktemp("authority"), address)
    with tls_door(address, certificate, server.folder / ".s.PGSQL.5432"):
        yield Shared(server, told(aws, address, str(ca)))


def told(aws: str, address: str, ca: str) -> dict[str, str]:
    session = boto3.Session(
        CREDENTIALS["AWS_ACCESS_KEY_ID"], CREDENTIALS["AWS_SECRET_ACCESS_KEY"], region_name=REGION
    )
    value = json.dumps({"username": names.DATABASE_MASTER, "password": MASTER_PASSWORD})
    manager = session.client("secretsmanager", endpoint_url=aws)
    secret = manager.create_secret(Name="millrace/t1/database-master", SecretString=value)["ARN"]
    return {
        **CREDENTIALS,
        "AWS_ENDPOINT_URL": aws,
        "AWS_REGION": REGION,
        names.ENV_DATABASE_HOST: address,
        names.ENV_DATABASE_NAME: names.DATABASE,
        names.ENV_DATABASE_USER: names.DATABASE_MIGRATE,
        names.ENV_DATABASE_CA_FILE: ca,
        names.ENV_SECRET_DATABASE_MASTER: secret,
    }
