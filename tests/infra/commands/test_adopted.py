"""What `bootstrap` finds of its own by name, without a state that knows of it; nobody else's things are taken over."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from millrace.errors import SettingError
from millrace_infra.adopted import found_by_name
from millrace_infra.policy import Statement, document
from millrace_infra.settings import Environment
from tests.infra.conftest import Synthesize
from tests.infra.emulator.server import emulator

Clients = Callable[[str], Any]
BUCKET = "millrace-state-of-adoption"
WHERE = {"LocationConstraint": "eu-central-1"}
RESOURCES: dict[str, dict[str, dict[str, Any]]] = {
    "aws_iam_role": {"logs_1": {"name": "millrace-adopted"}},
    "aws_iam_policy": {"bound_1": {"name": "millrace-adopted"}},
    "aws_s3_bucket": {"state_1": {"bucket": BUCKET}},
    "aws_kms_alias": {"alias_1": {"name": "alias/millrace-adopted", "target_key_id": "${aws_kms_key.key_1.key_id}"}},
}
pytestmark = pytest.mark.requirement("S-04")


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """An account in which nobody else makes things of these names."""
    with emulator() as where:
        yield where


def found(environment: Environment, client: Clients) -> dict[str, str]:
    return dict(found_by_name(RESOURCES, environment, client))


def tagged(client: Clients, project: str) -> None:
    tags = {"TagSet": [{"Key": "project", "Value": project}]}
    client("s3").put_bucket_tagging(Bucket=BUCKET, Tagging=tags)


@pytest.fixture
def bucket(client: Clients) -> Iterator[None]:
    client("s3").create_bucket(Bucket=BUCKET, CreateBucketConfiguration=WHERE)
    yield
    client("s3").delete_bucket_tagging(Bucket=BUCKET)  # the emulator would give them to the next of that name
    client("s3").delete_bucket(Bucket=BUCKET)


def test_in_an_empty_account_nothing_is_adopted(environment: Environment, client: Clients) -> None:
    assert found(environment, client) == {}


def test_each_is_adopted_at_its_address_by_the_id_that_terraform_takes(
    environment: Environment, client: Clients, bucket: None
) -> None:
    iam, kms = client("iam"), client("kms")
    iam.create_role(RoleName="millrace-adopted", AssumeRolePolicyDocument="{}")
    bound = document(Statement(("xray:*",), ("*",), reason="any will do"))
    policy = iam.create_policy(PolicyName="millrace-adopted", PolicyDocument=bound)
    key = kms.create_key()["KeyMetadata"]["KeyId"]
    kms.create_alias(AliasName="alias/millrace-adopted", TargetKeyId=key)
    tagged(client, "millrace")
    wanted = {
        "aws_iam_role.logs_1": "millrace-adopted",
        "aws_iam_policy.bound_1": policy["Policy"]["Arn"],
        "aws_s3_bucket.state_1": BUCKET,
        "aws_kms_alias.alias_1": "alias/millrace-adopted",
        "aws_kms_key.key_1": key,
    }
    assert found(environment, client) == wanted
    kms.schedule_key_deletion(KeyId=key, PendingWindowInDays=7)
    del wanted["aws_kms_key.key_1"]
    assert found(environment, client) == wanted, "a key that is about to go is not taken over, its alias is"
    iam.delete_role(RoleName="millrace-adopted")
    iam.delete_policy(PolicyArn=policy["Policy"]["Arn"])
    kms.delete_alias(AliasName="alias/millrace-adopted")


@pytest.mark.parametrize("project", ["", "theirs"])
def test_a_bucket_that_others_keep_their_things_in_is_not_taken_over(
    environment: Environment, client: Clients, bucket: None, project: str
) -> None:
    """Its policy and its life cycle would become ours, and former versions of theirs would go after 90 days."""
    if project:
        tagged(client, project)
    with pytest.raises(SettingError, match=f"state.bucket: found '{BUCKET}, which is there without the tag"):
        found(environment, client)


def test_all_that_the_program_names_once_in_an_account_is_looked_for(synthesize: Synthesize) -> None:
    account = synthesize("dev")["millrace-account"]
    named = {
        resource.type for resource in account
        if any(key in resource.body for key in ("name", "bucket")) and resource.type.startswith(("aws_iam", "aws_kms"))
    }  # fmt: skip
    # a policy inside its role is put and not made: there is never a second one
    assert named - {"aws_iam_role_policy"} == {"aws_iam_role", "aws_iam_policy", "aws_kms_alias"}
    assert len(account.of("aws_s3_bucket")) == 1
