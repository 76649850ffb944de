"""Promises about who is told: topics, events, the queue behind them, the budget."""

from __future__ import annotations

import json
from fnmatch import fnmatchcase
from typing import Any

import pytest

from millrace_infra.observability.event_table import Ours, events
from millrace_infra.settings import load
from tests.infra.conftest import FOLDER, SUFFIX
from tests.infra.observability.alarms import alarms
from tests.infra.program import Program, Resource

pytestmark = pytest.mark.requirement("S-23")
PUBLISHERS = {
    "cloudwatch.amazonaws.com",
    "events.amazonaws.com",
    "budgets.amazonaws.com",
    "backup.amazonaws.com",
}
ACCOUNT = "123456789012"
EVENT_RULES = {
    "deployment-failed", "blue-green-failed", "backup-failed", "rotation-failed", "rotation-off", "key-lost",
    "image-vulnerable",
}  # fmt: skip


def key_of(program: Program, resource: Resource) -> str:
    key = program.follow(resource["kms_master_key_id"])
    assert key is not None
    return key.path


def topic_policies(program: Program) -> list[Resource]:
    found = program.of("aws_sns_topic_policy")
    assert len(found) == len(program.of("aws_sns_topic")) == 2
    return found


@pytest.mark.requirement("S-12")
def test_topics_and_the_queue_are_under_the_key_of_the_alarms(watch: Program) -> None:
    for resource in watch.of("aws_sns_topic", "aws_sqs_queue"):
        assert key_of(watch, resource) == "keys/alarms/key", resource.path
    statements = watch.at("keys/alarms/key").statements()
    users = {one["Principal"].get("Service") for one in statements if isinstance(one["Principal"], dict)}
    assert users >= PUBLISHERS


@pytest.mark.requirement("S-13")
def test_a_topic_names_its_publishers_and_they_speak_for_this_account(watch: Program) -> None:
    for policy in topic_policies(watch):
        allowed = [one for one in policy.statements() if one["Effect"] == "Allow"]
        assert {one["Principal"]["Service"] for one in allowed} == PUBLISHERS
        for statement in allowed:
            assert statement["Action"] == ["sns:Publish"]
            assert statement["Condition"]["StringEquals"] == {"aws:SourceAccount": ACCOUNT}
            assert [watch.follow(arn) for arn in statement["Resource"]] == [watch.follow(policy["arn"])]


@pytest.mark.requirement("S-13")
def test_the_topics_take_our_alarms_and_our_rules_and_no_neighbour_s(watch: Program) -> None:
    region = watch.json["provider"]["aws"][0]["region"]
    sources = {
        one["Principal"]["Service"]: one["Condition"]["ArnLike"]["aws:SourceArn"]
        for policy in topic_policies(watch)
        for one in policy.statements()
        if "ArnLike" in one.get("Condition", {})
    }
    names = [one["alarm_name"] for one in [*alarms(watch), *watch.of("aws_cloudwatch_composite_alarm")]]
    arns = [f"arn:aws:cloudwatch:{region}:{ACCOUNT}:alarm:{name}" for name in names]
    assert [arn for arn in arns if not fnmatchcase(arn, sources["cloudwatch.amazonaws.com"])] == []
    rules = [
        f"arn:aws:events:{region}:{ACCOUNT}:rule/{rule['name']}" for rule in watch.of("aws_cloudwatch_event_rule")
    ]
    assert [arn for arn in rules if not fnmatchcase(arn, sources["events.amazonaws.com"])] == []
    neighbour = rules[0].removesuffix(SUFFIX) + "another"
    assert not fnmatchcase(neighbour, sources["events.amazonaws.com"])


@pytest.mark.requirement("S-12")
def test_nobody_publishes_or_leaves_a_message_without_tls(watch: Program) -> None:
    for policy in watch.of("aws_sns_topic_policy", "aws_sqs_queue_policy"):
        denied = [one for one in policy.statements() if one["Effect"] == "Deny"]
        assert [one["Condition"] for one in denied] == [{"Bool": {"aws:SecureTransport": "false"}}], policy.path


def test_every_recipient_of_the_settings_is_told_of_both(watch: Program) -> None:
    settings = load(watch.environment, SUFFIX, folder=FOLDER).settings
    told = {
        (topic.path.rpartition("/")[2], one["endpoint"])
        for one in watch.of("aws_sns_topic_subscription")
        if (topic := watch.follow(one["topic_arn"])) is not None
    }
    assert told == {(topic, one) for topic in ("page", "ticket") for one in settings.alarm_recipients}


# --- events -----------------------------------------------------------------------------------------


def patterns(program: Program) -> dict[str, dict[str, Any]]:
    """By the event's name."""
    rules = program.of("aws_cloudwatch_event_rule")
    return {rule.path.rpartition("/")[2]: json.loads(rule["event_pattern"]) for rule in rules}


