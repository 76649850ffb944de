"""The proofs can fail: each rule is broken once, in the JSON, and its test must notice."""

# ruff: noqa: E501 (a row of the table is a line)

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.infra.breaking import NOTICED, Body, Change, also, broken, drop, first, policy, put
from tests.infra.conftest import ENVIRONMENTS, FOLDER, SUFFIX, Synthesize
from tests.infra.observability import test_logs
from tests.infra.program import Program
from tests.infra.proofs import (
    test_account,
    test_ci_access,
    test_destroyable,
    test_encryption,
    test_names,
    test_privilege,
    test_program,
    test_role_boundary,
    test_secrets,
    test_starting,
    test_stopping,
    test_tags,
    test_transport,
)
from tests.infra.proofs.conftest import Stacks
from tests.infra.services import test_migration
from tests.infra.stores import test_archive

n, t, d, e, h, p, s, a, b = (
    test_names, test_tags, test_destroyable, test_encryption, test_transport, test_privilege, test_secrets, test_account,
    test_role_boundary,
)  # fmt: skip
ANYONE = {
    "Effect": "Allow",
    "Action": "sts:AssumeRole",
    "Principal": {"AWS": "arn:aws:iam::999999999999:root"},
}
WHOLE = ""
MASTER = "${data.aws_secretsmanager_secret.secrets_database-master_A30F4211.arn}"
"""As the program refers to it: the end is a digest of its place, and of nothing else."""

