"""`python -m millrace.schema`: roles and schema of a shared database, as a task makes them before any traffic moves.

On the very first run nobody but the master exists, so the master signs in, with the password of its secret, and
makes the roles; that is all that it does. `millrace_migrate` then signs in by IAM, is `millrace_owner` from its
first statement on, and brings the schema to HEAD. Each step may be repeated, and repeated changes nothing.

Both ways lead through TLS that is verified up to the server's name, or nowhere.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import psycopg
from psycopg.conninfo import make_conninfo

from millrace.errors import MillraceError, SettingError, StoreUnavailable
from millrace.names import (
    DATABASE_MASTER,
    DATABASE_PORT,
    ENV_DATABASE_CA_FILE,
    ENV_DATABASE_HOST,
    ENV_DATABASE_NAME,
    ENV_DATABASE_USER,
    ENV_SECRET_DATABASE_MASTER,
)
from millrace.schema import HEAD, migrate, roles

CONNECT_S: Final = 30
"""A fail-over takes about as long; the command that runs this may be repeated."""
ENV_REGION: Final = "AWS_REGION"
"""As Amazon calls it, and as every task is told it."""

Clients = Callable[[str], Any]


@dataclass(frozen=True)
class Place:
    """Where the database is and who signs in, as the task's environment says it."""

    host: str
    name: str
    user: str
    """Who migrates: by IAM, without a password of its own."""
    ca_file: Path
    master_secret: str
    region: str

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Self:
        place = cls(
            _told(environ, ENV_DATABASE_HOST, "the name of the database's writer"),
            _told(environ, ENV_DATABASE_NAME, "the database's name"),
            _told(environ, ENV_DATABASE_USER, "the user that migrates, who signs in by IAM"),
            Path(_told(environ, ENV_DATABASE_CA_FILE, "a file of the authorities that sign its certificate")),
            _told(environ, ENV_SECRET_DATABASE_MASTER, "the address of the master's secret"),
            _told(environ, ENV_REGION, "the region of the database"),
        )
        if not place.ca_file.is_file():
            raise SettingError(ENV_DATABASE_CA_FILE, got=str(place.ca_file), want="a file that is there")
        return place

    def url(self, user: str, password: str) -> str:
        """For libpq. A host that begins with / is a folder of sockets, which know no TLS."""
        return make_conninfo(
            host=self.host,
            port=DATABASE_PORT,
            dbname=self.name,
            user=user,
            password=password,
            sslmode="verify-full",
            sslrootcert=str(self.ca_file),
            target_session_attrs="read-write",  # after a fail-over the writer's name may lead to a reader
            connect_timeout=CONNECT_S,
            application_name="millrace migrate",
        )


def run(place: Place, client: Clients, say: Callable[[str], None]) -> None:
    """Roles, then schema."""
    made = _make_roles(place, _master_password(place, client("secretsmanager")))
    say(f"roles: made {', '.join(made)}" if made else "roles: all there")
    changed = migrate(place.url(place.user, _token(place, client("rds"))))
    say(f"schema: {'brought to' if changed else 'was at'} {HEAD}")


def _make_roles(place: Place, password: str) -> list[str]:
    try:
        with psycopg.connect(place.url(DATABASE_MASTER, password), autocommit=True) as connection:
            return roles.ensure(connection)
    except psycopg.Error as error:
        raise StoreUnavailable(f"PostgreSQL: the roles could not be made: {error}") from error


def _master_password(place: Place, manager: Any) -> str:
    """Read at each run and kept nowhere. The secret may be changed by hand at any time."""
    text = _asked("the master's secret", lambda: manager.get_secret_value(SecretId=place.master_secret))
    try:
        content = json.loads(text["SecretString"])
        user, password = content["username"], content["password"]
    except (ValueError, KeyError, TypeError):
        wanted = "JSON with username and password"
        raise SettingError(ENV_SECRET_DATABASE_MASTER, got=place.master_secret, want=wanted) from None
    if user != DATABASE_MASTER:
        raise SettingError("username of the master's secret", got=user, want=DATABASE_MASTER)
    return str(password)


def _token(place: Place, rds: Any) -> str:
    """A password for fifteen minutes, signed here: RDS is not asked."""
    where = {"DBHostname": place.host, "Port": DATABASE_PORT, "DBUsername": place.user}
    return str(_asked("a token", lambda: rds.generate_db_auth_token(**where, Region=place.region)))


def _asked(what: str, call: Callable[[], Any]) -> Any:
    from botocore.exceptions import BotoCoreError, ClientError  # type: ignore[import-untyped, unused-ignore]

    try:
        return call()
    except (BotoCoreError, ClientError) as error:
        raise StoreUnavailable(f"AWS gives {what} not: {error}") from error


def _told(environ: Mapping[str, str], name: str, want: str) -> str:
    value = environ.get(name, "")
    if not value:
        raise SettingError(name, got=value, want=want)
    return value


def main(environ: Mapping[str, str] = os.environ) -> int:
    import boto3  # type: ignore[import-untyped, unused-ignore]

    try:
        place = Place.from_env(environ)
        session = boto3.Session(region_name=place.region)
        run(place, session.client, lambda line: print(line, flush=True))
    except MillraceError as error:
        print(f"millrace.schema: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
