"""The tests can fail: each rule is broken once, in the JSON, and its test must notice."""

# ruff: noqa: E501 (a row of the table is a line)

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.infra.program import Program
from tests.infra.rotation import test_rotation as t
from tests.infra.rotation import test_secret_age as a
from tests.infra.rotation.conftest import Rotations

Body = dict[str, Any]


def put(key: str, value: Any) -> Callable[[Body], None]:
    def on(body: Body) -> None:
        *parents, last = key.split(".")
        place: Any = body
        for parent in parents:
            place = place[parent]
        place[last] = value

    return on


def statement(change: Callable[[Body], None], number: int = 0) -> Callable[[Body], None]:
    """A change of one statement of a policy."""

    def on(body: Body) -> None:
        found = json.loads(body["policy"])
        change(found["Statement"][number])
        body["policy"] = json.dumps(found)

    return on


USER, SIGNING, KEYS = "rotation/database-user", "rotation/api-signing", "rotation/api-keys"
AGE = "rotation/secret-age"

# fmt: off
BROKEN: list[tuple[str, Callable[[Body], None], Callable[[Program], None]]] = [
    (f"{USER}/rotation", put("rotate_immediately", True), t.test_each_rotated_secret_has_its_rotation_which_waits_for_the_database),
    (f"{USER}/rotation", put("depends_on", []), t.test_each_rotated_secret_has_its_rotation_which_waits_for_the_database),
    (f"{USER}/rotation", put("rotation_rules.automatically_after_days", 365), t.test_each_rotated_secret_has_its_rotation_which_waits_for_the_database),
    (f"{KEYS}/permission", put("source_account", ""), t.test_only_secrets_manager_calls_a_function_and_only_for_its_secret),
    (f"{KEYS}/permission", put("principal", "*"), t.test_only_secrets_manager_calls_a_function_and_only_for_its_secret),
    (f"{KEYS}/permission", put("source_arn", "arn:another"), t.test_only_secrets_manager_calls_a_function_and_only_for_its_secret),
    (f"{SIGNING}/function", put("architectures", ["x86_64"]), t.test_a_function_is_encrypted_bounded_traced_and_logs_to_our_group),
    (f"{SIGNING}/function", put("reserved_concurrent_executions", 2), t.test_a_function_is_encrypted_bounded_traced_and_logs_to_our_group),
    (f"{SIGNING}/function", put("kms_key_arn", ""), t.test_a_function_is_encrypted_bounded_traced_and_logs_to_our_group),
    (f"{SIGNING}/function", put("tracing_config.mode", "PassThrough"), t.test_a_function_is_encrypted_bounded_traced_and_logs_to_our_group),
    ("rotation/undelivered", put("kms_master_key_id", "alias/aws/sqs"), t.test_a_function_is_encrypted_bounded_traced_and_logs_to_our_group),
    (f"{USER}/function", put("vpc_config.subnet_ids", ["subnet-public"]), t.test_a_function_stands_in_private_subnets_with_the_group_of_rotations),
    (f"{USER}/function", put("source_code_hash", "old"), t.test_the_zip_lies_where_terraform_looks_for_it_with_the_hash_that_lambda_reports),
    (f"{USER}/function", put("filename", "/somewhere/database_user.zip"), t.test_the_zip_lies_where_terraform_looks_for_it_with_the_hash_that_lambda_reports),
    (f"{SIGNING}/role/may-secret", statement(put("Resource", ["*"])), t.test_a_function_writes_one_secret_and_no_other),
    (f"{SIGNING}/role/may-secret", statement(lambda one: one.pop("Condition"), 1), t.test_a_function_writes_one_secret_and_no_other),
    (f"{USER}/role/may-master", statement(put("Action", ["secretsmanager:PutSecretValue"])), t.test_a_function_writes_one_secret_and_no_other),
    (f"{USER}/role/may-undelivered", statement(put("Resource", ["*"])), t.test_what_is_allowed_on_all_is_what_aws_names_no_resource_for),
    (f"{USER}/role/may-trace", statement(put("Action", ["xray:*"])), t.test_what_is_allowed_on_all_is_what_aws_names_no_resource_for),
    (f"{USER}/role/may-network", statement(put("Action", ["ec2:DescribeSubnets"]), 1), t.test_a_functions_own_code_may_not_touch_network_interfaces),
    (f"{KEYS}/role/may-api-keys", statement(lambda one: one.pop("Condition"), 3), t.test_only_keys_of_this_suffix_are_made_read_and_deleted),
    (f"{KEYS}/role/may-api-keys", statement(lambda one: one.pop("Condition"), 1), t.test_only_keys_of_this_suffix_are_made_read_and_deleted),
    (f"{SIGNING}/function", put("environment.variables.VALUE", "s3cret"), t.test_a_function_is_told_where_things_are_and_no_value),
    (f"{SIGNING}/function", put("function_name", "millrace-rotate"), t.test_every_name_ends_in_the_suffix_and_no_block_is_empty),
    (f"{AGE}/schedule", put("schedule_expression", "rate(1 day)"), a.test_the_function_is_called_every_hour_by_its_own_schedule_alone),
    (f"{AGE}/permission", put("source_arn", "arn:another"), a.test_the_function_is_called_every_hour_by_its_own_schedule_alone),
    (f"{AGE}/role/may-metric", statement(lambda one: one.pop("Condition")), a.test_the_function_reads_no_value_and_tells_one_namespace),
    (f"{AGE}/role/may-secrets", statement(put("Action", ["secretsmanager:GetSecretValue"])), a.test_the_function_reads_no_value_and_tells_one_namespace),
    (f"{AGE}/function", put("environment.variables.MILLRACE_METRIC_NAMESPACE", "Millrace"), a.test_the_function_is_told_where_the_secrets_are_and_where_to_tell),
    (f"{SIGNING}/function", put("tracing_config", {}), t.test_every_name_ends_in_the_suffix_and_no_block_is_empty),
]
# fmt: on


@pytest.mark.parametrize(("path", "breaks", "test"), BROKEN)
def test_a_broken_rule_is_noticed(
    rotations: Rotations, path: str, breaks: Callable[[Body], None], test: Callable[[Program], None]
) -> None:
    whole = rotations("dev")
    broken = Program(whole.name, json.dumps(whole.json))
    test(broken)
    breaks(broken.at(path).body)  # type: ignore[arg-type]
    with pytest.raises((AssertionError, KeyError)):
        test(broken)