BROKEN: list[tuple[str, str, Change, Callable[..., None]]] = [
    *(("platform", path, drop("name"), n.test_what_can_have_a_name_has_one_of_ours) for path in ("entry/alb", "aurora/subnets", "backup/aurora-plan")),
    ("platform", "stream/stream", put("name", "millrace-stream"), n.test_every_name_ends_in_the_suffix),
    ("platform", "stream/stream", put("name", "other-stream-t1"), n.test_every_name_ends_in_the_suffix),
    ("platform", "worker/task/definition", put("family", "millrace-worker"), n.test_every_name_ends_in_the_suffix),
    ("platform", "archive/copy/bucket", put("bucket", "millrace-archive-twin-of-it-123456789012-us-east-1-t1"), n.test_every_name_fits_in_the_region_of_the_longest_name_under_the_longest_suffix),
    ("platform", "gateway/domain", put("domain_name", "api.us.millrace.example.com"), n.test_every_name_ends_in_the_suffix),
    ("platform", "entry/zone", put("name", "internal.us.millrace.example.com"), n.test_every_name_ends_in_the_suffix),
    ("platform", WHOLE, also("aws_sqs_queue", {"queue_alias": "x"}), n.test_no_attribute_that_reads_like_a_name_is_unknown),
    ("registry", "keys/registry/alias", put("name", "alias/millrace-registry"), n.test_every_name_ends_in_the_suffix),
    ("platform", WHOLE, also("aws_cloudwatch_log_group", {"name": "/aws/rds/cluster/millrace-aurora/x"}), n.test_a_name_that_aws_prescribes_still_holds_the_suffix),
    ("platform", WHOLE, lambda j: j["provider"]["aws"][0].update(default_tags=[{"tags": {"project": "millrace"}}]), t.test_the_provider_tags_everything),
    ("platform", "stream/stream", drop("tags"), t.test_what_takes_tags_has_a_name_among_them),
    ("account", "ci/deploy", put("tags", {}), t.test_what_takes_tags_has_a_name_among_them),
    ("platform", "stream/stream", put("tags", {"Name": "x", "owner": "me"}), t.test_no_resource_overrides_a_common_tag_but_the_class_of_its_data),
    ("platform", "stream/stream", put("tags", {"Name": "x", "data-class": "secret"}), t.test_no_resource_overrides_a_common_tag_but_the_class_of_its_data),
    ("account", WHOLE, lambda j: j["provider"]["aws"][0]["default_tags"][0]["tags"].update(suffix="t1"), t.test_the_account_s_stack_is_tagged_for_no_suffix),
    ("platform", "aurora/cluster", put("deletion_protection", True), d.test_nothing_is_protected_from_being_destroyed),
    ("platform", "stream/stream", put("lifecycle", {"prevent_destroy": True}), d.test_nothing_is_protected_from_being_destroyed),
    ("platform", "entry/alb", put("enable_deletion_protection", True), d.test_nothing_is_protected_from_being_destroyed),
    ("platform", "aurora/cluster", put("skip_final_snapshot", False), d.test_what_would_block_a_destroy_is_told_not_to),
    ("platform", "aurora/cluster", drop("delete_automated_backups"), d.test_what_would_block_a_destroy_is_told_not_to),
    ("platform", "stream/stream", put("enforce_consumer_deletion", False), d.test_what_would_block_a_destroy_is_told_not_to),
    ("platform", "keys/stream/key", put("deletion_window_in_days", 30), d.test_what_would_block_a_destroy_is_told_not_to),
    ("platform", "archive/files/bucket", put("force_destroy", False), d.test_what_would_block_a_destroy_is_told_not_to),
    ("platform", "backup/vault", drop("force_destroy"), d.test_what_would_block_a_destroy_is_told_not_to),
    ("registry", "worker", put("force_delete", False), d.test_what_would_block_a_destroy_is_told_not_to),
    ("platform", "aurora/cluster", put("final_snapshot_identifier", "last"), d.test_no_copy_is_left_by_destroying),
    ("platform", "logs/worker", put("skip_destroy", True), d.test_what_terraform_does_not_destroy_is_listed),
    ("platform", "archive/files/lock", put("rule.default_retention.mode", "COMPLIANCE"), d.test_records_are_locked_only_so_that_they_can_still_be_destroyed),
    ("platform", "stream/stream", drop("kms_key_id"), e.test_what_can_be_under_a_key_is_under_one_of_ours),
    ("platform", "stream/stream", put("kms_key_id", "alias/aws/kinesis"), e.test_what_can_be_under_a_key_is_under_one_of_ours),
    *(("platform", path, put(place, "${aws_kms_key.keys_alarms_key_62B08EA6.arn}"), e.test_each_thing_is_under_the_key_of_its_purpose) for path, place in (
        ("backup/vault", "kms_key_arn"), ("stream/leases", "server_side_encryption.kms_key_arn"), ("shared-storage/system", "kms_key_id"),
        ("archive/copy/encryption", "rule.0.apply_server_side_encryption_by_default.kms_master_key_id"))),
    ("platform", "logs/worker", drop("kms_key_id"), e.test_what_can_be_under_a_key_is_under_one_of_ours),
    ("registry", "worker", drop("encryption_configuration"), e.test_what_can_be_under_a_key_is_under_one_of_ours),
    ("platform", "aurora/cluster", put("master_user_secret_kms_key_id", "x"), e.test_what_can_be_under_a_key_is_under_one_of_ours),
    ("platform", WHOLE, also("aws_sns_topic", {"name": "millrace-x-t1"}), e.test_what_can_be_under_a_key_is_under_one_of_ours),
    ("platform", "archive/files/encryption", put("rule.0.apply_server_side_encryption_by_default.sse_algorithm", "AES256"), e.test_a_bucket_under_aws_s_key_is_one_that_aws_forces),
    ("platform", WHOLE, also("aws_s3_bucket", {"bucket": "bare"}), e.test_a_bucket_under_aws_s_key_is_one_that_aws_forces),
    ("platform", "keys/stream/key", put("enable_key_rotation", False), e.test_every_key_turns_by_itself_and_speaks_to_this_account_alone),
    ("platform", "keys/stream/key", policy(first("Principal", "*")), e.test_every_key_turns_by_itself_and_speaks_to_this_account_alone),
    ("platform", "keys/stream/key", policy(lambda found: found[1].pop("Condition")), e.test_every_key_turns_by_itself_and_speaks_to_this_account_alone),
    ("platform", "entry/https", put("protocol", "HTTP"), h.test_every_listener_and_target_is_tls),
    ("platform", "entry/https", put("ssl_policy", "ELBSecurityPolicy-2016-08"), h.test_every_listener_and_target_is_tls),
    ("platform", "entry/api-blue/group", put("protocol", "HTTP"), h.test_every_listener_and_target_is_tls),
    ("platform", "entry/api-blue/group", put("health_check.protocol", "HTTP"), h.test_every_listener_and_target_is_tls),
    ("platform", "redis/store", put("transit_encryption_enabled", False), h.test_no_store_is_asked_without_tls),
    ("platform", "redis/store", put("transit_encryption_mode", "preferred"), h.test_no_store_is_asked_without_tls),
    ("platform", "aurora/parameters", put("parameter.0.value", "0"), h.test_no_store_is_asked_without_tls),
    ("platform", "worker/task/definition", put("volume.1.efs_volume_configuration.transit_encryption", "DISABLED"), h.test_no_store_is_asked_without_tls),
    ("platform", "archive/files/policy", policy(first("Effect", "Allow")), h.test_what_has_a_policy_of_its_own_refuses_without_tls),
    ("account", "state/policy", policy(lambda found: found.pop(0)), h.test_what_has_a_policy_of_its_own_refuses_without_tls),
    ("platform", WHOLE, also("aws_vpc_security_group_ingress_rule", {"from_port": 0, "to_port": 65535}), h.test_nothing_is_called_by_http_or_on_a_port_that_is_never_tls),
    ("platform", WHOLE, also("aws_sqs_queue", {"name": "http://example.com/"}), h.test_nothing_is_called_by_http_or_on_a_port_that_is_never_tls),
    ("platform", WHOLE, also("aws_api_gateway_domain_name", {"security_policy": "TLS_1_0"}), h.test_the_only_way_in_takes_no_old_tls),
    ("platform", WHOLE, also("aws_sns_topic_subscription", {"protocol": "http"}), h.test_the_only_way_in_takes_no_old_tls),
    ("platform", "worker/task/task-role/may-stream", policy(first("Resource", ["*"])), p.test_no_grant_is_on_everything_but_the_listed_ones),
    ("platform", "worker/task/task-role/may-stream", policy(first("Action", ["*"])), p.test_actions_are_named),
    ("platform", "worker/task/task-role/may-stream", policy(first("Action", ["kinesis:*"])), p.test_actions_are_named),
    ("platform", "worker/task/task-role/may-stream", policy(first("NotAction", ["kinesis:Get*"])), p.test_actions_are_named),
    ("platform", "archive/files/policy", policy(lambda found: found.append({"Effect": "Allow", "Action": ["s3:GetObject"], "Resource": ["x"], "Principal": "*"})), p.test_nobody_outside_the_account_is_let_in),
    ("platform", "worker/task/task-role/role", policy(lambda found: found.append(ANYONE), "assume_role_policy"), p.test_nobody_outside_the_account_is_let_in),
    ("platform", "worker/task/task-role/role", policy(lambda found: found[0].pop("Condition"), "assume_role_policy"), p.test_a_service_takes_a_role_only_for_this_account),
    ("account", "ci/deploy", policy(lambda found: found[0].pop("Condition"), "assume_role_policy"), p.test_a_service_takes_a_role_only_for_this_account),
    ("platform", "deployment/role/may-roles", policy(lambda found: found[0].update(Condition={"StringEquals": {"iam:PassedToService": ""}})), p.test_a_role_is_handed_only_to_the_service_it_was_made_for),
    ("platform", "stream/producers/role/may-stream", policy(lambda found: found[1].pop("Condition")), p.test_a_role_uses_a_key_through_its_service_alone),
    ("platform", "archive/files/policy", policy(lambda found: [one["Condition"].pop("Null", None) for one in found]), test_archive.test_a_file_under_another_key_than_ours_is_refused_and_one_that_asks_for_none_gets_ours),
    ("platform", WHOLE, also("aws_iam_role_policy_attachment", {}), p.test_no_policy_of_aws_s_own_and_no_user_is_used),
    ("platform", "worker/task/task-role/role", put("managed_policy_arns", ["arn:aws:iam::aws:policy/AdministratorAccess"]), p.test_no_policy_of_aws_s_own_and_no_user_is_used),
    *(("platform", WHOLE, also(kind, {}), s.test_no_kind_of_resource_that_carries_a_secret_is_used) for kind in s.CARRIERS),
    ("platform", WHOLE, lambda j: j["data"].update(aws_secretsmanager_secret_version={}), s.test_no_kind_of_resource_that_carries_a_secret_is_used),
    ("platform", "aurora/cluster", put("master_password", "${ephemeral.aws_secretsmanager_secret_version.x.secret_string}"), s.test_what_is_read_as_it_passes_ends_in_a_write_only_argument_alone),
    ("platform", WHOLE, lambda j: j["output"].update(x={"value": "${ephemeral.a.b}"}), s.test_what_is_read_as_it_passes_ends_in_a_write_only_argument_alone),
    ("platform", "aurora/cluster", put("master_password", "hunter2"), s.test_no_password_is_an_argument),
    ("platform", "redis/store", put("auth_token", "hunter2"), s.test_no_password_is_an_argument),
    ("platform", "worker/task/definition", put("container_definitions", json.dumps([{"secrets": [{"name": "X"}]}])), s.test_tasks_are_told_where_a_secret_is_and_not_what_it_is),
    ("platform", "worker/task/definition", put("container_definitions", json.dumps([{"environment": [{"name": "DB_PASSWORD", "value": "x"}]}])), s.test_tasks_are_told_where_a_secret_is_and_not_what_it_is),
    ("platform", WHOLE, lambda j: j["variable"].update(database_password={}), s.test_no_variable_and_no_output_is_a_secret),
    ("platform", WHOLE, lambda j: j["output"].update(api_token={}), s.test_no_variable_and_no_output_is_a_secret),
    *(("platform", WHOLE, also(kind, {}), a.test_a_suffix_s_stack_holds_nothing_of_the_account_s) for kind in a.ONCE),
    ("platform", "worker/task/task-role/role", drop("permissions_boundary"), b.test_every_role_of_a_suffix_has_the_account_s_boundary),
    ("platform", "worker/task/task-role/role", put("permissions_boundary", "arn:aws:iam::aws:policy/AdministratorAccess"), b.test_every_role_of_a_suffix_has_the_account_s_boundary),
    ("account", "ci/provider", put("lifecycle.ignore_changes", ["thumbprint_list"]), a.test_a_provider_that_was_there_keeps_the_audiences_of_others),
    ("account", "ci/boundary", policy(lambda found: found.pop(-1)), a.test_the_boundary_keeps_the_ci_from_the_account_s_own_things),
    ("account", "ci/plan-policy", policy(lambda found: found[0]["Action"].append("kinesis:PutRecord")), a.test_what_plans_changes_nothing_but_the_state_s_lock),
    ("account", "traces", put("type", "NONE"), a.test_traces_are_under_a_key_and_the_gateway_may_log),
    ("account", "gateway", put("depends_on", []), a.test_traces_are_under_a_key_and_the_gateway_may_log),
    ("platform", "worker/task/definition", put("ephemeral_storage", {}), test_program.test_no_block_is_empty),
    ("registry", "worker", put("image_scanning_configuration", [{}]), test_program.test_no_block_is_empty),
    ("account", "scanning", put("rule.0.repository_filter", [{}]), test_program.test_no_block_is_empty),
    ("platform", WHOLE, lambda j: j["data"]["aws_secretsmanager_secret"].update(x={"tags": {}}), test_program.test_no_block_is_empty),
    ("account", WHOLE, lambda j: j.update(output={"x": {"value": str(FOLDER)}}), test_program.test_no_absolute_path_of_this_machine_is_in_any_stack),
    ("platform", "rotation/database-user/function", put("filename", f"{FOLDER.parent}/functions/x.zip"), test_program.test_no_absolute_path_of_this_machine_is_in_any_stack),
    *(("platform", f"deployment/{service}", change, test_stopping.test_a_deployment_of_the_platform_is_stopped_by_the_alarms_of_its_service)
      for service in ("api", "dashboard") for change in (
        put("alarm_configuration.alarms", []), put("alarm_configuration.enabled", False), put("alarm_configuration.ignore_poll_alarm_failure", True),
        put("alarm_configuration.alarms.0", "millrace-forgotten-t1"))),
    ("platform", "worker/service", put("alarms.rollback", False), test_stopping.test_a_deployment_of_the_platform_is_stopped_by_the_alarms_of_its_service),
    ("platform", "worker/service", drop("alarms"), test_stopping.test_a_deployment_of_the_platform_is_stopped_by_the_alarms_of_its_service),
    *(("platform", f"{service}/service", put("desired_count", 1), test_starting.test_terraform_makes_a_service_without_tasks_and_says_how_many_deploy_starts) for service in test_starting.SERVICES),
    ("platform", "worker/service", put("lifecycle.ignore_changes", ["task_definition"]), test_starting.test_terraform_makes_a_service_without_tasks_and_says_how_many_deploy_starts),
    ("platform", WHOLE, lambda j: j["output"]["api_tasks_min"].update(value=1), test_starting.test_terraform_makes_a_service_without_tasks_and_says_how_many_deploy_starts),
    ("platform", "worker-scaling/lag-alarm", put("treat_missing_data", "breaching"), test_starting.test_no_alarm_of_scaling_starts_a_task_while_none_runs),
    ("platform", "worker-scaling/bytes-alarm", put("metric_query.2.expression", "incoming / 60"), test_starting.test_no_alarm_of_scaling_starts_a_task_while_none_runs),
    ("platform", "migrate/task/task-role/may-master", policy(lambda found: found[0]["Resource"].append("*")), test_migration.test_the_task_may_read_the_masters_secret_and_sign_in_as_the_migration_and_no_more),
    ("platform", "migrate/task/task-role/may-database", policy(first("Resource", ["arn:aws:rds-db:us-east-1:123456789012:dbuser:*/*"])), test_migration.test_the_task_may_read_the_masters_secret_and_sign_in_as_the_migration_and_no_more),
    ("platform", "migrate/task/task-role/may-master", policy(lambda found: found[1]["Condition"]["StringEquals"].pop("kms:EncryptionContext:SecretARN")), test_migration.test_the_task_may_read_the_masters_secret_and_sign_in_as_the_migration_and_no_more),
    ("platform", "api/task/task-role/may-secrets", policy(lambda found: found[0]["Resource"].append(MASTER)), test_migration.test_nobody_but_the_migration_and_the_rotation_may_read_the_masters_secret),
    ("platform", "cluster/cluster", put("depends_on", []), test_logs.test_a_group_that_a_service_would_make_for_itself_is_there_before_it),
    ("platform", "gateway/stage", put("depends_on", []), test_logs.test_a_group_that_a_service_would_make_for_itself_is_there_before_it),
    ("platform", "cluster/cluster", put("name", "another"), test_logs.test_a_group_that_a_service_would_make_for_itself_is_there_before_it),
    ("account", "backup", put("resource_type_opt_in_preference", {"EFS": True}), a.test_backups_of_the_database_and_the_files_are_opted_into),
]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "path", "change", "promise"),
    BROKEN,
    ids=[f"{at}-{row[1] or row[0]}" for at, row in enumerate(BROKEN)],
)
def test_a_broken_rule_is_noticed(
    stacks: Stacks, kind: str, path: str, change: Change, promise: Callable[..., None]
) -> None:
    whole = stacks("us-east-1", kind)
    promise(whole)
    with pytest.raises(NOTICED):
        promise(broken(whole, path, change))


