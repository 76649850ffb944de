"""Each role's calls are allowed, and everybody else's are denied, by the policies as they were synthesized."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache

import pytest
from botocore.exceptions import ClientError

from tests.infra.ministack.roles import judged_otherwise
from tests.infra.ministack.roles.account import Account, Clients, clients
from tests.infra.ministack.roles.judged_otherwise import Statements, understood
from tests.infra.ministack.roles.probes import LOGS, OF_SERVICES, ROLES, Probe, probes
from tests.infra.program import Resource

pytestmark = pytest.mark.requirement("S-13")

TABLE = tuple(probes())
DENIED = {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation"}
Sign = Callable[[str], Clients]


@pytest.fixture(scope="session")
def sign(at: Account) -> Sign:
    """What a role is called in the table -> its clients."""

    @cache
    def of(role: str) -> Clients:
        name = at.program.at(f"{ROLES[role]}/role")["name"]
        at.let_the_account_take(name)
        return clients(at.address, at.take(name))

    return of


def is_denied(probe: Probe, aws: Clients, at: Account) -> bool:
    """Whether the call was refused for want of rights; any other refusal is a fault of the probe."""
    try:
        probe.call(aws, at)
    except ClientError as error:
        if error.response["Error"]["Code"] in DENIED:
            return True
        raise AssertionError(f"{probe.says}: {error}") from error
    return False


def misjudged(role: str, aws: Clients, at: Account, rows: Sequence[Probe] = TABLE) -> set[str]:
    """What the table says otherwise of this role than the emulator does."""
    return {probe.says for probe in rows if is_denied(probe, aws, at) == (role in probe.may)}


@pytest.mark.parametrize("role", ROLES)
def test_a_role_makes_its_own_calls_and_nobody_elses(role: str, at: Account, sign: Sign) -> None:
    assert misjudged(role, sign(role), at) == set()


@pytest.mark.long
@pytest.mark.parametrize("role", ROLES)
def test_a_role_reaches_nothing_of_another_suffix(
    role: str, at: Account, sign: Sign, neighbour: Account
) -> None:
    reached = {one.says for one in TABLE if one.owned and not is_denied(one, sign(role), neighbour)}
    assert reached == set()


@pytest.mark.requirement("S-12")
def test_the_archive_is_not_read_in_clear(at: Account, sign: Sign) -> None:
    """The bucket's own policy, whatever a role may: the same call, once as it came through TLS and once not."""
    listing = next(one for one in TABLE if one.says == "list files")
    assert not is_denied(listing, sign("api"), at)
    assert is_denied(listing, clients(at.address, taken(at, "api"), in_tls=False), at)


def taken(at: Account, role: str) -> Mapping[str, str]:
    return at.take(at.program.at(f"{ROLES[role]}/role")["name"])


@pytest.mark.long
@pytest.mark.parametrize("role", ROLES)
def test_a_persons_key_takes_a_role_only_if_the_account_lets_it(
    role: str, person: Clients, neighbour: Account
) -> None:
    """By the trust as synthesized: services alone take a task's or a function's role; a producer is anybody whom
    the account's own policies let, and this person is let take every role."""
    name = neighbour.make_role(ROLES[role])
    if role == "producer":
        assert neighbour.take(name, person)
    else:
        with pytest.raises(ClientError, match="AccessDenied"):
            neighbour.take(name, person)


@pytest.fixture(scope="session")
def person(at: Account) -> Clients:
    """A user of the account who may take any role that lets itself be taken."""
    iam = at.root("iam")
    iam.create_user(UserName="person")
    any_role = {"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": "*"}
    iam.put_user_policy(
        UserName="person",
        PolicyName="take",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [any_role]}),
    )
    key = iam.create_access_key(UserName="person")["AccessKey"]
    return clients(
        at.address, {"aws_access_key_id": key["AccessKeyId"], "aws_secret_access_key": key["SecretAccessKey"]}
    )


# --- the table is whole ---------------------------------------------------------------------------------


def granted(at: Account) -> set[tuple[str, str]]:
    """Each role with each action that some policy of its own allows."""
    return {
        (role, action)
        for role, path in ROLES.items()
        for policy in at.policies(path)
        for one in policy.statements()
        if one["Effect"] == "Allow"
        for action in one["Action"]
    }


def test_every_grant_is_probed_or_left_out_with_a_reason(at: Account) -> None:
    shown = {(role, probe.action) for probe in TABLE for role in probe.may}
    left_out = {action for row in judged_otherwise.LEFT_OUT for action in row.actions}
    assert {pair for pair in granted(at) - shown if pair[1] not in left_out} == set()
    assert shown <= granted(at)


def test_every_role_of_the_program_is_put_to_the_table_or_is_a_services_own(at: Account) -> None:
    there = {one.path.removesuffix("/role") for one in at.program.of("aws_iam_role")}
    assert there == {*ROLES.values(), *OF_SERVICES}


def test_what_is_left_out_is_granted_shown_by_no_probe_and_asserted_elsewhere(at: Account) -> None:
    shown = {probe.action for probe in TABLE if probe.may}
    for row in judged_otherwise.LEFT_OUT:
        assert set(row.actions) <= {action for _, action in granted(at)} - shown
        file, _, name = row.asserted.partition("::")
        assert hasattr(importlib.import_module(file.removesuffix(".py").replace("/", ".")), name)


# --- it can fail ----------------------------------------------------------------------------------------

