"""The rotation of the database user against a real PostgreSQL: in order, repeated, cut short, under load."""

from __future__ import annotations

import json
import random
import time
from typing import Any

import psycopg
import pytest

from millrace import names
from millrace.schema import partitions
from millrace_rotation import stages
from millrace_rotation.database_user import Credentials, DatabaseUser
from millrace_rotation.postgres import PostgresError, Session
from millrace_rotation.stages import RotationRefused
from tests.integration.rotation.conftest import Database, token
from tests.integration.rotation.faults import STEPS, CutShort, Faults, Secret
from tests.integration.rotation.load import Load

FIRST, SECOND = names.DATABASE_USERS


def subject_of(database: Database, faults: Faults | None = None) -> DatabaseUser:
    if faults is None:
        return DatabaseUser(database.sign_in, database.master)

    def sign_in(who: Credentials) -> Session:
        session: Session = faults.call("sign in", database.sign_in)(who)
        session.execute = faults.call("execute", session.execute)  # type: ignore[method-assign]
        return session

    return DatabaseUser(sign_in, faults.call("read master", database.master))


@pytest.fixture
def subject(database: Database) -> DatabaseUser:
    return subject_of(database)


@pytest.fixture
def rotated(user_secret: Secret, subject: DatabaseUser) -> Secret:
    """A secret after its first rotation: its value works."""
    user_secret.rotate(token(), subject)
    return user_secret


def works(database: Database, value: str) -> bool:
    try:
        database.connect(value).close()
    except psycopg.OperationalError:
        return False
    return True


@pytest.mark.requirement("S-11")
def test_the_two_users_take_turns_and_the_former_one_works_on(
    database: Database, user_secret: Secret, subject: DatabaseUser
) -> None:
    users = []
    for _ in range(4):
        before = user_secret.value()
        user_secret.rotate(token(), subject)
        users.append(json.loads(user_secret.value())["username"])
        assert works(database, user_secret.value())
        assert user_secret.value("AWSPREVIOUS") == before
        assert works(database, before) or "never-set" in before
    assert users == [SECOND, FIRST, SECOND, FIRST]
    assert json.loads(user_secret.value())["note"] == "kept"


@pytest.mark.requirement("S-11")
def test_steps_may_be_repeated_and_come_back_late(
    database: Database, rotated: Secret, subject: DatabaseUser
) -> None:
    this, (create, put, test, finish) = token(), STEPS
    rotated.rotate(this, subject, (create, create, put, create, put, test, put, create, test, test, finish))
    after = rotated.value()
    rng = random.Random(7)
    for _ in range(12):
        rotated.step(rng.choice(STEPS), this, subject)
    assert rotated.value() == after
    assert works(database, after)
    assert rotated.current_version() == this


@pytest.mark.requirement("S-11")
def test_cut_short_at_any_call_the_current_value_works_and_a_repetition_ends_well(
    database: Database, rotated: Secret
) -> None:
    counted = Faults()
    run_with(rotated, database, counted, token())
    assert len(counted.passed) > 30
    for at in range(len(counted.passed)):
        before, this, faults = rotated.value(), token(), Faults(at)
        try:
            run_with(rotated, database, faults, this)
        except CutShort:
            assert works(database, rotated.value()), f"cut short {faults.passed[-1]} at {at}"
            assert works(database, before), f"cut short {faults.passed[-1]} at {at}"
            run_with(rotated, database, faults, this)
        assert len(faults.passed) > at
        assert rotated.current_version() == this
        assert works(database, rotated.value())
        assert works(database, before)


def run_with(secret: Secret, database: Database, faults: Faults, this: str) -> None:
    """All four steps from the beginning, as a new rotation with the same token would."""
    for name in STEPS:
        secret.step(name, this, subject_of(database, faults), faults.watch(secret.manager))


@pytest.mark.requirement("S-11")
def test_a_rotation_that_is_given_up_leaves_the_value_before_working(
    database: Database, rotated: Secret, subject: DatabaseUser
) -> None:
    given_up, before = token(), rotated.value()
    rotated.rotate(given_up, subject, STEPS[:2])
    rotated.manager.update_secret_version_stage(
        SecretId=rotated.arn, VersionStage="AWSPENDING", RemoveFromVersionId=given_up
    )
    assert rotated.value() == before
    assert works(database, before)
    with pytest.raises(RotationRefused, match="start a new rotation"):
        rotated.step("createSecret", given_up, subject)
    rotated.rotate(token(), subject)
    assert works(database, rotated.value())


@pytest.mark.requirement("S-11")
def test_no_write_fails_for_good_while_the_user_is_rotated(database: Database, rotated: Secret) -> None:
    counted = Faults()
    run_with(rotated, database, counted, token())
    with Load(database, rotated, writers=3) as load:
        for at in range(1, len(counted.passed), 3):
            this, faults = token(), Faults(at)
            try:
                run_with(rotated, database, faults, this)
            except CutShort:
                load.wait_for_writes(2)
                run_with(rotated, database, faults, this)
            load.wait_for_writes(2)
    assert load.failures == []
    assert load.rereads >= 3, "each turn takes the password of a user that is cached somewhere"
    with database.as_migration() as connection:
        row = connection.execute("SELECT count(*) FROM written").fetchone()
    assert row == (load.written,)
    assert load.written > 50


