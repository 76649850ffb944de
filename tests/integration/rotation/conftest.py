"""A real PostgreSQL that asks for passwords, with a master as weak as Amazon RDS makes it, and an emulated AWS."""

from __future__ import annotations

import json
import socket
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import boto3
import psycopg
import pytest
from moto import mock_aws
from psycopg.conninfo import make_conninfo

from millrace import names
from millrace.schema import migrate, roles
from millrace_rotation.database_user import Credentials
from millrace_rotation.postgres import Session
from tests.contract.sinks.conftest import Server, server  # noqa: F401
from tests.integration.rotation.faults import Secret

MASTER_PASSWORD = "the-masters-own"
AS_IN_RDS = f"""
CREATE ROLE rds_iam NOLOGIN;
CREATE ROLE {names.DATABASE_MASTER} LOGIN CREATEDB CREATEROLE PASSWORD '{MASTER_PASSWORD}';
GRANT rds_iam, pg_signal_backend TO {names.DATABASE_MASTER} WITH ADMIN OPTION;
"""
"""The master of Amazon RDS is no superuser, but may give these on."""
SIGN_IN = """
local all millrace trust
local all millrace_migrate trust
local all all scram-sha-256
"""
"""`millrace` is the superuser, whom RDS gives to nobody; the migration signs in by IAM there."""


def token() -> str:
    """As Secrets Manager makes one for each rotation."""
    return str(uuid.uuid4())


@dataclass(frozen=True)
class Database:
    """One database of the server, its roles made and migrated."""

    folder: str
    name: str

    def sign_in(self, who: Credentials) -> Session:
        """As the function does, over the server's own socket in place of TLS."""
        connected = socket.socket(socket.AF_UNIX)
        connected.settimeout(10)
        connected.connect(f"{self.folder}/.s.PGSQL.5432")
        return Session(connected, database=self.name, user=who.user, password=who.password)

    def url(self, user: str, password: str = "") -> str:
        return make_conninfo(host=self.folder, dbname=self.name, user=user, password=password)

    def connect(self, secret: str) -> psycopg.Connection[Any]:
        """As a task does: another client than the function's."""
        who = Credentials.of(secret)
        return psycopg.connect(self.url(who.user, who.password), autocommit=True)

    def as_migration(self) -> psycopg.Connection[Any]:
        return psycopg.connect(self.url(names.DATABASE_MIGRATE), autocommit=True)

    @staticmethod
    def master() -> Credentials:
        return Credentials(names.DATABASE_MASTER, MASTER_PASSWORD)


@pytest.fixture(scope="module")
def database(server: Server) -> Database:  # noqa: F811
    with psycopg.connect(server.url("postgres"), autocommit=True) as superuser:
        superuser.execute(AS_IN_RDS.encode())
        superuser.execute(f"CREATE DATABASE shared OWNER {names.DATABASE_MASTER}".encode())
    (server.data / "pg_hba.conf").write_text(SIGN_IN)
    with psycopg.connect(server.url("postgres"), autocommit=True) as superuser:
        superuser.execute("SELECT pg_reload_conf()")
    database = Database(str(server.folder), "shared")
    master = database.master()
    with psycopg.connect(database.url(master.user, master.password), autocommit=True) as connection:
        roles.ensure(connection)
    migrate(database.url(names.DATABASE_MIGRATE))
    return database


@pytest.fixture(scope="module")
def aws() -> Iterator[Callable[[str], Any]]:
    """`aws("secretsmanager")`: clients of an emulated account."""
    with pytest.MonkeyPatch.context() as environ, mock_aws():
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            environ.setenv(name, "testing")
        environ.delenv("AWS_ENDPOINT_URL", raising=False)
        environ.delenv("AWS_PROFILE", raising=False)
        yield lambda service: boto3.client(service, region_name="eu-central-1")


@pytest.fixture
def new_secret(aws: Callable[[str], Any]) -> Callable[[str], Secret]:
    """A secret that somebody filled by hand."""

    def made(value: str) -> Secret:
        manager = aws("secretsmanager")
        return Secret(manager, manager.create_secret(Name=f"millrace/{token()}", SecretString=value)["ARN"])

    return made


@pytest.fixture
def user_secret(new_secret: Callable[[str], Secret]) -> Secret:
    """As an operator makes it before the first deployment; the password was never set in the database."""
    first, _ = names.DATABASE_USERS
    return new_secret(json.dumps({"username": first, "password": "never-set", "note": "kept"}))