def test_every_event_has_a_rule_a_topic_a_runbook_and_a_queue_for_what_fails(watch: Program) -> None:
    assert set(patterns(watch)) == EVENT_RULES
    targets = watch.of("aws_cloudwatch_event_target")
    assert {watch.follow(one["rule"]) for one in targets} == set(watch.of("aws_cloudwatch_event_rule"))
    for target in targets:
        topic = watch.follow(target["arn"])
        assert topic is not None
        assert topic.path == f"observability/topics/{target['target_id']}"
        queue = watch.follow(target["dead_letter_config"]["arn"])
        assert queue is not None
        assert queue.type == "aws_sqs_queue"
        assert "docs/runbooks/" in target["input_transformer"]["input_template"]


def test_a_message_is_json_once_eventbridge_has_filled_it_in(watch: Program) -> None:
    for target in watch.of("aws_cloudwatch_event_target"):
        transformer = target["input_transformer"]
        text = transformer["input_template"]
        for name in transformer["input_paths"]:
            text = text.replace(f"<{name}>", '"filled in"')
        assert json.loads(text)["message"]


def test_a_rule_hears_of_our_own_things_only(watch: Program) -> None:
    """Every suffix of the account hears the same bus: a pattern names what is ours, by name or by reference."""
    for name, pattern in patterns(watch).items():
        text = json.dumps(pattern)
        assert f"-{SUFFIX}" in text or "${aws_" in text or "${data.aws_" in text, name
        # source: EventBridge quotas, event pattern size
        assert len(text) <= 2_048, name
        assert set(pattern) >= {"source", "detail-type", "detail"}, name


@pytest.mark.requirement("S-22")
def test_failed_deployments_of_both_kinds_page(watch: Program) -> None:
    found = patterns(watch)
    region = watch.json["provider"]["aws"][0]["region"]
    ours = f"arn:aws:ecs:{region}:{ACCOUNT}:service/millrace-cluster-{SUFFIX}/*"
    assert found["deployment-failed"]["resources"] == [{"wildcard": ours}]
    assert found["deployment-failed"]["detail"]["eventName"] == ["SERVICE_DEPLOYMENT_FAILED"]
    assert found["blue-green-failed"]["detail"] == {
        "application": [f"millrace-deployment-{SUFFIX}"],
        "state": ["FAILURE", "STOP"],
    }
    targets = watch.of("aws_cloudwatch_event_target")
    paged = {one.path.rpartition("/")[2] for one in targets if one["target_id"] == "page"}
    assert paged >= {"deployment-failed-target", "blue-green-failed-target", "rotation-failed-target"}


@pytest.mark.requirement("S-11")
def test_a_rotation_that_fails_or_ends_is_heard_for_each_rotated_secret(watch: Program) -> None:
    found = patterns(watch)
    failed = found["rotation-failed"]["detail"]["additionalEventData"]["SecretId"]
    ended = found["rotation-off"]["detail"]["requestParameters"]["secretId"]
    assert len(failed) == 3
    assert failed == ended
    assert "RotationFailed" in found["rotation-failed"]["detail"]["eventName"]


def test_a_lost_key_is_heard_for_every_key(watch: Program) -> None:
    named = patterns(watch)["key-lost"]["detail"]["resources"]["ARN"]
    keys = {key.path for key in watch.of("aws_kms_key") if key.path.startswith("keys/")}
    assert {key.path for key in map(watch.follow, named) if key is not None} == keys


@pytest.mark.requirement("S-13")
def test_only_our_rules_leave_what_they_could_not_deliver(watch: Program) -> None:
    (policy,) = watch.of("aws_sqs_queue_policy")
    (allowed,) = [one for one in policy.statements() if one["Effect"] == "Allow"]
    assert allowed["Principal"] == {"Service": "events.amazonaws.com"}
    sources = {watch.follow(arn) for arn in allowed["Condition"]["ArnEquals"]["aws:SourceArn"]}
    assert sources == set(watch.of("aws_cloudwatch_event_rule"))
    (queue,) = watch.of("aws_sqs_queue")
    assert queue["message_retention_seconds"] == 14 * 86_400


# --- budget -----------------------------------------------------------------------------------------


def test_the_budget_counts_this_deployment_and_tells_before_it_is_spent(watch: Program) -> None:
    settings = load(watch.environment, SUFFIX, folder=FOLDER).settings
    (budget,) = watch.of("aws_budgets_budget")
    assert budget["name"] == f"millrace-budget-{settings.region}-{SUFFIX}"
    assert float(budget["limit_amount"]) == settings.budget_usd_per_month
    filters = {one["name"]: one["values"] for one in budget["cost_filter"]}
    assert filters == {"Region": [settings.region], "TagKeyValue": [f"user:suffix${SUFFIX}"]}
    told = [
        (one["notification_type"], one["threshold"], topic.path.rpartition("/")[2])
        for one in budget["notification"]
        for topic in [watch.follow(one["subscriber_sns_topic_arns"][0])]
        if topic is not None
    ]
    assert told == [("ACTUAL", 80, "ticket"), ("FORECASTED", 100, "ticket"), ("ACTUAL", 100, "page")]


def test_events_are_one_row_each() -> None:
    ours = Ours("arn:aws:ecs:r:a:service/c/*", "app", "vault", ["s"], ["r"], ["k"])
    found = [event.name for event in events(ours)]
    assert len(set(found)) == len(found)
    assert set(found) == EVENT_RULES
