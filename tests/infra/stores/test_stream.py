"""The stream: sized, encrypted, measured, and open to those who may put on it and to nobody else."""

from __future__ import annotations

from typing import Any

import pytest

from millrace_infra.settings import load
from tests.infra.conftest import FOLDER, SUFFIX
from tests.infra.program import Program
from tests.infra.stores.conftest import Alone

ANCHOR = "arn:aws:rolesanywhere:eu-central-1:123456789012:trust-anchor/11111111-2222-3333-4444-555555555555"
GATEWAY = "arn:aws:iam::123456789012:role/gateway"


def stream(stack: Any, environment: Any, keys: Any) -> object:
    from millrace_infra import outputs
    from millrace_infra.stream import Stream

    made = Stream(stack, "stream", environment=environment, key=keys["stream"])
    outputs.write(stack, outputs.producers(made.producers))
    return made


def told(program: Program) -> dict[str, str]:
    """Output name -> value, as `make deploy` writes them."""
    return {name: one["value"] for name, one in program.json["output"].items()}


def actions(program: Program, path: str) -> set[str]:
    return {action for one in program.at(path).statements() for action in one["Action"]}


@pytest.mark.requirement("S-05")
def test_the_stream_has_the_shards_that_the_declared_load_takes(platform: Program) -> None:
    (found,) = platform.of("aws_kinesis_stream")
    settings = load(platform.environment, SUFFIX, folder=FOLDER).settings
    assert found["shard_count"] >= settings.load.shards_wanted
    assert found["retention_period"] == settings.stream.retention_h


@pytest.mark.requirement("S-05")
def test_an_on_demand_stream_names_no_shards(alone: Alone) -> None:
    (found,) = alone(stream, stream__mode="on_demand").of("aws_kinesis_stream")
    assert found["stream_mode_details"] == {"stream_mode": "ON_DEMAND"}
    assert "shard_count" not in found.body


@pytest.mark.requirement("S-05")
def test_every_shard_is_measured_and_encrypted_under_the_streams_key(platform: Program) -> None:
    (found,) = platform.of("aws_kinesis_stream")
    assert len(found["shard_level_metrics"]) == 7
    assert found["encryption_type"] == "KMS"
    assert platform.follow(found["kms_key_id"]) == platform.at("keys/stream/key")


@pytest.mark.requirement("S-05")
def test_the_worker_has_a_fan_out_consumer_and_it_does_not_keep_the_stream_from_being_destroyed(
    platform: Program,
) -> None:
    (consumer,) = platform.of("aws_kinesis_stream_consumer")
    (found,) = platform.of("aws_kinesis_stream")
    assert platform.follow(consumer["stream_arn"]) == found
    assert found["enforce_consumer_deletion"] is True


@pytest.mark.requirement("S-05")
def test_the_lease_table_is_the_one_that_the_kcl_would_make(platform: Program) -> None:
    (table,) = platform.of("aws_dynamodb_table")
    assert (table["hash_key"], table["billing_mode"]) == ("leaseKey", "PAY_PER_REQUEST")
    assert table["attribute"] == [
        {"name": "leaseKey", "type": "S"},
        {"name": "leaseOwner", "type": "S"},
    ]
    assert table["global_secondary_index"] == [
        {
            "name": "LeaseOwnerToLeaseKeyIndex",
            "hash_key": "leaseOwner",
            "range_key": "leaseKey",
            "projection_type": "KEYS_ONLY",
        }
    ]


def test_a_lost_lease_table_can_be_brought_back(platform: Program) -> None:
    (table,) = platform.of("aws_dynamodb_table")
    assert table["point_in_time_recovery"] == {"enabled": True}
    assert table["deletion_protection_enabled"] is False


@pytest.mark.requirement("S-13")
def test_a_producer_may_put_on_the_stream_with_its_key_and_nothing_else(platform: Program) -> None:
    put, key = platform.at("stream/producers/role/may-stream").statements()
    assert sorted(put["Action"]) == ["kinesis:PutRecord", "kinesis:PutRecords"]
    assert [platform.follow(arn) for arn in put["Resource"]] == platform.of("aws_kinesis_stream")
    assert key["Action"] == ["kms:GenerateDataKey"]
    assert [platform.follow(arn) for arn in key["Resource"]] == [platform.at("keys/stream/key")]