@pytest.mark.requirement("S-11")
def test_the_new_user_changes_a_partition_that_the_other_made(
    database: Database, rotated: Secret, subject: DatabaseUser
) -> None:
    partition = (names.TABLE_READING, 0)
    with database.connect(rotated.value()) as one:
        partitions.ensure(one, [partition])
        maker = session_user(one)
    rotated.rotate(token(), subject)
    with database.connect(rotated.value()) as other:
        assert session_user(other) != maker
        assert partition in partitions.existing(other)
        other.execute("ALTER TABLE reading_1970010100 SET (fillfactor = 90)")
        partitions.drop(other, partition)
        assert partition not in partitions.existing(other)


@pytest.mark.requirement("S-11")
def test_the_new_user_may_end_a_session_that_the_other_opened(
    database: Database, rotated: Secret, subject: DatabaseUser
) -> None:
    """A worker ends the sessions of one whose shards it takes over."""
    with database.connect(rotated.value()) as one:
        rotated.rotate(token(), subject)
        with database.connect(rotated.value()) as other:
            row = other.execute("SELECT pg_terminate_backend(%s)", [one.info.backend_pid]).fetchone()
        assert row == (True,)
        with pytest.raises(psycopg.OperationalError):
            one.execute("SELECT 1")


def session_user(connection: psycopg.Connection[Any]) -> str:
    row = connection.execute("SELECT session_user, current_user").fetchone()
    assert row is not None
    assert row[1] == names.DATABASE_OWNER
    return str(row[0])


@pytest.mark.requirement("S-11")
def test_the_password_of_the_user_in_use_is_never_touched(
    database: Database, rotated: Secret, subject: DatabaseUser
) -> None:
    this, before = token(), rotated.value()
    own = json.dumps({**json.loads(before), "password": "somebody-elses-idea"})
    rotated.manager.put_secret_value(
        SecretId=rotated.arn, ClientRequestToken=this, SecretString=own, VersionStages=["AWSPENDING"]
    )
    with pytest.raises(RotationRefused, match="in use"):
        rotated.step("setSecret", this, subject)
    assert works(database, before)


@pytest.mark.requirement("S-11")
def test_a_value_that_does_not_work_never_becomes_current(
    database: Database, rotated: Secret, subject: DatabaseUser
) -> None:
    this, before = token(), rotated.value()
    rotated.rotate(this, subject, ("createSecret",))
    with pytest.raises(PostgresError, match="28P01"):
        rotated.step("testSecret", this, subject)
    assert rotated.value() == before


@pytest.mark.requirement("S-11")
def test_a_user_that_is_not_the_owner_is_no_success(
    database: Database, rotated: Secret, subject: DatabaseUser
) -> None:
    this = token()
    rotated.rotate(this, subject, STEPS[:2])
    user = json.loads(rotated.value("AWSPENDING"))["username"]
    with psycopg.connect(database.url("millrace"), autocommit=True) as superuser:
        superuser.execute(f"ALTER ROLE {user} RESET role".encode())
        try:
            with pytest.raises(RotationRefused, match="not millrace_owner"):
                rotated.step("testSecret", this, subject)
        finally:
            superuser.execute(f"ALTER ROLE {user} SET role = {names.DATABASE_OWNER}".encode())
    rotated.rotate(this, subject)


@pytest.mark.requirement("S-11")
def test_a_rehearsal_on_an_empty_database_is_no_failure(user_secret: Secret, subject: DatabaseUser) -> None:
    """Secrets Manager does so when a rotation is configured and not begun: the database has no users then."""
    this = token()
    user_secret.manager.put_secret_value(
        SecretId=user_secret.arn,
        ClientRequestToken=this,
        SecretString=user_secret.value(),
        VersionStages=["AWSPENDING"],
    )
    user_secret.step("testSecret", this, subject)


@pytest.mark.requirement("S-11")
def test_a_password_reaches_neither_the_servers_log_nor_its_catalogue(
    database: Database, rotated: Secret, subject: DatabaseUser
) -> None:
    password = json.loads(rotated.value())["password"]
    with psycopg.connect(database.url("millrace"), autocommit=True) as superuser:
        superuser.execute("ALTER SYSTEM SET log_statement = 'all'")
        superuser.execute("SELECT pg_reload_conf()")
        while superuser.execute("SHOW log_statement").fetchone() != ("all",):
            time.sleep(0.01)  # the server hears of it a moment later; the whole test has an end
        rotated.rotate(token(), subject)
        superuser.execute("ALTER SYSTEM RESET log_statement")
        superuser.execute("SELECT pg_reload_conf()")
        stored = superuser.execute("SELECT string_agg(rolpassword, '') FROM pg_authid").fetchone()
    with open(f"{database.folder}/log") as file:
        said = file.read()
    assert "ALTER ROLE millrace_" in said
    for secret in (password, json.loads(rotated.value())["password"]):
        assert secret not in said
        assert secret not in str(stored)


@pytest.mark.requirement("S-11")
@pytest.mark.parametrize(
    ("event", "why"),
    [
        ({"SecretId": "arn:another"}, "not the secret"),
        ({"Step": "removeSecret"}, "no step"),
        ({"Step": "setSecret"}, "createSecret comes first"),
        ({"Step": "finishSecret"}, "createSecret comes first"),
    ],
)
def test_what_is_no_step_of_this_secret_is_refused(
    rotated: Secret, subject: DatabaseUser, event: dict[str, str], why: str
) -> None:
    whole = {"Step": "createSecret", "ClientRequestToken": token(), "SecretId": rotated.arn, **event}
    with pytest.raises(RotationRefused, match=why):
        stages.run(whole, manager=rotated.manager, secret_arn=rotated.arn, subject=subject)