OIDC = "StringEquals"
HOST = "token.actions.githubusercontent.com"
EVERY_JOB = {OIDC: {f"{HOST}:aud": "sts.amazonaws.com", f"{HOST}:sub": ["repo:example-org/millrace:*"]}}
TRUST: list[tuple[str, Change]] = [
    ("ci/deploy", policy(lambda found: found[0].update(Condition=EVERY_JOB), "assume_role_policy")),
    ("ci/deploy", policy(lambda found: found[0]["Condition"][OIDC].pop(f"{HOST}:aud"), "assume_role_policy")),
    ("ci/deploy", policy(lambda found: found[0].update(Action="sts:AssumeRole"), "assume_role_policy")),
    ("ci/deploy", policy(lambda found: found[0].update(Principal={"Federated": "*"}), "assume_role_policy")),
    ("ci/deploy", policy(lambda found: found.append(ANYONE), "assume_role_policy")),
    ("ci/deploy", drop("permissions_boundary")),
    ("ci/provider", put("url", "https://tokens.example.com")),
]


@pytest.mark.parametrize(("path", "change"), TRUST)
def test_a_role_of_the_ci_that_trusts_others_is_noticed(stacks: Stacks, path: str, change: Change) -> None:
    account = stacks("eu-central-1", "account")
    a.test_only_a_job_of_our_repository_that_was_let_through_takes_a_role(
        account, "deploy", ["deploy", "ephemeral", "roll-back"]
    )
    with pytest.raises((*NOTICED, AttributeError)):
        a.test_only_a_job_of_our_repository_that_was_let_through_takes_a_role(
            broken(account, path, change), "deploy", ["deploy", "ephemeral", "roll-back"]
        )


