"""What must be true of an account before an environment is deployed to it, and what to do where it is not.

Each check reads and changes nothing. `deploy` asks the same before it makes anything, and the verbs that go by what is
there ask who they are and whether it is theirs. Only a secret that a person fills is opened, for its fields, which go
nowhere; what a rotation fills is not.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from millrace.errors import MillraceError
from millrace.names import DATABASE_MASTER, PROJECT
from millrace_infra.account_parts import PARTS
from millrace_infra.quotas import QUOTAS, Room, room
from millrace_infra.settings import Environment
from millrace_infra.stack import state_bucket

SECRET_FIELDS: Final[Mapping[str, tuple[str, ...]]] = {
    "database_master": ("username", "password"),
    "database_user": ("username", "password"),
    "api_signing": (),
    "api_keys": (),
    "dashboard_oidc": ("client_secret",),
}
"""Field of `SecretNames` -> what its JSON must hold. The others are filled by their first rotation, and not opened."""
CURRENT: Final = "AWSCURRENT"
MASTER_PASSWORD: Final = re.compile(r"[!-~]{8,41}")
MASTER_PASSWORD_NEVER: Final = frozenset('/"@')
"""What Aurora takes; it says so when the cluster is made, which is half way. Source: RDS API, CreateDBCluster."""


class NotReady(MillraceError):
    """The account is not ready for the environment: a sentence for each thing that is to be done first."""

    exit_code = 2


@dataclass(frozen=True)
class Finding:
    """One check's outcome. `advice` says what to do where it is not ok."""

    name: str
    ok: bool
    found: str
    advice: str = ""


@dataclass(frozen=True)
class Account:
    """The account as the checks see it: `client("kms")` in the environment's region."""

    environment: Environment
    client: Callable[[str], Any]


Check = Callable[[Account], Iterator[Finding]]


def examine(account: Account, *checks: Check) -> Iterator[Finding]:
    """Every finding, or those of these checks; credentials first, and nothing more where they are wrong."""
    credentials = check_credentials(account)
    yield credentials
    if not credentials.ok:
        return
    for check in checks or BEFORE_A_DEPLOYMENT:
        try:
            yield from check(account)
        except Exception as error:
            name = check.__name__.removeprefix("check_").replace("_", " ")
            yield Finding(
                name, False, _first_line(error), "grant the reading call that it names, or look by hand"
            )


def require(account: Account, *checks: Check) -> None:
    """NotReady with every finding that is not ok; else nothing."""
    faults = [sentence(one) for one in examine(account, *checks) if not one.ok]
    if faults:
        raise NotReady("\n".join(faults))


def sentence(finding: Finding) -> str:
    return f"{finding.name}: found {finding.found!r}; {finding.advice}"


def check_credentials(account: Account) -> Finding:
    wanted = account.environment.settings.account_id
    try:
        found = account.client("sts").get_caller_identity()
    except Exception as error:
        return Finding("credentials", False, _first_line(error), "sign in: aws sso login, or AWS_PROFILE")
    advice = f"use credentials of account {wanted}: {account.environment.name}.yaml says so"
    return Finding("credentials", found["Account"] == wanted, found["Arn"], advice)


def check_zones(account: Account) -> Iterator[Finding]:
    zones = account.client("ec2").describe_availability_zones()["AvailabilityZones"]
    there = {zone["ZoneId"] for zone in zones}
    wanted = set(account.environment.settings.zone_ids)
    yield Finding(
        "availability zones", wanted <= there, ", ".join(sorted(wanted & there)) or "none",
        f"zone_ids: {', '.join(sorted(wanted - there))} not in this account; it has {', '.join(sorted(there))}",
    )  # fmt: skip


def check_state(account: Account) -> Iterator[Finding]:
    if account.environment.settings.state.kind == "local":
        return
    bucket = state_bucket(account.environment)
    there = bucket_is_there(account.client("s3"), bucket)
    yield Finding(
        "state bucket", there, bucket if there else "missing", "make bootstrap, once per account and region"
    )


def bucket_is_there(s3: Any, bucket: str) -> bool:
    """By asking for this one: a list of all would tell a role more than it needs to know."""
    try:
        s3.head_bucket(Bucket=bucket)
    except s3.exceptions.ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
            return False
        raise
    return True


def check_shards(account: Account) -> Iterator[Finding]:
    settings = account.environment.settings
    if settings.stream.mode != "provisioned":
        return
    kinesis = account.client("kinesis")
    limits = kinesis.describe_limits()
    free = limits["ShardLimit"] - limits["OpenShardCount"] + _own_shards(account.environment, kinesis)
    yield Finding(
        "Kinesis shards", free >= settings.stream.shards, f"{free} free of {limits['ShardLimit']}",
        f"ask AWS for {settings.stream.shards - free} more (Service Quotas, Kinesis, shards per region)",
    )  # fmt: skip


