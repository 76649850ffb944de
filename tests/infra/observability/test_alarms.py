"""Promises about the alarms: each is fed a breaching, a healthy and a missing series; each names what exists."""

from __future__ import annotations

import inspect
import math
import re
from dataclasses import replace

import pytest
from prometheus_client import Counter
from prometheus_client.metrics import MetricWrapperBase

from millrace import names, telemetry
from millrace.batch import Reason
from millrace.errors import SettingError
from millrace_infra.observability.alarm_row import OPERATORS
from millrace_infra.observability.alarm_table import ROWS
from millrace_infra.observability.series import OURS, Series
from millrace_infra.observability.watched import SINKS
from millrace_infra.secrets import ROTATED
from millrace_infra.settings import load
from tests.account.test_deployed import UNHEALTHY
from tests.infra.conftest import FOLDER, SUFFIX
from tests.infra.observability.alarms import (
    OF_SOME,
    Build,
    alarm,
    alarms,
    metrics,
    metrics_of,
    noun_of,
    of_row,
    own_namespace,
    queries,
    row_of,
    rows_of,
)
from tests.infra.observability.aws_metrics import METRICS
from tests.infra.observability.evaluator import EXTRA, Point, rule_of, state, watched
from tests.infra.observability.examples import EXAMPLES, LIMIT, SILENT, UNDER, Part
from tests.infra.observability.functions import told_by_functions
from tests.infra.program import Program, Resource
from tests.infra.proofs.test_program import empty_blocks

pytestmark = pytest.mark.requirement("S-23")
LABELS = {
    "sink": set(telemetry.SINKS),
    "reason": {*telemetry.REFUSALS, *(reason.name.lower() for reason in Reason)},
    names.LABEL_SECRET: set(ROTATED),
}
PROMISED = {
    "latency-visible", "accepted-unlike-received", "processed-unlike-applied", "processed-unlike-archived",
    "stream-throttled", "stream-age", "worker-silent", "backup-not-made", "rotation-overdue", "certificate-expires",
}  # fmt: skip


# --- each alarm is fed ------------------------------------------------------------------------------


def beyond_and_within(found: Resource) -> tuple[list[dict[str, Part]], list[dict[str, Part]]]:
    """Points that breach and points that do not, for the parts of the alarm."""
    row = row_of(found)
    if row.name in EXAMPLES:
        bad, good = EXAMPLES[row.name]
        return [dict(parts) for parts in bad], [dict(parts) for parts in good]
    limit = float(found["threshold"])
    above, below = math.nextafter(limit, math.inf), math.nextafter(limit, -math.inf)
    beyond, within = {">=": (limit, below), ">": (above, limit), "<=": (limit, above), "<": (below, limit)}[
        row.compare
    ]
    return [{"value": beyond}], [{"value": within}]


def points(found: Resource, parts: dict[str, Part], count: int) -> list[Point]:
    limit = float(found["threshold"])
    known = {LIMIT: limit, UNDER: math.nextafter(limit, -math.inf)}
    values = {name: [known[part] if isinstance(part, str) else part] * count for name, part in parts.items()}
    return watched(found, values)


def test_a_series_beyond_the_limit_alarms_and_one_within_it_does_not(watch: Program) -> None:
    for found in alarms(watch):
        rule = rule_of(found)
        bad, good = beyond_and_within(found)
        for parts in bad:
            fed = points(found, parts, rule.of + EXTRA)
            assert state(rule, fed) == "ALARM", (found.path, parts)
        for parts in good:
            fed = points(found, parts, rule.of + EXTRA)
            assert state(rule, fed, before="ALARM") == "OK", (found.path, parts)


def test_one_period_less_than_wanted_does_not_alarm(watch: Program) -> None:
    for found in alarms(watch):
        rule = rule_of(found)
        bad, good = beyond_and_within(found)
        calm = points(found, good[0], rule.of)
        few = points(found, bad[0], row_of(found).breaching - 1)
        assert state(rule, [*calm, *few]) == "OK", found.path


def test_a_series_that_is_missing_does_what_the_row_says_of_silence(watch: Program) -> None:
    assert set(SILENT) <= {row.name for row in ROWS}
    for found in alarms(watch):
        rule, row = rule_of(found), row_of(found)
        parts = queries(found).keys() - {"value"} or {"value"}
        fed = watched(found, {part: [None] * (rule.of + EXTRA) for part in parts})
        for before in ("OK", "ALARM"):
            wanted = SILENT.get(row.name, "OK")
            assert state(rule, fed, before=before) == (before if wanted == "as before" else wanted), (
                found.path
            )


