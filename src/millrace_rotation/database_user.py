"""Rotates the password of the services' database user: two users take turns, so the one in use is never touched.

The pending value names the user that is not current. Its password is set by the master, as a SCRAM verifier:
neither the server nor its log (which writes down statements of this kind) ever sees the password.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from millrace.names import (
    DATABASE_OWNER,
    DATABASE_USERS,
    ENV_DATABASE_HOST,
    ENV_DATABASE_NAME,
    ENV_SECRET_DATABASE_MASTER,
    ENV_SECRET_DATABASE_USER,
)
from millrace_rotation import stages
from millrace_rotation.postgres import Session, scram_verifier, session

PASSWORD_BYTES: Final = 36
"""48 characters of letters, digits, - and _: none of them means anything in SQL or in a URL."""


@dataclass(frozen=True)
class Credentials:
    """Who signs in, and with what; the password shows nowhere."""

    user: str
    password: str

    @classmethod
    def of(cls, text: str) -> Credentials:
        try:
            content = json.loads(text)
            return cls(content["username"], content["password"])
        except (ValueError, KeyError, TypeError):
            raise stages.RotationRefused("the secret is no JSON with username and password") from None

    def __repr__(self) -> str:
        return f"Credentials({self.user})"


SignIn = Callable[[Credentials], Session]


class DatabaseUser:
    """`sign_in` opens a session at the writer; `master` reads the master's credentials when they are needed."""

    def __init__(self, sign_in: SignIn, master: Callable[[], Credentials]) -> None:
        self._sign_in = sign_in
        self._master = master

    def next_value(self, current: str) -> str:
        user = next(name for name in DATABASE_USERS if name != Credentials.of(current).user)
        password = secrets.token_urlsafe(PASSWORD_BYTES)
        return json.dumps({**json.loads(current), "username": user, "password": password})

    def put_in_force(self, pending: str, current: str, version: str) -> None:
        wanted = Credentials.of(pending)
        if wanted.user not in DATABASE_USERS or wanted.user == Credentials.of(current).user:
            raise stages.RotationRefused(
                f"{wanted.user} is in use, or no user of ours: its password stays as it is. "
                "Take AWSPENDING away from that version, and rotate again"
            )
        with self._sign_in(self._master()) as master:
            master.execute(f"ALTER ROLE {wanted.user} LOGIN PASSWORD '{scram_verifier(wanted.password)}'")

    def test(self, pending: str, current: str, version: str) -> None:
        """As a service would: sign in, be the owner of everything, and find a server that takes writes."""
        with self._sign_in(Credentials.of(pending)) as session:
            ((role, is_reader),) = session.execute("SELECT current_user, pg_is_in_recovery()")
        if role != DATABASE_OWNER:
            raise stages.RotationRefused(
                f"the new user is {role}, not {DATABASE_OWNER}: migrate the database"
            )
        if is_reader != "f":
            raise stages.RotationRefused("a fail-over is under way: the writer's name leads to a reader")

    def tidy(self, kept: frozenset[str]) -> None:
        """The former user keeps its password: who has it cached works on, until the turn after this one."""


def handler(event: Mapping[str, str], context: object) -> None:
    import boto3  # type: ignore[import-untyped, unused-ignore]

    manager: Any = boto3.client("secretsmanager")

    def master() -> Credentials:
        found = manager.get_secret_value(SecretId=os.environ[ENV_SECRET_DATABASE_MASTER])
        return Credentials.of(found["SecretString"])

    def sign_in(who: Credentials) -> Session:
        host, database = os.environ[ENV_DATABASE_HOST], os.environ[ENV_DATABASE_NAME]
        return session(host=host, database=database, user=who.user, password=who.password)

    stages.run(
        event,
        manager=manager,
        secret_arn=os.environ[ENV_SECRET_DATABASE_USER],
        subject=DatabaseUser(sign_in, master),
    )