def granted(action: str) -> Change:
    """A statement more."""
    return policy(lambda found: found.append({"Effect": "Allow", "Action": [action], "Resource": ["*"]}))


UNDENIED = policy(lambda found: [found.remove(one) for one in list(found) if one["Effect"] == "Deny"])
c = test_ci_access
ROLES: list[tuple[str, Change, Callable[[Program], None]]] = [
    ("ci/plan-policy", granted("ecs:UpdateService"), lambda p: c.test_the_plan_role_changes_nothing_and_reads_no_data(p, "ecs:UpdateService")),
    ("ci/plan-policy", granted("secretsmanager:GetSecretValue"), lambda p: c.test_a_role_opens_no_secret_but_those_that_its_verbs_read(p, "plan", {"database-master"})),
    ("ci/deploy-policy", policy(lambda found: found.clear()), c.test_the_deploy_role_may_copy_images_and_hand_roles_to_tasks),
    ("ci/boundary", policy(lambda found: found.clear()), c.test_the_deploy_role_may_copy_images_and_hand_roles_to_tasks),
    ("ci/boundary", UNDENIED, lambda p: c.test_what_a_lock_keeps_neither_role_removes(p, "deploy")),
    ("ci/boundary", UNDENIED, c.test_neither_role_touches_the_state_s_bucket_or_the_roles_of_the_ci),
    ("ci/plan-policy", granted("ecs:" + "x" * 10_240), c.test_the_policies_fit_into_what_iam_keeps),
]  # fmt: skip