@pytest.mark.requirement("S-13")
def test_the_worker_reads_and_leases_but_makes_no_table_and_no_consumer(alone: Alone) -> None:
    def worker(stack: Any, environment: Any, keys: Any) -> None:
        from millrace_infra.policy import Role, trust
        from millrace_infra.stream import Stream

        made = Stream(stack, "stream", environment=environment, key=keys["stream"])
        document = trust("ecs-tasks.amazonaws.com", account_id="123456789012")
        role = Role(stack, "worker", names=environment.names, name="worker", trust_policy=document)
        role.allow("stream", *made.read(), *made.leases())

    program = alone(worker)
    found = actions(program, "worker/may-stream")
    assert {
        "kinesis:SubscribeToShard",
        "kinesis:GetRecords",
        "dynamodb:UpdateItem",
        "dynamodb:Query",
    } <= found
    forbidden = ("Create", "UpdateTable", "DeleteTable", "Register", "Deregister", "Put", "Tag")
    assert [one for one in found if one.split(":")[1].startswith(forbidden)] == ["dynamodb:PutItem"]
    (query,) = (
        one for one in program.at("worker/may-stream").statements() if "dynamodb:Query" in one["Action"]
    )
    assert query["Resource"][0].endswith("/index/LeaseOwnerToLeaseKeyIndex")


@pytest.mark.parametrize(
    ("principals", "trusted"),
    [((), ["arn:aws:iam::123456789012:root"]), ((GATEWAY,), [GATEWAY])],
)
def test_in_the_same_account_the_named_roles_become_producers(
    alone: Alone, principals: tuple[str, ...], trusted: list[str]
) -> None:
    program = alone(stream, producers__kind="account", producers__principals=list(principals))
    (trust,) = program.at("producers/role/role").statements("assume_role_policy")
    assert trust["Principal"] == {"AWS": trusted}
    assert program.of("aws_rolesanywhere_profile", "aws_iot_role_alias") == []
    assert set(told(program)) == {"producer_role_arn"}
    assert program.follow(told(program)["producer_role_arn"]) == program.at("producers/role/role")


def test_a_certificate_of_the_plants_authority_makes_a_producer(alone: Alone) -> None:
    program = alone(stream, producers__kind="roles_anywhere", producers__principals=[ANCHOR])
    (trust,) = program.at("producers/role/role").statements("assume_role_policy")
    assert trust["Principal"] == {"Service": "rolesanywhere.amazonaws.com"}
    assert trust["Condition"] == {"ArnEquals": {"aws:SourceArn": ANCHOR}}
    assert trust["Action"] == ["sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity"]
    (profile,) = program.of("aws_rolesanywhere_profile")
    assert [program.follow(arn) for arn in profile["role_arns"]] == [program.at("producers/role/role")]
    assert profile["enabled"] is True
    assert set(told(program)) == {"producer_role_arn", "producer_profile_arn"}
    assert program.follow(told(program)["producer_profile_arn"]) == profile


def test_a_device_that_iot_knows_makes_a_producer(alone: Alone) -> None:
    program = alone(stream, producers__kind="iot")
    (trust,) = program.at("producers/role/role").statements("assume_role_policy")
    (alias,) = program.of("aws_iot_role_alias")
    assert trust["Principal"] == {"Service": "credentials.iot.amazonaws.com"}
    source = f"arn:aws:iot:eu-central-1:123456789012:rolealias/{alias['alias']}"
    assert trust["Condition"] == {
        "StringEquals": {"aws:SourceAccount": "123456789012"},
        "ArnEquals": {"aws:SourceArn": source},
    }
    assert program.follow(alias["role_arn"]) == program.at("producers/role/role")
    assert set(told(program)) == {"producer_role_arn", "producer_role_alias"}
    assert program.follow(told(program)["producer_role_alias"]) == alias
