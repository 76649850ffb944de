"""The tests can fail: each rule is broken once, in the JSON, and its test must notice."""

# ruff: noqa: E501 (a row of the table is a line)

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.infra.breaking import beside
from tests.infra.conftest import ENVIRONMENTS
from tests.infra.program import Program
from tests.infra.services import test_deployment, test_entry, test_scaling, test_scaling_alarms, test_tasks
from tests.infra.services.parts import Build

Body = dict[str, Any]


def container(name: str, change: Callable[[Body], None]) -> Callable[[Body], None]:
    """A change of one container of a task definition."""

    def on(body: Body) -> None:
        found = json.loads(body["container_definitions"])
        change(next(one for one in found if one["name"] == name))
        body["container_definitions"] = json.dumps(found)

    return on


def put(path: str, value: Any) -> Callable[[Body], None]:
    """Set what lies at a dotted path."""

    def on(body: Body) -> None:
        *parents, last = path.split(".")
        place: Any = body
        for parent in parents:
            place = place[int(parent) if parent.isdigit() else parent]
        place[int(last) if last.isdigit() else last] = value

    return on


def of_policy(change: Callable[[list[Body]], None]) -> Callable[[Body], None]:
    def on(body: Body) -> None:
        found = json.loads(body["policy"])
        change(found["Statement"])
        body["policy"] = json.dumps(found)

    return on


def source_ip(change: Callable[[list[str]], None]) -> Callable[[Body], None]:
    """A change of the networks that a rule lets in."""

    def on(body: Body) -> None:
        change(next(one["source_ip"]["values"] for one in body["condition"] if "source_ip" in one))

    return on


t, e, d, s, a = test_tasks, test_entry, test_deployment, test_scaling, test_scaling_alarms
WORKER, API, DASHBOARD = ("worker/task/definition", "api/task/definition", "dashboard/task/definition")
EFS = "volume.1.efs_volume_configuration"
STEPS = "step_scaling_policy_configuration"