@pytest.mark.parametrize(
    ("path", "change", "promise"), ROLES, ids=[f"{at}-{row[0]}" for at, row in enumerate(ROLES)]
)
def test_a_role_of_the_ci_that_may_more_or_less_is_noticed(
    stacks: Stacks, path: str, change: Change, promise: Callable[[Program], None]
) -> None:
    account = stacks("eu-central-1", "account")
    promise(account)
    with pytest.raises(AssertionError):
        promise(broken(account, path, change))


STATE: list[tuple[str, str, Change]] = [
    ("account", "state/bucket", put("bucket", "another")),
    ("account", "state/versioning", put("versioning_configuration.status", "Suspended")),
    ("account", "state/life-cycle", put("rule.0.expiration", [{"days": 90}])),
    ("account", "state-key/alias", put("name", "alias/another")),
    *(
        (kind, WHOLE, lambda j, key=key, value=value: j["terraform"]["backend"]["s3"].update({key: value}))
        for kind in ("platform", "registry")
        for key, value in (("encrypt", False), ("use_lockfile", False), ("bucket", "another"), ("kms_key_id", ""))
    ),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "path", "change"), STATE)
def test_a_state_that_is_not_guarded_is_noticed(stacks: Stacks, kind: str, path: str, change: Change) -> None:
    def changed(environment: str, of: str) -> Program:
        whole = stacks(environment, of)
        return broken(whole, path, change) if of == kind else whole

    promise = a.test_the_state_lies_encrypted_with_its_former_versions_where_the_stacks_look_for_it
    promise(stacks("eu-central-1", "account"), stacks)
    with pytest.raises(NOTICED):
        promise(changed("eu-central-1", "account"), changed)