def test_every_row_over_an_expression_has_examples() -> None:
    assert set(EXAMPLES) == {row.name for row in ROWS if row.expression}


# --- each metric exists -----------------------------------------------------------------------------


def test_every_metric_of_aws_exists_with_these_dimensions(watch_of: Build) -> None:
    named = {metric for metric, _ in metrics(watch_of("us-east-1")) if metric[0] != own_namespace()}
    assert named == set(METRICS), "aws_metrics.py has what the table names, once the service's page was read"


def own_metrics() -> dict[str, set[str]]:
    """Name -> labels of what telemetry.py counts, and of what the functions tell CloudWatch themselves."""
    found = {name: {label for label, _ in dimensions} for name, dimensions in told_by_functions()}
    for _, metric in inspect.getmembers(telemetry, lambda value: isinstance(value, MetricWrapperBase)):
        (described,) = metric.describe()
        name = f"{described.name}_total" if isinstance(metric, Counter) else described.name
        found[name] = set(metric._labelnames)
    return found


def test_every_metric_of_ours_is_counted_and_has_these_labels(watch: Program) -> None:
    known = own_metrics()
    for (space, name, dimensions), values in metrics(watch):
        if space == own_namespace():
            assert set(dimensions) == known[name], name
            for label, value in values.items():
                assert value in LABELS[label], (name, label, value)


def test_our_metrics_lie_where_the_collector_puts_them() -> None:
    pytest.importorskip("constructs")
    from millrace_infra.services.collector import namespace

    assert OURS.format(suffix=SUFFIX) == namespace(SUFFIX) == own_namespace()
    assert set(SINKS) <= set(telemetry.SINKS)


def test_a_dimension_names_something_of_this_deployment(watch: Program) -> None:
    """An identifier is a reference, or a name with our suffix, or a word out of a closed set."""
    words = {"ALL", watch.json["provider"]["aws"][0]["region"], *SINKS, *ROTATED, "stream_unavailable", "all"}
    words |= set(BACKED_UP.values())
    for metric, values in metrics(watch):
        for dimension, value in values.items():
            ours = value.startswith("${") or SUFFIX in re.split(r"[-/]", value) or value in words
            certificate = value.startswith("arn:aws:acm:")
            assert ours or certificate, (metric, dimension, value)


def test_no_block_is_empty(watch: Program) -> None:
    assert list(empty_blocks(watch.json["resource"])) == []


# --- the table as a whole ---------------------------------------------------------------------------


def test_every_row_becomes_an_alarm(watch: Program, watch_of: Build) -> None:
    assert {row_of(one).name for one in alarms(watch)} == rows_of(watch)
    assert {row_of(one).name for one in alarms(watch_of("us-east-1"))} == {row.name for row in ROWS}
    least = watch_of("eu-central-1", network__egress="endpoints")
    assert {row_of(one).name for one in alarms(least)} == {row.name for row in ROWS} - set(OF_SOME)


def test_the_commission_s_own_promises_are_watched() -> None:
    assert {row.name for row in ROWS if row.stage == "promises"} >= PROMISED
    assert len({row.name for row in ROWS}) == len(ROWS)


def test_every_instance_node_service_and_target_has_its_own_alarm(peak: Program) -> None:
    counts = {"database-processor-full": 3, "cache-memory-full": 3, "processor-full": 3, "target-errors": 4,
              "tasks-too-few": 2, "store-away": 3, "way-out-of-ports": 3, "rotation-overdue": 3,
              "backup-not-made": 2}  # fmt: skip
    assert {name: len(of_row(peak, name)) for name in counts} == counts


def test_an_alarm_has_a_name_a_sentence_a_limit_and_its_runbook(watch: Program) -> None:
    for found in alarms(watch):
        row = row_of(found)
        assert found["alarm_name"] == f"millrace-{noun_of(found)}-{SUFFIX}"
        assert found["tags"] == {"Name": found["alarm_name"], "severity": row.severity}
        said = found["alarm_description"]
        assert len(said) <= 1024, found.path
        assert said.startswith(row.why)
        assert f"Limit: {row.compare} " in said
        assert said.endswith(f"Runbook: docs/runbooks/{row.runbook}.md")
        assert found["comparison_operator"] == OPERATORS[row.compare]
        periods = (found["datapoints_to_alarm"], found["evaluation_periods"], found["treat_missing_data"])
        assert periods == (row.breaching, row.of, row.missing), found.path


