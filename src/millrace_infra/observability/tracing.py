"""Traces: which requests are traced from the edge, and the group in which one deployment's traces are found.

How X-Ray encrypts is a setting of the account and its region: the account stack's, not a suffix's.
A frame is traced or not at the door (`MILLRACE_TRACE_RATIO`, one in a thousand), and what the edge traces comes
on as a trace parent; so the rules here are about the edge alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from millrace.errors import SettingError
from millrace_infra.settings import Environment
from millrace_infra.terraform import Construct, XrayGroup, XrayGroupInsightsConfiguration, XraySamplingRule

NAME_MAX: Final = 32
"""Characters of a rule's or a group's name. Source: X-Ray API reference, SamplingRule and CreateGroup."""
PRIORITY: Final = 1000
"""Before X-Ray's default rule (10,000); the rules of one deployment follow each other."""


@dataclass(frozen=True)
class Sampling:
    """`reservoir` requests a second are traced, and `rate` of the rest. `path` and `method` may hold wildcards."""

    name: str
    path: str
    reservoir: int
    rate: float
    method: str = "*"


RULES: Final = (
    # load balancers ask every ten seconds, and their answers teach nothing
    Sampling("health", "/v1/health/*", reservoir=0, rate=0.0),
    # as many as the door would choose by itself, and one each second: a quiet plant is seen too
    Sampling("ingest", "/v1/readings*", reservoir=1, rate=0.001, method="POST"),
    # people and reports ask seldom and wait: one in twenty shows which store is slow
    Sampling("query", "*", reservoir=1, rate=0.05),
)


class Tracing(Construct):
    """`stage_arn`: the API Gateway stage whose requests the rules are about."""

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        environment: Environment,
        stage_arn: str,
        rest_api_name: str,
        stage_name: str,
    ) -> None:
        super().__init__(scope, id)
        self._environment = environment
        for order, rule in enumerate(RULES):
            self._rule(PRIORITY + order, rule, stage_arn)
        self.group_name = self._bounded("traces")
        XrayGroup(
            self,
            "group",
            group_name=self.group_name,
            # X-Ray calls a stage "name of the API/name of the stage"; what a gateway puts on the stream by itself
            # is known by the annotation that the collector adds
            filter_expression=(
                f'service("{rest_api_name}/{stage_name}") OR annotation.suffix = "{environment.suffix}"'
            ),
            insights_configuration=XrayGroupInsightsConfiguration(
                insights_enabled=False, notifications_enabled=False
            ),
            tags={"Name": self.group_name},
        )

    def _rule(self, priority: int, rule: Sampling, stage_arn: str) -> None:
        name = self._bounded(rule.name)
        XraySamplingRule(
            self,
            rule.name,
            rule_name=name,
            version=1,
            priority=priority,
            reservoir_size=rule.reservoir,
            fixed_rate=rule.rate,
            service_name="*",
            service_type="AWS::ApiGateway::Stage",
            resource_arn=stage_arn,
            host="*",
            http_method=rule.method,
            url_path=rule.path,
            tags={"Name": name},
        )

    def _bounded(self, resource: str) -> str:
        name = self._environment.names.of(resource)
        if len(name) > NAME_MAX:
            raise SettingError(name, got=f"{len(name)} characters", want=f"{NAME_MAX} for X-Ray")
        return name
