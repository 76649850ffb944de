"""What preflight asks of quotas, of neighbours and of the account's own stack: found wanting, then found enough."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from millrace_infra.account_parts import PARTS, SERVICE_LINKED, backups, scanning, service_roles, traces
from millrace_infra.preflight import Account, check_account_parts, check_neighbours, check_quotas
from millrace_infra.quotas import QUOTAS, Quota, room
from millrace_infra.settings import Environment, load
from tests.infra.conftest import FOLDER
from tests.infra.cycle.deployment import Aws

Clients = Callable[[str], Any]


class NotThere(Exception):
    pass


def quotas(value: float | None, default: float = 0) -> Any:
    """Service Quotas: the account's own value, or AWS's default alone."""

    def own(**_: str) -> Any:
        if value is None:
            raise NotThere
        return {"Quota": {"Value": value}}

    return SimpleNamespace(
        exceptions=SimpleNamespace(NoSuchResourceException=NotThere),
        get_service_quota=own,
        get_aws_default_service_quota=lambda **_: {"Quota": {"Value": default}},
    )


def one(noun: str) -> Quota:
    return next(quota for quota in QUOTAS if quota.noun == noun)


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("dev", {"VPCs": 1, "Elastic IPs": 1, "Fargate vCPUs": 3, "database instances": 2}),
        ("us-east-1", {"VPCs": 1, "Elastic IPs": 3, "Fargate vCPUs": 160, "database instances": 3}),
    ],
)
def test_what_is_wanted_follows_from_the_settings(name: str, wanted: dict[str, int]) -> None:
    """Fargate: all tasks that may run, twice, as while a deployment has both versions up."""
    environment = load(name, "t1", folder=FOLDER)
    assert {noun: one(noun).wanted(environment) for noun in wanted} == wanted


def test_what_this_suffix_has_is_not_wanted_again(environment: Environment) -> None:
    quota = dataclasses.replace(
        one("VPCs"), there=lambda _: ["millrace-vpc-t1", "millrace-vpc-t2", "their-own"]
    )
    found = room(quota, environment, lambda _: quotas(3))
    assert (found.used, found.free, found.wanted) == (2, 1, 1)


def test_a_quota_that_was_never_raised_is_aws_s_default(environment: Environment) -> None:
    quota = dataclasses.replace(one("VPCs"), there=lambda _: ())
    assert room(quota, environment, lambda _: quotas(None, 5)).limit == 5


def test_a_quota_too_small_says_how_many_to_ask_for_and_one_unread_is_said(
    environment: Environment, client: Clients
) -> None:
    """The emulator knows the VPC's quotas; of the others it says that there are none."""
    found = {finding.name: finding for finding in check_quotas(Account(environment, client))}
    assert set(found) == {f"quota: {quota.noun}" for quota in QUOTAS}
    assert found["quota: VPCs"].ok
    assert found["quota: Fargate vCPUs"].ok
    assert found["quota: Fargate vCPUs"].found.startswith("not read: ")
    assert found["quota: VPCs"].found == "4 free of 5, 1 wanted"  # one is the account's default VPC
    ec2 = client("ec2")
    made = [ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"] for _ in range(4)]
    again = {finding.name: finding for finding in check_quotas(Account(environment, client))}
    for vpc in made:
        ec2.delete_vpc(VpcId=vpc)
    assert not again["quota: VPCs"].ok
    assert again["quota: VPCs"].advice.startswith("ask AWS for 1 more (Service Quotas, VPCs)")


@pytest.mark.parametrize("noun", [quota.noun for quota in QUOTAS])
def test_what_counts_against_a_quota_can_be_asked_for(client: Clients, noun: str) -> None:
    assert all(isinstance(name, str) for name in one(noun).there(client))


def test_a_suffix_of_another_environment_is_refused_and_our_own_is_not(
    environment: Environment, client: Clients
) -> None:
    account = Account(dataclasses.replace(environment, suffix="n1"), client)
    assert [finding.ok for finding in check_neighbours(account)] == [True]
    kms = client("kms")
    for name, ok in (("dev", True), ("eu-central-1", False)):
        tags = {"project": "millrace", "suffix": "n1", "environment": name}
        kms.create_key(Tags=[{"TagKey": key, "TagValue": value} for key, value in tags.items()])
        (found,) = check_neighbours(account)
        assert found.ok is ok
    assert found.found == "of eu-central-1"
    assert "choose another suffix" in found.advice


def test_each_part_of_the_account_s_stack_is_found_missing(environment: Environment) -> None:
    class Empty:
        exceptions = SimpleNamespace(NoSuchEntityException=NotThere)

        def get_encryption_config(self) -> Any:
            return {"EncryptionConfig": {"Type": "NONE"}}

        def describe_region_settings(self) -> Any:
            return {"ResourceTypeOptInPreference": {"EFS": True}}

        def get_registry_scanning_configuration(self) -> Any:
            rule = {"scanFrequency": "SCAN_ON_PUSH", "repositoryFilters": [{"filter": "theirs-*"}]}
            return {"scanningConfiguration": {"rules": [rule]}}

        def get_role(self, **_: str) -> Any:
            raise NotThere

    found = list(check_account_parts(Account(environment, lambda _: Empty())))
    assert [(finding.name, finding.ok) for finding in found] == [
        (f"account stack: {part}", False) for part in PARTS
    ]
    assert {finding.advice for finding in found} == {"make bootstrap, once per account and region"}
    assert found[1].found == "without Backup of Aurora"
    assert len(service_roles(lambda _: Empty())) == len(SERVICE_LINKED)


def test_an_account_as_the_stack_makes_it_lacks_no_part(
    environment: Environment, client: Clients, address: str
) -> None:
    before = {finding.name for finding in check_account_parts(Account(environment, client)) if not finding.ok}
    assert before >= {"account stack: encryption of traces", "account stack: service-linked roles"}
    Aws(address).account_stack(environment.region)
    assert all(finding.ok for finding in check_account_parts(Account(environment, client)))


def test_each_part_of_the_account_s_stack_is_found_there() -> None:
    class Made:
        exceptions = SimpleNamespace(NoSuchEntityException=NotThere)

        def get_encryption_config(self) -> Any:
            return {"EncryptionConfig": {"Type": "KMS"}}

        def describe_region_settings(self) -> Any:
            return {"ResourceTypeOptInPreference": {"EFS": True, "Aurora": True, "S3": False}}

        def get_registry_scanning_configuration(self) -> Any:
            rule = {"scanFrequency": "SCAN_ON_PUSH", "repositoryFilters": [{"filter": "millrace-*"}]}
            return {"scanningConfiguration": {"rules": [rule]}}

        def get_role(self, **_: str) -> Any:
            return {}

    for part in (traces, backups, scanning, service_roles):
        assert part(lambda _: Made()) == []