def _own_shards(environment: Environment, kinesis: Any) -> int:
    """Of a stream that is there already: an upgrade needs no others."""
    try:
        found = kinesis.describe_stream_summary(StreamName=environment.names.of("stream", "stream"))
    except kinesis.exceptions.ResourceNotFoundException:
        return 0
    return int(found["StreamDescriptionSummary"]["OpenShardCount"])


def check_quotas(account: Account) -> Iterator[Finding]:
    """Each by itself. One that cannot be read is said and is no fault: nothing is known to be missing."""
    for quota in QUOTAS:
        name = f"quota: {quota.noun}"
        try:
            yield _of_quota(name, room(quota, account.environment, account.client))
        except Exception as error:
            yield Finding(name, True, f"not read: {str(error).partition(chr(10))[0]}")


def _of_quota(name: str, found: Room) -> Finding:
    return Finding(
        name, found.free >= found.wanted, f"{found.free} free of {found.limit:.0f}, {found.wanted} wanted",
        f"ask AWS for {found.wanted - found.free} more (Service Quotas, {found.noun}), or end what is not needed",
    )  # fmt: skip


def check_neighbours(account: Account) -> Iterator[Finding]:
    """A suffix is one deployment of an account and region: another environment's would be changed into this one."""
    e = account.environment
    ours = [{"Key": "project", "Values": [PROJECT]}, {"Key": "suffix", "Values": [e.suffix]}]
    pages = account.client("resourcegroupstaggingapi").get_paginator("get_resources").paginate(TagFilters=ours)
    tags = [
        {tag["Key"]: tag["Value"] for tag in one["Tags"]} for page in pages for one in page["ResourceTagMappingList"]
    ]
    others = sorted({tag.get("environment", "") for tag in tags} - {e.name})
    yield Finding(
        f"suffix {e.suffix}", not others, f"of {', '.join(others)}" if others else "free, or ours",
        f"give ENV={', '.join(others)}, from which {e.suffix} is deployed here, or choose another suffix",
    )  # fmt: skip


def check_profile(account: Account) -> Iterator[Finding]:
    """An archive is locked when it is made or never: under another profile Terraform makes it anew, and empties it."""
    e, s3 = account.environment, account.client("s3")
    bucket, said = e.names.in_world("archive"), e.settings.profile
    if not bucket_is_there(s3, bucket):
        yield Finding("profile", True, f"{said}, and no archive yet")
        return
    made = "records" if _is_locked(s3, bucket) else "ephemeral"
    yield Finding(
        "profile", made == said, f"{bucket} made under {made}",
        f"say profile: {made} in {e.name}.yaml, or choose another suffix: under {said} the archive would be made anew, "
        "and all that is in it deleted",
    )  # fmt: skip


def _is_locked(s3: Any, bucket: str) -> bool:
    try:
        found = s3.get_object_lock_configuration(Bucket=bucket)["ObjectLockConfiguration"]
    except s3.exceptions.ClientError as error:
        if error.response["Error"]["Code"] != "ObjectLockConfigurationNotFoundError":
            raise
        return False
    return bool(found.get("ObjectLockEnabled") == "Enabled")


def check_account_parts(account: Account) -> Iterator[Finding]:
    for part, missing_of in PARTS.items():
        missing = missing_of(account.client)
        yield Finding(
            f"account stack: {part}", not missing, f"without {', '.join(missing)}" if missing else "there",
            "make bootstrap, once per account and region",
        )  # fmt: skip


def check_role_boundary(account: Account) -> Iterator[Finding]:
    names, iam = account.environment.names, account.client("iam")
    try:
        iam.get_policy(PolicyArn=names.role_boundary_arn)
        found = "there"
    except iam.exceptions.NoSuchEntityException:
        found = f"no policy {names.role_boundary}"
    yield Finding(
        "account stack: boundary of roles", found == "there", found, "make bootstrap, once per account and region"
    )


def check_certificate(account: Account) -> Iterator[Finding]:
    edge = account.environment.edge
    acm = account.client("acm")
    try:
        found = acm.describe_certificate(CertificateArn=edge.certificate_arn)["Certificate"]
    except acm.exceptions.ResourceNotFoundException:
        yield Finding(
            "certificate", False, "missing", f"request one for {edge.domain} and {edge.internal_domain}"
        )
        return
    yield Finding(
        "certificate",
        found["Status"] == "ISSUED",
        found["Status"],
        "confirm it: ACM shows the DNS record to make",
    )
    names = {found["DomainName"], *found.get("SubjectAlternativeNames", ())}
    missing = [name for name in (edge.domain, edge.internal_domain) if not _covered(name, names)]
    yield Finding(
        "certificate's names", not missing, ", ".join(sorted(names)),
        f"request one that also names {', '.join(missing)}",
    )  # fmt: skip