def test_an_account_s_stack_that_knows_a_suffix_is_noticed(synthesize: Synthesize, stacks: Stacks) -> None:
    promise = a.test_the_account_s_stack_is_the_same_for_every_environment_and_suffix_of_a_region
    account = stacks("eu-central-1", "account")
    promise(synthesize, account)
    with pytest.raises(AssertionError):
        promise(synthesize, broken(account, "state/bucket", put("tags.Name", f"state-{SUFFIX}")))


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_a_program_that_differs_from_run_to_run_is_noticed(synthesize: Synthesize, environment: str) -> None:
    def once(name: str) -> dict[str, Program]:
        return {
            stack: broken(program, "", lambda j: j.update(at="12:00"))
            for stack, program in synthesize(name).items()
        }

    with pytest.raises(AssertionError):
        test_program.test_the_same_input_gives_the_same_bytes(once, synthesize, environment)


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_a_name_that_two_suffixes_share_is_noticed(synthesize: Synthesize, environment: str) -> None:
    def changed(name: str, suffix: str = SUFFIX) -> dict[str, Program]:
        shared = put("domain_name", "api.example.com")
        whole = synthesize(name, suffix)
        return {**whole, f"millrace-{suffix}": broken(whole[f"millrace-{suffix}"], "gateway/domain", shared)}

    n.test_two_suffixes_in_one_region_share_no_name(synthesize, environment)
    with pytest.raises(AssertionError):
        n.test_two_suffixes_in_one_region_share_no_name(changed, environment)


