"""Where the emulator judges otherwise than AWS: an exact list. A row that nothing needs is an error."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.infra.program import Resource

Statements = list[dict[str, Any]]


@dataclass(frozen=True)
class LeftOut:
    """Actions that roles are granted and no probe shows, and the test that holds them to the program's JSON."""

    actions: Sequence[str]
    reason: str
    asserted: str


LEFT_OUT = (
    LeftOut(
        ("kms:Decrypt", "kms:GenerateDataKey"),
        "granted through a service alone (kms:ViaService), some for one secret (encryption context): the emulator "
        "knows neither key, and its services do not ask KMS. That nobody uses a key directly is probed",
        "tests/infra/proofs/test_privilege.py::test_a_role_uses_a_key_through_its_service_alone",
    ),
    LeftOut(
        ("kinesis:DescribeStreamConsumer", "kinesis:SubscribeToShard"),
        "AWS asks for the consumer's address; the emulator sees none in these calls, and asks for all of them",
        "tests/infra/stores/test_stream.py::test_the_worker_reads_and_leases_but_makes_no_table_and_no_consumer",
    ),
    LeftOut(
        ("xray:PutTelemetryRecords", "xray:PutTraceSegments"),
        "the emulator has no X-Ray",
        "tests/infra/services/test_tasks.py::test_before_any_grant_a_task_may_only_report",
    ),
    LeftOut(
        ("cloudwatch:PutMetricData",),
        "granted for one namespace (cloudwatch:namespace), of which the emulator's judge is not told: it denies all",
        "tests/infra/rotation/test_secret_age.py::test_the_function_reads_no_value_and_tells_one_namespace",
    ),
    LeftOut(
        ("elasticache:Connect",),
        "AWS checks it when a client signs in to Redis; there is no call",
        "tests/infra/stores/test_redis.py::test_people_sign_in_by_iam_and_their_name_is_their_id",
    ),
    LeftOut(
        ("elasticfilesystem:ClientMount", "elasticfilesystem:ClientWrite"),
        "AWS checks it when the file system is mounted; there is no call",
        "tests/infra/stores/test_shared_storage.py::"
        "test_a_service_mounts_through_its_own_access_point_and_only_the_worker_writes",
    ),
    LeftOut(
        ("rds-db:connect",),
        "AWS checks it when a user signs in to the database; there is no call",
        "tests/infra/stores/test_aurora.py::test_a_role_that_connects_is_let_in_as_one_user_of_one_cluster",
    ),
    LeftOut(
        ("ec2:AssignPrivateIpAddresses", "ec2:UnassignPrivateIpAddresses"),
        "Lambda makes these calls to put a function into its network; the emulator does not know them",
        "tests/infra/rotation/test_rotation.py::test_a_functions_own_code_may_not_touch_network_interfaces",
    ),
    LeftOut(
        ("apigateway:PUT",),
        "tagging a key that is being made, which AWS asks for in the same call; the emulator does not",
        "tests/infra/rotation/test_rotation.py::test_only_keys_of_this_suffix_are_made_read_and_deleted",
    ),
)


def understood(policy: Resource) -> Statements:
    """The statements as the emulator understands them; `UNDERSTOOD` says what differs and why."""
    statements = policy.statements()
    for change in UNDERSTOOD.values():
        statements = [change(one) for one in statements]
    return statements


def _group_itself(statement: dict[str, Any]) -> dict[str, Any]:
    if not statement["Action"][0].startswith("logs:"):
        return statement
    return statement | {"Resource": [one.removesuffix(":*") for one in statement["Resource"]]}


def _whatever_its_tags(statement: dict[str, Any]) -> dict[str, Any]:
    if not statement["Action"][0].startswith("apigateway:"):
        return statement
    return {key: value for key, value in statement.items() if key != "Condition"}


UNDERSTOOD: Mapping[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "AWS's own examples end a log group's address in `:*`; the emulator asks for the group without": _group_itself,
    "the emulator knows the tags of no API key, neither of one that is there nor of one to be made": _whatever_its_tags,
}
"""Each is shown to be needed: without it, a probe that AWS allows is denied. So tags of API keys are not shown here:
`tests/infra/rotation/test_rotation.py::test_only_keys_of_this_suffix_are_made_read_and_deleted` holds them.
"""