def _covered(name: str, names: set[str]) -> bool:
    return name in names or f"*.{name.partition('.')[2]}" in names


def check_secrets(account: Account) -> Iterator[Finding]:
    for field, wanted in SECRET_FIELDS.items():
        yield _check_secret(account, field, wanted)


def check_secrets_are_there(account: Account) -> Iterator[Finding]:
    """For a plan, whose role may open one of them alone."""
    for field, wanted in SECRET_FIELDS.items():
        described = _described(account, field, wanted)
        if isinstance(described, Finding):
            yield described


def _described(account: Account, field: str, wanted: tuple[str, ...]) -> Finding | Mapping[str, Any]:
    """What Secrets Manager says of it, or that it is missing."""
    manager, name = account.client("secretsmanager"), getattr(account.environment.secrets, field)
    title, advice = f"secret {name}", f"create it as JSON with {', '.join(wanted) or 'any content'}"
    try:
        described: Mapping[str, Any] = manager.describe_secret(SecretId=name)
    except manager.exceptions.ResourceNotFoundException:
        return Finding(title, False, "missing", advice)
    if not any(CURRENT in labels for labels in described.get("VersionIdsToStages", {}).values()):
        return Finding(title, False, "without a value", advice)
    return described


def _check_secret(account: Account, field: str, wanted: tuple[str, ...]) -> Finding:
    manager, name = account.client("secretsmanager"), getattr(account.environment.secrets, field)
    title, described = f"secret {name}", _described(account, field, wanted)
    if isinstance(described, Finding):
        return described
    rotated_by = described.get("RotationLambdaARN", "").rpartition(":")[2]
    if rotated_by not in ("", rotation_function(account.environment, field)):
        return Finding(
            title,
            False,
            f"rotated by {rotated_by}",
            "give this suffix a secret of its own, or end that rotation",
        )
    content = _content(manager.get_secret_value(SecretId=name)["SecretString"]) if wanted else {}
    return _check_content(title, field, content, wanted)


def _check_content(title: str, field: str, content: Mapping[str, Any], wanted: tuple[str, ...]) -> Finding:
    missing = [one for one in wanted if one not in content]
    if missing:
        return Finding(title, False, "there", f"add {', '.join(missing)} to its JSON")
    user = content.get("username")
    if field == "database_master" and user != DATABASE_MASTER:
        return Finding(
            title, False, f"of user {user}", f"name {DATABASE_MASTER}: the cluster's master is called so"
        )
    if field == "database_master" and not _is_masters_password(content["password"]):
        return Finding(
            title, False, "with a password that Aurora refuses",
            'give it one of 8 to 41 characters of ASCII, none of them / " @ or a space',
        )  # fmt: skip
    return Finding(title, True, "there")


def _is_masters_password(password: object) -> bool:
    text = password if isinstance(password, str) else ""
    return bool(MASTER_PASSWORD.fullmatch(text)) and MASTER_PASSWORD_NEVER.isdisjoint(text)


def rotation_function(environment: Environment, field: str) -> str:
    """The function that rotates this secret, if one of this suffix does."""
    return environment.names.of(f"rotate-{field.replace('_', '-')}", "function")


def _content(value: str) -> Mapping[str, Any]:
    try:
        content = json.loads(value)
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def check_account_stack(account: Account) -> Iterator[Finding]:
    pages = account.client("kms").get_paginator("list_aliases").paginate()
    aliases = {one["AliasName"] for page in pages for one in page["Aliases"]}
    there = f"alias/{PROJECT}-state" in aliases
    advice = "make bootstrap, once per account and region"
    yield Finding("account stack: state key", there, "there" if there else "missing", advice)
    role = account.client("apigateway").get_account().get("cloudwatchRoleArn", "")
    yield Finding("account stack: API Gateway's log role", bool(role), role or "missing", advice)


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


BEFORE_A_DEPLOYMENT: Final[tuple[Check, ...]] = (
    check_zones,
    check_state,
    check_shards,
    check_quotas,
    check_neighbours,
    check_profile,
    check_certificate,
    check_secrets,
    check_account_stack,
    check_account_parts,
    check_role_boundary,
)
TO_READ_A_DEPLOYMENT: Final[tuple[Check, ...]] = (check_state,)
TO_PLAN: Final[tuple[Check, ...]] = (check_state, check_secrets_are_there)
TO_DESTROY: Final[tuple[Check, ...]] = (check_state, check_neighbours, check_profile)
"""By another environment's file, or by one that says ephemeral by now, records would go without their guard."""