def test_a_role_that_two_regions_share_is_noticed(synthesize: Synthesize) -> None:
    def changed(name: str) -> dict[str, Program]:
        shared = put("name", f"millrace-worker-task-{SUFFIX}")
        platform = f"millrace-{SUFFIX}"
        return {platform: broken(synthesize(name)[platform], "worker/task/task-role/role", shared)}

    promise = n.test_one_suffix_in_two_regions_of_an_account_shares_no_name_that_is_not_regional
    promise(synthesize)
    with pytest.raises(AssertionError):
        promise(changed)


ALL = [{"Effect": "Allow", "Action": ["*"], "Resource": ["*"]}]


def walls_down(whole: Body) -> None:
    """Role's own policy and boundary: behind the one that stands nobody sees that the other fell."""
    for kind in ("aws_iam_role_policy", "aws_iam_policy"):
        for body in whole["resource"][kind].values():
            body["policy"] = json.dumps({"Statement": ALL})


PARTS: list[tuple[str, Change, Callable[..., None], tuple[object, ...]]] = [
    ("state/encryption", put("rule.0.apply_server_side_encryption_by_default.kms_master_key_id", "${aws_kms_key.traces-key_AF79F070.arn}"), a.test_the_state_is_under_its_own_key_and_a_former_one_is_kept_as_long_as_the_page_says, ()),
    ("state/life-cycle", put("rule.0.noncurrent_version_expiration.0.noncurrent_days", 7), a.test_the_state_is_under_its_own_key_and_a_former_one_is_kept_as_long_as_the_page_says, ()),
    ("state-key/alias", put("target_key_id", "${aws_kms_key.traces-key_AF79F070.key_id}"), a.test_the_state_is_under_its_own_key_and_a_former_one_is_kept_as_long_as_the_page_says, ()),
    ("state-key/key", policy(lambda found: found.pop()), a.test_a_key_of_the_account_is_used_through_its_one_service, ("state", "s3")),
    ("traces-key/key", policy(lambda found: found[1].pop("Condition")), a.test_a_key_of_the_account_is_used_through_its_one_service, ("traces", "xray")),
    ("service-linked-rds", put("aws_service_name", "ecs.amazonaws.com"), a.test_the_roles_that_services_make_once_are_made_here, ()),
    ("gateway-logs-policy", policy(lambda found: found[0]["Action"].pop()), a.test_the_gateway_s_role_may_what_api_gateway_asks_of_it, ()),
    ("gateway-logs-policy", put("role", "${aws_iam_role.ci_plan_7CABDD8F.id}"), a.test_the_gateway_s_role_may_what_api_gateway_asks_of_it, ()),
    ("ci/deploy-policy", put("role", "${aws_iam_role.ci_plan_7CABDD8F.id}"), a.test_a_role_of_the_ci_has_its_own_policy_and_time_for_its_job, ("deploy",)),
    ("role-boundary/policy", policy(lambda found: found.__setitem__(slice(None), ALL)), b.test_no_role_of_a_suffix_may_ever_do_this, ("iam:CreateRole", b.ROLE)),
    ("role-boundary/policy", policy(lambda found: [one.pop("Condition", None) for one in found]), b.test_a_role_of_a_suffix_works_in_its_region_alone, ()),
    (WHOLE, walls_down, b.test_the_ci_makes_and_grants_no_role_without_the_boundary, ("CreateRole",)),
    (WHOLE, walls_down, b.test_the_ci_takes_no_boundary_away_and_does_not_widen_it, ("DeleteRolePermissionsBoundary",)),
    (WHOLE, walls_down, test_ci_access.test_a_role_works_in_its_region_alone_and_lists_no_buckets, ("deploy",)),
    ("ci/deploy-policy", policy(lambda found: found.pop(0)), test_ci_access.test_the_deploy_role_may_make_every_call_of_the_verbs, ("src/millrace_infra/preflight.py",)),
    ("ci/provider", put("client_id_list", []), a.test_a_role_of_the_ci_has_its_own_policy_and_time_for_its_job, ("plan",)),
]  # fmt: skip


@pytest.mark.parametrize(("path", "change", "promise", "rest"), PARTS)
def test_a_broken_part_of_the_account_is_noticed(
    stacks: Stacks, path: str, change: Change, promise: Callable[..., None], rest: tuple[object, ...]
) -> None:
    account = stacks("eu-central-1", "account")
    promise(account, *rest)
    with pytest.raises(NOTICED):
        promise(broken(account, path, change), *rest)


@pytest.mark.parametrize(
    "change",
    [put("rule.0.scan_frequency", "MANUAL"), put("rule.0.repository_filter.0.filter", "other-*"), put("rule", [])],
)
def test_an_image_that_nobody_scans_is_noticed(stacks: Stacks, change: Change) -> None:
    account = stacks("eu-central-1", "account")
    a.test_every_image_of_ours_is_scanned_as_it_is_pushed(account, stacks)
    with pytest.raises(NOTICED):
        a.test_every_image_of_ours_is_scanned_as_it_is_pushed(broken(account, "scanning", change), stacks)