def test_an_alarm_tells_the_topic_of_its_severity_when_it_begins_and_when_it_ends(watch: Program) -> None:
    for found in alarms(watch):
        for action in ("alarm_actions", "ok_actions"):
            (topic,) = [watch.follow(value) for value in found[action]]
            assert topic is not None
            assert topic.path == f"observability/topics/{row_of(found).severity}", found.path


def test_an_alarm_looks_back_no_longer_than_cloudwatch_does(watch: Program) -> None:
    for found in alarms(watch):
        periods = [found.get("period")] if found.get("period") else []
        for query in found.get("metric_query", []):
            periods += [query["metric"]["period"]] if "metric" in query else []
            periods += [query["period"]] if "period" in query else []
        assert len(set(periods)) == 1, found.path
        window_s = periods[0] * found["evaluation_periods"]
        assert window_s <= (86_400 if periods[0] < 3_600 else 604_800), found.path


def test_an_expression_names_its_parts_and_no_others(watch: Program) -> None:
    for found in alarms(watch):
        parts = queries(found).keys() - {"value"}
        text = str(queries(found)["value"]["expression"]) if queries(found) else ""
        if parts:
            assert set(re.findall(r"\b[a-z]+\b", text)) == parts, found.path
            assert [query["return_data"] for query in found["metric_query"]].count(True) == 1
        assert "SEARCH" not in text, "CloudWatch takes no search in an alarm"


def test_a_percentile_is_an_extended_statistic(watch: Program) -> None:
    for found in alarms(watch):
        if not queries(found):
            percentile = str(found.get("extended_statistic", ""))
            assert bool(found.get("statistic")) != bool(re.fullmatch(r"p\d\d", percentile)), found.path


# --- numbers that follow from the settings ----------------------------------------------------------


def test_limits_follow_the_environment_s_settings(watch: Program) -> None:
    settings = load(watch.environment, SUFFIX, folder=FOLDER).settings
    age_ms = settings.stream.retention_h * 3_600_000 / 2
    assert alarm(watch, "stream-age")["threshold"] == age_ms
    assert alarm(watch, "stream-full")["threshold"] == pytest.approx(0.8 * settings.stream.shards * 6e7)
    assert alarm(watch, "rotation-overdue-api-keys")["threshold"] == settings.secrets.rotation_days + 2
    assert alarm(watch, "firewall-blocks")["threshold"] == pytest.approx(30 * settings.edge.requests_per_s)
    memory_gib = {"db.t4g.medium": 4, "db.r7g.large": 16, "db.r7g.4xlarge": 128}
    memory = memory_gib[settings.database.instance_class] * 2**30
    assert alarm(watch, "database-memory-low-0")["threshold"] == pytest.approx(0.05 * memory)
    connections = min(5_000, 0.9 * memory / 9_531_392)
    assert alarm(watch, "database-connections-0")["threshold"] == round(0.8 * connections)


def test_the_commission_s_numbers_are_its_own(watch: Program) -> None:
    assert telemetry.PROMISED_S == 0.5
    for name in ("latency-visible", "latency-durable"):
        # the 99th of 100 is over the promise where more than one of 100 is
        latency = alarm(watch, name)
        assert (latency["threshold"], latency["comparison_operator"]) == (1, "GreaterThanThreshold")
    for backup in of_row(watch, "backup-not-made"):
        periods = (backup["period"], backup["evaluation_periods"], backup["datapoints_to_alarm"])
        assert periods == (3_600, 26, 26), backup.path
    certificate = alarm(watch, "certificate-expires")
    assert certificate["threshold"] == 30
    assert certificate["metric_name"] == "DaysToExpiry"


BACKED_UP = {"aws_rds_cluster": "Aurora", "aws_efs_file_system": "EFS"}
"""Kind of a store -> AWS Backup's word for it. Source: AWS Backup API reference, GetSupportedResourceTypes."""