Change = Callable[[Statements], None]
Broken = Callable[[str, str, Change], Sequence[Probe]]


def without(action: str) -> Change:
    def change(statements: Statements) -> None:
        for one in statements:
            if action in one["Action"]:
                one["Action"].remove(action)

    return change


def also(action: str) -> Change:
    return lambda statements: statements[0]["Action"].append(action)


def on(*resources: str) -> Change:
    return lambda statements: statements[0].update(Resource=list(resources))


def refused(action: str) -> Change:
    return lambda statements: statements.append({"Effect": "Deny", "Action": [action], "Resource": ["*"]})


def everything(statements: Statements) -> None:
    statements[:] = [{"Effect": "Allow", "Action": ["*"], "Resource": ["*"]}]


def each(*does: str, of: Sequence[str]) -> set[str]:
    return {f"{one} {noun}" for one in does for noun in of}


SEEN = ("read", "versions of")
# fmt: off
BROKEN: list[tuple[str, str, Change, set[str]]] = [
    # role, its policy, what is broken, what the table must find
    ("worker", "stream", without("kinesis:GetRecords"), {"read"}),
    ("worker", "stream", without("dynamodb:UpdateItem"), {"renew a lease"}),
    ("worker", "stream", also("kinesis:PutRecord"), {"put a frame"}),
    ("worker", "stream", also("kinesis:RegisterStreamConsumer"), {"another consumer"}),
    ("worker", "archive", without("s3:AbortMultipartUpload"), {"give an upload up"}),
    ("worker", "archive", also("s3:GetObject"), each("read under", of=("critical", "standard", "quarantine"))),
    ("worker", "archive", on("arn:aws:s3:::millrace-archive-123456789012-eu-central-1-t1/*"), {"file elsewhere"}),
    ("worker", "secrets", on("*"), each(*SEEN, of=("database-master", "api-signing", "api-keys", "dashboard-oidc"))),
    ("api", "stream", also("kinesis:GetShardIterator"), {"begin to read"}),
    ("api", "stream", without("kinesis:PutRecords"), {"put many"}),
    ("api", "secrets", refused("secretsmanager:*"), each(*SEEN, of=("database-user", "api-signing"))),
    ("dashboard", "secrets", without("secretsmanager:GetSecretValue"), {"read dashboard-oidc"}),
    ("producer", "stream", also("kinesis:ListShards"), {"which shards there are"}),
    ("producer", "stream", without("kinesis:PutRecord"), {"put a frame"}),
    ("worker-start", "images", also("ecr:DeleteRepository"), {"worker away", "collector away"}),
    ("migrate-start", "logs", on("*"), each("begin a log of", "write a log of", of=sorted({*LOGS} - {"migrate"}))),
    ("rotate-api-signing", "secret", without("secretsmanager:UpdateSecretVersionStage"), {"label api-signing"}),
    ("rotate-database-user", "master", also("secretsmanager:PutSecretValue"), {"a next value of database-master"}),
    ("rotate-api-keys", "undelivered", also("sqs:ReceiveMessage"), {"out of it"}),
]
# fmt: on


def touched(statements: Statements) -> list[Probe]:
    """The rows about the services that these statements speak of."""
    services = {action.partition(":")[0] for one in statements for action in one["Action"]}
    return [one for one in TABLE if one.action.partition(":")[0] in services]


@pytest.fixture
def broken(at: Account) -> Iterator[Broken]:
    """Breaks one policy of a role for the length of a test; the rows that it touches."""
    changed: list[Resource] = []

    def apply(role: str, noun: str, change: Change) -> Sequence[Probe]:
        (policy,) = (one for one in at.policies(ROLES[role]) if one["name"] == noun)
        changed.append(policy)
        statements = understood(policy)
        change(statements)
        at.put(policy, statements)
        return touched(statements)

    yield apply
    for policy in changed:
        at.put(policy, understood(policy))


@pytest.mark.long
@pytest.mark.parametrize(("role", "noun", "change", "found"), BROKEN)
def test_a_grant_taken_away_or_widened_is_found(
    role: str, noun: str, change: Change, found: set[str], at: Account, sign: Sign, broken: Broken
) -> None:
    aws = sign(role)
    rows = broken(role, noun, change)
    assert misjudged(role, aws, at, rows) == found


@pytest.mark.long
def test_a_right_to_everything_reaches_the_neighbour(sign: Sign, neighbour: Account, broken: Broken) -> None:
    aws = sign("dashboard")
    broken("dashboard", "secrets", everything)
    reading = {
        one.says: one for one in TABLE if one.says in ("put a frame", "read database-user", "list files")
    }
    assert {says for says, one in reading.items() if not is_denied(one, aws, neighbour)} == set(reading)


@pytest.mark.long
@pytest.mark.parametrize("why", judged_otherwise.UNDERSTOOD)
def test_what_the_emulator_understands_otherwise_it_still_does(
    why: str, at: Account, sign: Sign, broken: Broken, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row that nothing needs is an error: an emulator that learned it can be shown the program's own words."""
    role = "rotate-api-keys"
    aws = sign(role)
    others = {key: change for key, change in judged_otherwise.UNDERSTOOD.items() if key != why}
    with monkeypatch.context() as without_it:
        without_it.setattr(judged_otherwise, "UNDERSTOOD", others)
        rows = [row for noun in ("log", "api-keys") for row in broken(role, noun, lambda statements: None)]
    assert misjudged(role, aws, at, rows)
