"""The alarms of one deployment, out of the table, and the one that sums up those that page.

Each costs 0.10 USD a month for each metric that it reads, the composite 0.50: some ten in all for `dev`.
"""

from __future__ import annotations

from typing import Final

from millrace.errors import SettingError
from millrace_infra.observability.alarm_row import OPERATORS, Watch, expand
from millrace_infra.observability.alarm_table import ROWS
from millrace_infra.observability.series import Series
from millrace_infra.observability.topics import Topics
from millrace_infra.observability.watched import Watched
from millrace_infra.settings import Environment
from millrace_infra.terraform import (
    CloudwatchCompositeAlarm,
    CloudwatchMetricAlarm,
    CloudwatchMetricAlarmMetricQuery,
    CloudwatchMetricAlarmMetricQueryMetric,
    Construct,
)

CHILDREN_MAX: Final = 100
"""Alarms under one composite alarm. Source: CloudWatch API reference, PutCompositeAlarm."""
RUNBOOKS: Final = "docs/runbooks"


class Alarms(Construct):
    """`stopping("api")`: the names of those that stop a deployment of that service."""

    def __init__(
        self, scope: Construct, id: str, *, environment: Environment, topics: Topics, watched: Watched
    ) -> None:
        super().__init__(scope, id)
        self._environment, self._topics = environment, topics
        self.watches = expand(ROWS, watched, environment.suffix)
        self._alarms = {watch.noun: self._alarm(watch) for watch in self.watches}
        self.unhealthy = self._composite()

    def arn(self, noun: str) -> str:
        return self._alarms[noun].arn

    def stopping(self, service: str) -> list[str]:
        """References, so that the alarms are there before the service that names them."""
        return [self._alarms[watch.noun].alarm_name for watch in self.watches if service in watch.stops]

    def _alarm(self, watch: Watch) -> CloudwatchMetricAlarm:
        row, environment = watch.row, self._environment
        name = environment.names.of(watch.noun, "alarm")
        single = watch.parts.get("value")
        plain = single if single is not None and not single.query else None
        percentile = plain is not None and plain.statistic.startswith("p")
        return CloudwatchMetricAlarm(
            self,
            watch.noun,
            alarm_name=name,
            alarm_description=description(watch, environment),
            comparison_operator=OPERATORS[row.compare],
            threshold=row.threshold(environment),
            datapoints_to_alarm=row.breaching,
            evaluation_periods=row.of,
            treat_missing_data=row.missing,
            namespace=plain.namespace if plain else None,
            metric_name=plain.name if plain else None,
            dimensions=_dimensions(plain) if plain else None,
            period=row.period_s if plain else None,
            statistic=plain.statistic if plain and not percentile else None,
            extended_statistic=plain.statistic if plain and percentile else None,
            metric_query=None if plain else _queries(watch),
            alarm_actions=[self._topics[row.severity]],
            ok_actions=[self._topics[row.severity]],
            tags={"Name": name, "severity": row.severity},
        )

    def _composite(self) -> CloudwatchCompositeAlarm:
        """One state for who asks "is it well?": the dashboard, and the check after a deployment.

        What pages has paged already, each with its own runbook: this one only leaves a note when it begins and
        when it ends.
        """
        paging = [self._alarms[watch.noun] for watch in self.watches if watch.row.severity == "page"]
        if len(paging) > CHILDREN_MAX:
            raise SettingError("alarms that page", got=len(paging), want=f"{CHILDREN_MAX} at most")
        name = self._environment.names.of("platform-unhealthy", "alarm")
        return CloudwatchCompositeAlarm(
            self,
            "platform-unhealthy",
            alarm_name=name,
            alarm_description=f"One of the alarms that page is in alarm. Runbook: {RUNBOOKS}/platform-unhealthy.md",
            alarm_rule=" OR ".join(f'ALARM("{alarm.alarm_name}")' for alarm in paging),
            alarm_actions=[self._topics["ticket"]],
            ok_actions=[self._topics["ticket"]],
            tags={"Name": name},
        )


def description(watch: Watch, environment: Environment) -> str:
    """What the message says: the meaning, the limit and where to go on."""
    row = watch.row
    limit = f"{row.compare} {row.threshold(environment):,.10g} {row.unit}"
    return (
        f"{row.why} Limit: {limit}, {row.breaching} of {row.of} periods of {row.period_s} s. "
        f"Runbook: {RUNBOOKS}/{row.runbook}.md"
    )


def _queries(watch: Watch) -> list[CloudwatchMetricAlarmMetricQuery]:
    """The parts, and the expression over them; a Metrics Insights query is an expression by itself."""
    period_s = watch.row.period_s
    if not watch.row.expression:
        query = watch.parts["value"].query
        return [
            CloudwatchMetricAlarmMetricQuery(
                id="value", expression=query, period=period_s, label=watch.row.name, return_data=True
            )
        ]
    result = CloudwatchMetricAlarmMetricQuery(
        id="value", expression=watch.row.expression, label=watch.row.name, return_data=True
    )
    return [*(_part(name, part, period_s) for name, part in watch.parts.items()), result]


def _part(name: str, part: Series, period_s: int) -> CloudwatchMetricAlarmMetricQuery:
    return CloudwatchMetricAlarmMetricQuery(
        id=name,
        return_data=False,
        metric=CloudwatchMetricAlarmMetricQueryMetric(
            namespace=part.namespace,
            metric_name=part.name,
            dimensions=_dimensions(part),
            period=period_s,
            stat=part.statistic,
        ),
    )


def _dimensions(part: Series) -> dict[str, str] | None:
    """A metric without any has no block, rather than an empty one."""
    return {name: str(value) for name, value in part.dimensions.items()} or None
