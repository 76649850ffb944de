"""A row of the alarm table, and the alarms that it becomes in one environment."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from millrace.errors import SettingError
from millrace_infra.observability.series import OURS, Of, Series
from millrace_infra.observability.watched import SERVICES, Watched
from millrace_infra.settings import Environment

Severity = Literal["page", "ticket"]
"""`page`: somebody acts now. `ticket`: somebody acts this week. It is also the name of the topic."""
Stage = Literal["promises", "edge", "stream", "process", "stores", "watch"]
STAGES: Final[Mapping[Stage, str]] = {
    "promises": "What the platform promises",
    "edge": "Edge: from the integrator to the API",
    "stream": "Stream",
    "process": "Processing",
    "stores": "Stores",
    "watch": "Ways out, functions and the watch itself",
}
"""In the order of the flow, with the titles that they have on the dashboards."""
Missing = Literal["breaching", "notBreaching", "ignore", "missing"]
Compare = Literal[">=", ">", "<=", "<"]
OPERATORS: Final[Mapping[Compare, str]] = {
    ">=": "GreaterThanOrEqualToThreshold",
    ">": "GreaterThanThreshold",
    "<=": "LessThanOrEqualToThreshold",
    "<": "LessThanThreshold",
}
SHORT_PERIOD_S: Final = 3_600
WINDOW_S_MAX: Final = {True: 86_400, False: 604_800}
"""Period times evaluation periods, at most: a day for periods under an hour, else a week.
Source: CloudWatch API reference, PutMetricAlarm.
"""


@dataclass(frozen=True)
class Row:
    """When somebody is told, who, and why at that limit."""

    name: str
    stage: Stage
    series: Series | Mapping[str, Series]
    """One metric, or those of `expression` by the name that they have in it."""
    limit: float | Callable[[Environment], float]
    unit: str
    why: str
    """What it means, and where the limit comes from."""
    severity: Severity
    runbook: str
    """File under docs/runbooks, without its ending."""
    compare: Compare = ">="
    breaching: int = 3
    of: int = 5
    """`breaching` of the last `of` periods."""
    period_s: int = 60
    missing: Missing = "notBreaching"
    expression: str = ""
    """In CloudWatch's metric mathematics."""
    only: Sequence[str] = ()
    """Of a field with several keys these alone."""
    stops: Sequence[str] = ()
    """Services whose deployment it stops and takes back."""

    def __post_init__(self) -> None:
        window_max = WINDOW_S_MAX[self.period_s < SHORT_PERIOD_S]
        if self.of * self.period_s > window_max:
            raise SettingError(self.name, got=f"{self.of * self.period_s} s", want=f"{window_max} s at most")
        if not 1 <= self.breaching <= self.of:
            raise SettingError(self.name, got=f"{self.breaching} of {self.of}", want="1 to all periods")

    @property
    def parts(self) -> Mapping[str, Series]:
        """The series by their names in the expression; a single one is called `value`."""
        return {"value": self.series} if isinstance(self.series, Series) else self.series

    def threshold(self, environment: Environment) -> float:
        return float(self.limit(environment)) if callable(self.limit) else float(self.limit)


@dataclass(frozen=True)
class Watch:
    """A row for one thing: every dimension is an identifier."""

    row: Row
    key: str
    parts: Mapping[str, Series]

    @property
    def noun(self) -> str:
        return "-".join(part for part in (self.row.name, self.key.replace("_", "-")) if part)

    @property
    def stops(self) -> tuple[str, ...]:
        """The services whose deployment it stops: where the key says a service, that one alone."""
        service = self.key.partition("-")[0]
        return tuple(one for one in self.row.stops if service not in SERVICES or one == service)


def expand(rows: Sequence[Row], watched: Watched, suffix: str) -> list[Watch]:
    """The alarms of one deployment, in the order of the table. What is not there has none."""
    return [
        Watch(row, key, {name: _bound(part, key, watched, suffix) for name, part in row.parts.items()})
        for row in rows
        for key in _keys(row, watched)
    ]


def _keys(row: Row, watched: Watched) -> list[str]:
    """One alarm for each key that all its dimensions know; [""] where none has several."""
    wanted = [value for part in row.parts.values() for value in part.dimensions.values()]
    known = [watched.values(value.field) for value in wanted if isinstance(value, Of) and not value.key]
    several = [set(values) for values in known if set(values) != {""}]
    if not all(known):
        return []
    keys = sorted(set.intersection(*several)) if several else [""]
    return [key for key in keys if not row.only or key in row.only]


def _bound(part: Series, key: str, watched: Watched, suffix: str) -> Series:
    """The series of that key."""
    dimensions = {name: _identifier(value, key, watched) for name, value in part.dimensions.items()}
    named = {"suffix": suffix, "stream_name": watched.stream_name}
    namespace = OURS.format(suffix=suffix) if part.namespace == OURS else part.namespace
    return Series(namespace, part.name, dimensions, part.statistic, part.query.format(**named))


def _identifier(value: str | Of, key: str, watched: Watched) -> str:
    if isinstance(value, str):
        return value
    values = watched.values(value.field)
    return values[value.key or (key if "" not in values else "")]