def test_a_store_without_its_backup_is_told_though_another_one_has_its_own(watch: Program) -> None:
    """What the plans owe, store by store: each is left out once, while every other one has its backup every night."""
    stores = [watch.follow(arn) for one in watch.of("aws_backup_selection") for arn in one["resources"]]
    owed = {BACKED_UP[store.type] for store in stores if store}
    assert len(owed) == len(stores), "two of one kind in a vault have one series"
    of_night: list[Point] = [None, None, None, 1.0, *[None] * 20]
    for absent in owed:
        told = {kind: [None] * 72 if kind == absent else of_night * 3 for kind in owed}
        states = {}
        for found in of_row(watch, "backup-not-made"):
            ((_, dimensions),) = metrics_of(found)
            assert watch.follow(dimensions["BackupVaultName"]) in watch.of("aws_backup_vault")
            kind = dimensions["ResourceType"]
            states[kind] = state(rule_of(found), watched(found, {"value": told[kind]}))
        assert states == {kind: "ALARM" if kind == absent else "OK" for kind in owed}


# --- the composite, and deployments -----------------------------------------------------------------


def test_every_alarm_that_pages_makes_the_platform_unhealthy(watch: Program) -> None:
    (unhealthy,) = watch.of("aws_cloudwatch_composite_alarm")
    assert unhealthy["alarm_name"] == UNHEALTHY.format(suffix=SUFFIX), (
        "a deployment's verification asks for it"
    )
    rule = unhealthy["alarm_rule"]
    named = [watch.follow(reference) for reference in re.findall(r'ALARM\("([^"]+)"\)', rule)]
    found = {one.path for one in named if one is not None}
    assert len(found) == len(named)
    assert found == {one.path for one in alarms(watch) if row_of(one).severity == "page"}
    # source: CloudWatch API reference, PutCompositeAlarm
    assert len(named) <= 100
    longest = max(len(one["alarm_name"]) for one in alarms(watch))
    assert len(named) * (longest + len('ALARM("") OR ')) <= 10_240


def test_a_deployment_is_stopped_by_alarms_about_its_own_service(watch: Program) -> None:
    def stops(service: str) -> set[str]:
        (output,) = [one for name, one in watch.json["output"].items() if name.startswith(f"{service}-stops")]
        found = [watch.follow(value) for value in output["value"]]
        return {noun_of(one) for one in found if one is not None}

    stores = {"store-away-archive", "store-away-postgres", "store-away-redis"}
    assert stops("worker") == {"latency-visible", "stream-behind", "worker-silent", *stores}
    assert stops("api") == {"gateway-errors", "target-errors-api-blue", "target-errors-api-green"}
    assert stops("dashboard") == {"target-errors-dashboard-blue", "target-errors-dashboard-green"}
    # source: CodeDeploy quotas
    assert all(len(stops(service)) <= 10 for service in ("api", "dashboard"))


def test_an_alarm_that_stops_a_deployment_is_calm_on_a_new_platform(watch: Program) -> None:
    """Nothing has come yet; then tasks run and read their snapshots before the first batch; then all is well."""
    stopping = [found for found in alarms(watch) if row_of(found).stops]
    assert len(stopping) >= 10
    for found in stopping:
        rule = rule_of(found)
        parts = queries(found).keys() - {"value"} or {"value"}
        for before in ("OK", "INSUFFICIENT_DATA"):
            silent = watched(found, {part: [None] * (rule.of + EXTRA) for part in parts})
            assert state(rule, silent, before=before) in ("OK", "INSUFFICIENT_DATA"), found.path
    worker = alarm(watch, "worker-silent")
    starting = {"running": [None, None, *[1.0] * 10], "batches": [*[None] * 6, *[60.0] * 6]}
    for minutes in range(1, 13):
        seen = watched(worker, {part: points[:minutes] for part, points in starting.items()})
        assert state(rule_of(worker), seen) == "OK", f"after {minutes} min"


def test_a_row_that_cloudwatch_would_refuse_is_refused_here() -> None:
    row = next(row for row in ROWS if row.name == "backup-not-made")
    with pytest.raises(SettingError, match="at most"):
        replace(row, of=200, breaching=200)
    with pytest.raises(SettingError, match="periods"):
        replace(row, of=3, breaching=4)
    assert isinstance(row.series, Series)
