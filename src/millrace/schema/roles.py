"""The users of a shared database, made by its master before the first migration; repeated calls change nothing.

`millrace_owner` cannot sign in and owns every object. The two users of the services take its role as they sign
in, so whatever one of them makes (a partition, a table) is the owner's, and the other may change it after a
rotation. They have no password until the first rotation gives one of them its own.

On AWS the users who sign in by IAM get `rds_iam`; elsewhere there is no such role, and they are made without.
"""

from __future__ import annotations

from typing import Any, Final

import psycopg
from psycopg import sql

from millrace.names import DATABASE_MIGRATE, DATABASE_OWNER, DATABASE_READONLY, DATABASE_USERS

IAM_ROLE: Final = "rds_iam"
ACTS_AS_OWNER: Final = (*DATABASE_USERS, DATABASE_MIGRATE)
_NEEDED: Final = (DATABASE_OWNER, *DATABASE_USERS, DATABASE_MIGRATE, DATABASE_READONLY)

OWNER: Final = (
    # who makes a role may grant it, and from PostgreSQL 16 on not act as it: the master needs that below
    "GRANT {owner} TO CURRENT_USER",
    "GRANT CREATE, CONNECT, TEMPORARY ON DATABASE {database} TO {owner}",
    "GRANT ALL ON SCHEMA public TO {owner}",
    # a worker ends the sessions of one whose shards it takes over, and that one may have the other user
    "GRANT pg_signal_backend TO {owner}",
)
USER: Final = ("GRANT {owner} TO {user}", "ALTER ROLE {user} SET role = {owner}")
READER: Final = (
    "GRANT CONNECT ON DATABASE {database} TO {user}",
    "GRANT USAGE ON SCHEMA public TO {user}",
    "GRANT SELECT ON ALL TABLES IN SCHEMA public TO {user}",
    "ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA public GRANT SELECT ON TABLES TO {user}",
)


def ensure(connection: psycopg.Connection[Any]) -> list[str]:
    """Make what is missing, all of it or nothing; the roles that were made. Signed in as the master."""
    with connection.transaction():
        there = {name for (name,) in connection.execute("SELECT rolname FROM pg_roles").fetchall()}
        made = [name for name in _NEEDED if name not in there]
        for name in made:
            kind = "NOLOGIN" if name == DATABASE_OWNER else "LOGIN"
            connection.execute(sql.SQL(f"CREATE ROLE {{user}} {kind}").format(user=sql.Identifier(name)))
        _run(connection, OWNER)
        for name in ACTS_AS_OWNER:
            _run(connection, USER, name)
        _run(connection, READER, DATABASE_READONLY)
        if IAM_ROLE in there:
            for name in (DATABASE_MIGRATE, DATABASE_READONLY):
                _run(connection, (f"GRANT {IAM_ROLE} TO {{user}}",), name)
    return made


def _run(connection: psycopg.Connection[Any], statements: tuple[str, ...], user: str = "") -> None:
    row = connection.execute("SELECT current_database()").fetchone()
    assert row is not None
    parts = {
        "owner": sql.Identifier(DATABASE_OWNER),
        "database": sql.Identifier(row[0]),
        "user": sql.Identifier(user or DATABASE_OWNER),
    }
    for statement in statements:
        connection.execute(sql.SQL(statement).format(**parts))
