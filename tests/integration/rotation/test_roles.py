"""The users of a shared database, made by a master that is no superuser."""

from __future__ import annotations

import psycopg
import pytest

from millrace import names
from millrace.schema import HEAD, roles, version
from tests.integration.rotation.conftest import Database


@pytest.mark.requirement("S-07")
def test_a_second_time_changes_nothing(database: Database) -> None:
    master = database.master()
    with psycopg.connect(database.url(master.user, master.password), autocommit=True) as connection:
        assert roles.ensure(connection) == []


@pytest.mark.requirement("S-07")
def test_nobody_signs_in_as_the_owner_and_nobody_is_a_superuser(database: Database) -> None:
    with database.as_migration() as connection:
        found = connection.execute(
            "SELECT rolname, rolcanlogin FROM pg_roles WHERE rolname LIKE 'millrace\\_%' "
            "AND NOT rolsuper AND NOT rolbypassrls AND NOT rolreplication"
        ).fetchall()
    users = {*names.DATABASE_USERS, names.DATABASE_MIGRATE, names.DATABASE_READONLY, names.DATABASE_MASTER}
    assert dict(found) == {names.DATABASE_OWNER: False} | dict.fromkeys(users, True)


@pytest.mark.requirement("S-07")
def test_the_migration_makes_every_object_the_owners(database: Database) -> None:
    with database.as_migration() as connection:
        assert version(connection) == HEAD
        owners = connection.execute(
            "SELECT DISTINCT pg_get_userbyid(relowner) FROM pg_class WHERE relnamespace = 'public'::regnamespace"
        ).fetchall()
    assert owners == [(names.DATABASE_OWNER,)]


@pytest.mark.requirement("S-07")
def test_people_who_look_see_every_table_and_change_none(database: Database) -> None:
    with psycopg.connect(database.url("millrace"), autocommit=True) as connection:
        connection.execute(f"SET SESSION AUTHORIZATION {names.DATABASE_READONLY}".encode())
        assert connection.execute("SELECT count(*) FROM shard").fetchone() is not None
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("DELETE FROM shard")


@pytest.mark.requirement("S-07")
def test_only_those_who_sign_in_by_iam_get_its_role(database: Database) -> None:
    """A user with `rds_iam` cannot use a password any more."""
    with database.as_migration() as connection:
        members = connection.execute(
            "SELECT member::regrole::text FROM pg_auth_members WHERE roleid = 'rds_iam'::regrole"
        ).fetchall()
    ours = {name for (name,) in members} - {names.DATABASE_MASTER}
    assert ours == {names.DATABASE_MIGRATE, names.DATABASE_READONLY}
