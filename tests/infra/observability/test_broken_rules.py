"""The tests can fail: each rule is broken once, in the JSON, and its test must notice."""

# ruff: noqa: E501 (a row of the table is a line)

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.infra.breaking import beside
from tests.infra.observability import test_alarms as a
from tests.infra.observability import test_notifications as n
from tests.infra.observability import test_screens as s
from tests.infra.observability.alarms import Build

Body = dict[str, Any]


def put(path: str, value: Any) -> Callable[[Body], None]:
    """Set what lies at a dotted path."""

    def on(body: Body) -> None:
        *parents, last = path.split(".")
        place: Any = body
        for parent in parents:
            place = place[int(parent) if parent.isdigit() else parent]
        place[int(last) if last.isdigit() else last] = value

    return on


def of_json(key: str, change: Callable[[Any], None]) -> Callable[[Body], None]:
    """A change of the JSON that an attribute holds."""

    def on(body: Body) -> None:
        found = json.loads(body[key])
        change(found)
        body[key] = json.dumps(found)

    return on


def without_last(key: str) -> Callable[[Body], None]:
    def on(body: Body) -> None:
        body[key] = body[key].rpartition(" OR ")[0]

    return on


AT = "observability/alarms/"
EVENTS, TOPICS = "observability/events/", "observability/topics/"
BROKEN: list[tuple[str, Callable[[Body], None], Callable[..., None]]] = [
    (f"{AT}latency-visible", put("comparison_operator", "LessThanThreshold"), a.test_a_series_beyond_the_limit_alarms_and_one_within_it_does_not),
    (f"{AT}stream-age", put("metric_query.2.expression", "FILL(subscribed, 0) + 0 * FILL(polled, 0)"), a.test_a_series_beyond_the_limit_alarms_and_one_within_it_does_not),
    (f"{AT}processed-unlike-applied", put("metric_query.2.expression", "IF(FILL(processed, 0) > 0, 100 * (FILL(processed, 0) - FILL(applied, 0)) / FILL(processed, 0), 0)"), a.test_a_series_beyond_the_limit_alarms_and_one_within_it_does_not),
    (f"{AT}worker-silent", put("metric_query.2.expression", "IF(running >= 1, IF(batches < 1, 1, 0), 0)"), a.test_a_series_beyond_the_limit_alarms_and_one_within_it_does_not),
    (f"{AT}latency-visible", put("datapoints_to_alarm", 2), a.test_one_period_less_than_wanted_does_not_alarm),
    (f"{AT}latency-visible", put("evaluation_periods", 30), a.test_an_alarm_has_a_name_a_sentence_a_limit_and_its_runbook),
    (f"{AT}backup-not-made-aurora", put("treat_missing_data", "notBreaching"), a.test_a_series_that_is_missing_does_what_the_row_says_of_silence),
    (f"{AT}certificate-expires", put("treat_missing_data", "notBreaching"), a.test_a_series_that_is_missing_does_what_the_row_says_of_silence),
    (f"{AT}stream-throttled", put("treat_missing_data", "breaching"), a.test_a_series_that_is_missing_does_what_the_row_says_of_silence),
    (f"{AT}stream-throttled", put("metric_name", "WriteProvisionedThroughput"), a.test_every_metric_of_aws_exists_with_these_dimensions),
    (f"{AT}gateway-errors", put("dimensions", {"ApiId": "a"}), a.test_every_metric_of_aws_exists_with_these_dimensions),
    (f"{AT}fast-path-lost", put("metric_name", "sink_lost_total"), a.test_every_metric_of_ours_is_counted_and_has_these_labels),
    (f"{AT}store-away-redis", put("dimensions", {"sink": "rediss"}), a.test_every_metric_of_ours_is_counted_and_has_these_labels),
    (f"{AT}fast-path-lost", put("dimensions", {}), a.test_no_block_is_empty),
    (f"{AT}gateway-errors", put("dimensions", {"ApiName": "somebody-else", "Stage": "millrace-stage-t1"}), a.test_a_dimension_names_something_of_this_deployment),
    (f"{AT}stream-full", put("alarm_description", "full"), a.test_an_alarm_has_a_name_a_sentence_a_limit_and_its_runbook),
    (f"{AT}stream-full", put("alarm_actions", []), a.test_an_alarm_tells_the_topic_of_its_severity_when_it_begins_and_when_it_ends),
    (f"{AT}stream-full", put("evaluation_periods", 2_000), a.test_an_alarm_looks_back_no_longer_than_cloudwatch_does),
    (f"{AT}stream-age", put("metric_query.2.expression", "subscribed"), a.test_an_expression_names_its_parts_and_no_others),
    (f"{AT}gateway-slow", put("statistic", "Average"), a.test_a_percentile_is_an_extended_statistic),
    (f"{AT}stream-age", put("threshold", 1), a.test_limits_follow_the_environment_s_settings),
    (f"{AT}backup-not-made-aurora", put("evaluation_periods", 48), a.test_the_commission_s_numbers_are_its_own),
    (f"{AT}backup-not-made-aurora", put("dimensions.ResourceType", "EFS"), a.test_a_store_without_its_backup_is_told_though_another_one_has_its_own),
    (f"{AT}backup-not-made-aurora", lambda body: body["dimensions"].pop("ResourceType"), a.test_a_store_without_its_backup_is_told_though_another_one_has_its_own),
    (f"{AT}processed-unlike-archived", put("metric_query.2.expression", "FILL(processed, 0) - FILL(archived, 0)"), a.test_a_series_beyond_the_limit_alarms_and_one_within_it_does_not),
    (f"{AT}worker-silent", put("datapoints_to_alarm", 1), a.test_an_alarm_that_stops_a_deployment_is_calm_on_a_new_platform),
    (f"{AT}gateway-errors", put("treat_missing_data", "breaching"), a.test_an_alarm_that_stops_a_deployment_is_calm_on_a_new_platform),
    (f"{AT}platform-unhealthy", put("alarm_name", "millrace-unwell-t1"), a.test_every_alarm_that_pages_makes_the_platform_unhealthy),
    (f"{AT}platform-unhealthy", without_last("alarm_rule"), a.test_every_alarm_that_pages_makes_the_platform_unhealthy),
    (f"{TOPICS}page", put("kms_master_key_id", "alias/aws/sns"), n.test_topics_and_the_queue_are_under_the_key_of_the_alarms),
    (f"{TOPICS}page-policy", of_json("policy", lambda found: found["Statement"][0].update(Condition={})), n.test_a_topic_names_its_publishers_and_they_speak_for_this_account),
    (f"{TOPICS}page-policy", of_json("policy", lambda found: found["Statement"][1].update(Principal={"Service": "s3.amazonaws.com"})), n.test_a_topic_names_its_publishers_and_they_speak_for_this_account),
    (f"{TOPICS}ticket-policy", of_json("policy", lambda found: found["Statement"][1]["Condition"]["ArnLike"].update({"aws:SourceArn": "arn:aws:events:*"})), n.test_the_topics_take_our_alarms_and_our_rules_and_no_neighbour_s),
    (f"{TOPICS}page-policy", of_json("policy", lambda found: found["Statement"].pop()), n.test_nobody_publishes_or_leaves_a_message_without_tls),
    (f"{TOPICS}page-0", put("endpoint", "nobody@example.com"), n.test_every_recipient_of_the_settings_is_told_of_both),
    (f"{EVENTS}backup-failed-target", put("arn", "${aws_sns_topic.none.arn}"), n.test_every_event_has_a_rule_a_topic_a_runbook_and_a_queue_for_what_fails),
    (f"{EVENTS}backup-failed-target", put("input_transformer.input_template", "{<time>: docs/runbooks/}"), n.test_a_message_is_json_once_eventbridge_has_filled_it_in),
    (f"{EVENTS}backup-failed", of_json("event_pattern", lambda found: found["detail"].pop("backupVaultName")), n.test_a_rule_hears_of_our_own_things_only),
    (f"{EVENTS}deployment-failed", of_json("event_pattern", lambda found: found.pop("resources")), n.test_failed_deployments_of_both_kinds_page),
    (f"{EVENTS}rotation-failed", of_json("event_pattern", lambda found: found["detail"]["additionalEventData"]["SecretId"].pop()), n.test_a_rotation_that_fails_or_ends_is_heard_for_each_rotated_secret),
    (f"{EVENTS}key-lost", of_json("event_pattern", lambda found: found["detail"]["resources"]["ARN"].pop()), n.test_a_lost_key_is_heard_for_every_key),
    (f"{EVENTS}queue-policy", of_json("policy", lambda found: found["Statement"][0].update(Condition={"ArnEquals": {"aws:SourceArn": ["*"]}})), n.test_only_our_rules_leave_what_they_could_not_deliver),
    ("observability/budget/budget", put("cost_filter.1.values", ["user:suffix$another"]), n.test_the_budget_counts_this_deployment_and_tells_before_it_is_spent),
    ("observability/dashboards/detail", of_json("dashboard_body", lambda found: found["widgets"].pop()), s.test_every_row_of_the_table_is_drawn_with_its_limit),
    ("observability/dashboards/detail", of_json("dashboard_body", lambda found: found["widgets"].reverse()), s.test_the_stages_come_in_the_order_of_the_flow),
    ("observability/dashboards/overview", of_json("dashboard_body", lambda found: found["widgets"].pop()), s.test_the_overview_shows_the_state_of_every_alarm),
    ("observability/dashboards/overview", of_json("dashboard_body", lambda found: found["widgets"][-1].update(y=0)), s.test_no_widget_lies_on_another_or_beside_the_screen),
    ("observability/dashboards/detail", of_json("dashboard_body", lambda found: [line[-1].update(id="one") for one in found["widgets"] for line in one["properties"].get("metrics", []) if "id" in line[-1]]), s.test_a_line_over_an_expression_draws_its_own_parts),
    ("observability/tracing/group", put("filter_expression", 'annotation.deployment = "t1"'), s.test_the_group_finds_the_annotation_that_the_collector_makes),
    ("observability/tracing/ingest", put("resource_arn", "*"), s.test_the_edge_s_requests_are_sampled_by_rules_of_this_stage_alone),
    ("observability/tracing/health", put("fixed_rate", 0.5), s.test_a_health_check_is_never_traced_and_a_question_often),
    ("observability/tracing/group", put("filter_expression", ""), s.test_the_traces_of_a_deployment_are_found_together),
]  # fmt: skip


@pytest.mark.parametrize(
    ("path", "change", "promise"), BROKEN, ids=[f"{at}-{row[0]}" for at, row in enumerate(BROKEN)]
)
def test_a_broken_rule_is_noticed(
    watch_of: Build, path: str, change: Callable[[Body], None], promise: Callable[..., None]
) -> None:
    whole = watch_of("us-east-1")
    broken, body = beside(whole, whole.at(path))
    change(body)
    if promise is a.test_every_metric_of_aws_exists_with_these_dimensions:
        promise(lambda _: whole)
        with pytest.raises(AssertionError):
            promise(lambda _: broken)
        return
    promise(whole)
    with pytest.raises((AssertionError, KeyError, ValueError)):
        promise(broken)