BROKEN: list[tuple[str, Callable[[Body], None], Callable[..., None], tuple[Any, ...]]] = [
    (WORKER, put("ephemeral_storage", {}), t.test_no_block_is_empty, ()),
    (WORKER, container("worker", put("readonlyRootFilesystem", False)), t.test_a_program_is_no_root_and_writes_only_to_its_volumes, ("worker",)),
    (WORKER, container("worker", put("user", "0")), t.test_a_program_is_no_root_and_writes_only_to_its_volumes, ("worker",)),
    (WORKER, container("collector", put("user", "0")), t.test_a_program_is_no_root_and_writes_only_to_its_volumes, ("worker",)),
    (WORKER, container("collector", put("linuxParameters", {"initProcessEnabled": True})), t.test_a_program_is_no_root_and_writes_only_to_its_volumes, ("worker",)),
    (WORKER, container("worker", put("secrets", [])), t.test_a_program_is_no_root_and_writes_only_to_its_volumes, ("worker",)),
    (WORKER, container("worker", put("image", "worker:latest")), t.test_a_container_runs_an_image_by_digest, ("worker",)),
    (WORKER, container("worker", put("stopTimeout", 121)), t.test_a_program_has_time_to_end_and_no_more_than_fargate_grants, ("worker",)),
    (API, container("api", put("healthCheck.command.3", "import (")), t.test_a_program_is_asked_how_it_is, ("api",)),
    (API, container("api", put("ulimits", [])), t.test_a_program_is_asked_how_it_is, ("api",)),
    (WORKER, put(f"{EFS}.transit_encryption", "DISABLED"), t.test_a_task_mounts_the_shared_file_system_with_iam_and_tls, ("worker", False)),
    (WORKER, put(f"{EFS}.authorization_config.iam", "DISABLED"), t.test_a_task_mounts_the_shared_file_system_with_iam_and_tls, ("worker", False)),
    (API, container("api", put("mountPoints.1.readOnly", False)), t.test_a_task_mounts_the_shared_file_system_with_iam_and_tls, ("api", True)),
    (DASHBOARD, put("volume", [{"name": "scratch"}, {"name": "shared"}]), t.test_who_shares_nothing_mounts_nothing, ("dashboard",)),
    (WORKER, container("collector", put("essential", True)), t.test_the_collector_starts_first_and_its_end_ends_nothing, ("worker",)),
    (WORKER, container("worker", put("dependsOn", [])), t.test_the_collector_starts_first_and_its_end_ends_nothing, ("worker",)),
    (WORKER, container("collector", put("environment.0.value", json.dumps({"receivers": {"otlp": {"protocols": {"http": {"endpoint": "0.0.0.0:4318"}}}}}))), t.test_the_collector_listens_in_the_task_only_and_writes_where_it_may, ()),
    (WORKER, container("worker", put("environment", [])), t.test_a_program_is_told_what_the_nouns_say_and_where_to_log, ("worker",)),
    (WORKER, container("worker", put("logConfiguration.options.mode", "blocking")), t.test_a_program_is_told_what_the_nouns_say_and_where_to_log, ("worker",)),
    (API, container("api", put("environment.0", {"name": "DB_PASSWORD", "value": "x"})), t.test_no_variable_of_a_task_holds_a_secret, ()),
    ("api/task/execution-role/may-logs", of_policy(lambda found: found[0].update(Resource=["*"])), t.test_ecs_may_pull_this_tasks_images_and_write_its_logs_and_nothing_else, ("api",)),
    ("api/task/execution-role/may-images", of_policy(lambda found: found[0].update(Resource=["arn:aws:ecr:::repository/other"])), t.test_ecs_may_pull_this_tasks_images_and_write_its_logs_and_nothing_else, ("api",)),
    ("dashboard/task/task-role/may-telemetry", of_policy(lambda found: found[0].update(Action=["s3:GetObject"])), t.test_before_any_grant_a_task_may_only_report, ()),
    ("worker/service", put("depends_on", []), t.test_tasks_start_after_what_they_are_granted, ()),
    (WORKER, put("skip_destroy", False), t.test_a_revision_is_kept_to_go_back_to, ()),
    ("cluster/scratch-key/key", of_policy(lambda found: found[1].update(Principal={"Service": "ec2.amazonaws.com"})), t.test_the_scratch_disk_is_under_a_key_that_fargate_alone_uses_for_this_cluster, ()),
    ("cluster/cluster", put("name", "another"), t.test_the_scratch_disk_is_under_a_key_that_fargate_alone_uses_for_this_cluster, ()),
    ("worker/service", put("enable_execute_command", True), t.test_a_shell_in_a_task_is_off_and_would_be_on_record, ()),
    ("entry/nlb", put("internal", False), e.test_no_load_balancer_has_a_public_address, ()),
    ("entry/alb", put("enable_deletion_protection", True), e.test_no_load_balancer_has_a_public_address, ()),
    ("entry/https", put("protocol", "HTTP"), e.test_every_hop_to_a_task_is_tls, ()),
    ("entry/test", put("ssl_policy", "ELBSecurityPolicy-2016-08"), e.test_every_hop_to_a_task_is_tls, ()),
    ("entry/api-green/group", put("protocol", "HTTP"), e.test_every_hop_to_a_task_is_tls, ()),
    ("entry/nlb", put("enforce_security_group_inbound_rules_on_private_link_traffic", "on"), e.test_the_network_load_balancer_passes_tls_on_to_the_other_one, ()),
    ("entry/alb-attachment", put("port", 80), e.test_the_network_load_balancer_passes_tls_on_to_the_other_one, ()),
    ("entry/rules/health", put("condition", [{"host_header": {"values": ["a"]}}]), e.test_the_health_check_of_the_network_load_balancer_is_answered_without_a_host, ()),
    ("entry/rules/api", put("priority", 99), e.test_the_api_comes_before_the_dashboard, ("rules",)),
    ("entry/dashboard-blue/group", put("stickiness.enabled", False), e.test_sessions_of_the_dashboard_stick_and_calls_of_the_api_do_not, ()),
    *((f"entry/{listener}/dashboard-0", change, e.test_the_dashboard_opens_for_allowed_networks_only, (name,)) for listener in ("rules", "test-rules") for name in ENVIRONMENTS for change in (
        source_ip(lambda found: found.append("0.0.0.0/0")), source_ip(lambda found: found.clear()), put("condition", [{"host_header": {"values": ["a"]}}]))),
    ("entry/rules/dashboard-0", put("action.0.type", "authenticate-oidc"), e.test_the_sign_in_leaves_no_secret_in_the_state, ()),
    ("entry/access-log/policy", of_policy(lambda found: found[-1].update(Principal="*")), e.test_the_access_log_lies_in_a_private_bucket_that_only_the_balancer_writes_to, ()),
    ("entry/alb", put("drop_invalid_header_fields", False), e.test_the_access_log_lies_in_a_private_bucket_that_only_the_balancer_writes_to, ()),
    ("entry/record", put("name", "other.example.com"), e.test_the_internal_name_is_known_inside_the_vpc, ()),
    ("api/service", put("deployment_controller.type", "ECS"), d.test_a_service_with_traffic_is_moved_by_codedeploy_between_two_groups, ("api",)),
    ("deployment/api", put("deployment_config_name", "CodeDeployDefault.ECSAllAtOnce"), d.test_the_api_moves_by_a_tenth_and_the_dashboard_at_once, ()),
    ("deployment/api", put("auto_rollback_configuration.enabled", False), d.test_a_bad_version_goes_back_by_itself_to_one_that_is_still_up, ("api",)),
    ("deployment/api", put("alarm_configuration.alarms", []), d.test_alarms_stop_a_deployment, ()),
    ("worker/service", put("alarms.alarm_names", []), d.test_alarms_stop_a_deployment, ()),
    ("worker/service", put("alarms.rollback", False), d.test_alarms_stop_a_deployment, ()),
    ("deployment/api", put("alarm_configuration.ignore_poll_alarm_failure", True), d.test_alarms_stop_a_deployment, ()),
    ("api/service", put("lifecycle.ignore_changes", ["desired_count"]), d.test_terraform_puts_nothing_back_that_a_deployment_moved, ("api",)),
    ("entry/rules/api", put("lifecycle.ignore_changes", []), d.test_terraform_puts_nothing_back_that_a_deployment_moved, ("api",)),
    ("dashboard/service", put("depends_on", []), d.test_a_service_is_made_after_the_rules_that_lead_to_its_target_groups, ("dashboard",)),
    ("worker/service", put("deployment_minimum_healthy_percent", 0), d.test_workers_of_two_versions_run_side_by_side, ()),
    ("worker/service", put("network_configuration.assign_public_ip", True), d.test_tasks_have_no_public_address_and_lie_in_every_zone, ("worker",)),
    ("worker/service", put("propagate_tags", "NONE"), d.test_tags_reach_the_tasks, ("worker",)),
    ("worker/service", put("force_delete", False), d.test_a_service_is_destroyed_with_its_tasks, ("worker",)),
    ("deployment/role/may-roles", of_policy(lambda found: found[0].update(Condition={})), d.test_codedeploy_moves_these_services_and_hands_over_their_roles_only, ()),
    ("deployment/role/may-services", of_policy(lambda found: found[0].update(Resource=["*"])), d.test_codedeploy_moves_these_services_and_hands_over_their_roles_only, ()),
    ("worker-scaling/bytes-alarm", put("metric_query.2.expression", "incoming / 60"), s.test_workers_follow_the_bytes_that_come_in_for_each_of_them, ()),
    *(("worker-scaling/" + path, change, s.test_at_the_declared_load_all_workers_run_and_at_half_of_it_a_part, ("us-east-1",)) for path, change in (
        ("bytes-alarm", put("threshold", 2_000_000)), ("bytes-alarm", put("threshold", 100_000)), ("target", put("max_capacity", 13)),
        ("up-on-bytes", put(f"{STEPS}.step_adjustment.0.scaling_adjustment", 200)), ("bytes-alarm", put("metric_query.2.expression", "incoming / running")))),
    ("worker-scaling/lag-alarm", put("metric_query.0.metric.metric_name", "GetRecords.IteratorAgeMilliseconds"), s.test_the_lag_is_the_metric_of_the_retrieval_that_is_used, ()),
    ("worker-scaling/lag-alarm", put("metric_query.0.metric.stat", "Average"), s.test_the_lag_is_the_metric_of_the_retrieval_that_is_used, ()),
    ("worker-scaling/target", put("max_capacity", 99), s.test_no_more_workers_than_shards, ("us-east-1",)),
    ("worker-scaling/target", put("min_capacity", 0), s.test_no_more_workers_than_shards, ("dev",)),
    ("api-scaling/target", put("max_capacity", 99), s.test_at_the_edges_throttle_all_tasks_of_the_api_run, ("dev",)),
    ("worker-scaling/bytes-alarm", put("treat_missing_data", "breaching"), a.test_what_is_not_known_moves_nothing, ()),
    ("worker-scaling/lag-alarm", put("comparison_operator", "GreaterThanThreshold"), a.test_a_series_beyond_the_limit_moves_the_number_and_one_within_it_does_not, ()),
    ("worker-scaling/lag-alarm", put("metric_query.0.metric.dimensions", {"StreamName": "s"}), a.test_every_metric_of_scaling_exists_with_these_dimensions, ()),
    (WORKER, put("cpu", "256"), t.test_a_task_has_the_size_that_the_settings_say, ("worker",)),
    (API, put("runtime_platform.cpu_architecture", "X86_64"), t.test_a_task_has_the_size_that_the_settings_say, ("api",)),
    ("entry/nlb", put("name", "millrace-network-load-balancer-t1"), e.test_names_of_load_balancers_and_target_groups_fit, ("t1",)),
    ("worker-scaling/down", put(f"{STEPS}.step_adjustment.0.scaling_adjustment", -5), s.test_workers_come_at_once_and_go_one_by_one, ()),
    ("worker-scaling/lag-alarm", put("evaluation_periods", 15), s.test_workers_come_at_once_and_go_one_by_one, ()),
    ("worker-scaling/lag-alarm", put("treat_missing_data", "breaching"), s.test_silence_moves_nothing, ()),
    ("worker-scaling/calm-alarm", put("metric_query.3.expression", "IF(FILL(incoming, 0) / 60 < 9 * running, 1, 0)"), s.test_a_worker_goes_only_if_the_rest_would_stay_below_what_brings_one, ()),
    ("api-scaling/policy", put("target_tracking_scaling_policy_configuration.customized_metric_specification.metrics.3.expression", "requests0 / running"), s.test_the_api_follows_the_requests_of_both_colours, ()),
]  # fmt: skip


@pytest.mark.parametrize(
    ("path", "change", "promise", "more"), BROKEN, ids=[f"{at}-{row[0]}" for at, row in enumerate(BROKEN)]
)
def test_a_broken_rule_is_noticed(
    built: Build,
    path: str,
    change: Callable[[Body], None],
    promise: Callable[..., None],
    more: tuple[Any, ...],
) -> None:
    if "built" in inspect.signature(promise).parameters:
        promise(built, *more)
        with pytest.raises((AssertionError, KeyError)):
            promise(lambda *which: changed(built(*which), path, change), *more)
        return
    whole = built("dev")
    promise(whole, *more)
    with pytest.raises((AssertionError, SyntaxError, KeyError)):
        promise(changed(whole, path, change), *more)


def changed(whole: Program, path: str, change: Callable[[Body], None]) -> Program:
    broken, body = beside(whole, whole.at(path))
    try:
        change(body)
    except (KeyError, StopIteration) as error:
        raise RuntimeError(f"nothing was broken: no such place in {path}") from error
    return broken
