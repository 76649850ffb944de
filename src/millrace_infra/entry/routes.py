"""What the application load balancer sends where; everything else is a 404.

The dashboard's rule names the allowed networks. Calls from the edge arrive with the network load balancer's
addresses, which are none of them: the dashboard cannot be reached through API Gateway, whatever the path.

Sign-in at the load balancer (`authenticate_oidc`) takes the client's secret as an argument, and Terraform
would keep it in its state. So the dashboard signs people in itself, with the existing secret `dashboard_oidc`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from millrace.names import SERVICE_API, SERVICE_DASHBOARD
from millrace_infra.settings import Environment
from millrace_infra.terraform import (
    Construct,
    LbListenerRule,
    LbListenerRuleAction,
    LbListenerRuleCondition,
    LbListenerRuleConditionHostHeader,
    LbListenerRuleConditionPathPattern,
    LbListenerRuleConditionSourceIp,
    TerraformResourceLifecycle,
)

API_PATHS: Final = ("/v1/*", "/openapi.json")
HEALTH_PATHS: Final = ("/v1/health/live", "/v1/health/ready")
NETWORKS_PER_RULE: Final = 4
"""A rule takes five condition values, and the host is one. Source: Application Load Balancer quotas."""
NOBODY: Final = "255.255.255.255/32"
"""Where no network is allowed: the rule stays, because ECS takes only target groups that a listener knows."""


@dataclass(frozen=True)
class Route:
    """One rule of a listener, in the order of the list."""

    id: str
    service: str
    host: str = ""
    paths: Sequence[str] = ()
    networks: Sequence[str] = ()

    def conditions(self) -> list[LbListenerRuleCondition]:
        found = []
        if self.host:
            host = LbListenerRuleConditionHostHeader(values=[self.host])
            found.append(LbListenerRuleCondition(host_header=host))
        if self.paths:
            paths = LbListenerRuleConditionPathPattern(values=list(self.paths))
            found.append(LbListenerRuleCondition(path_pattern=paths))
        if self.networks:
            networks = LbListenerRuleConditionSourceIp(values=list(self.networks))
            found.append(LbListenerRuleCondition(source_ip=networks))
        return found


def routes(environment: Environment) -> list[Route]:
    """Health checks of the network load balancer come with its target's address as host, so they name none."""
    host = environment.edge.internal_domain
    allowed = environment.settings.network.allowed_networks or (NOBODY,)
    chunks = [allowed[at : at + NETWORKS_PER_RULE] for at in range(0, len(allowed), NETWORKS_PER_RULE)]
    return [
        Route("health", SERVICE_API, paths=HEALTH_PATHS),
        Route("api", SERVICE_API, host=host, paths=API_PATHS),
        *(
            Route(f"dashboard-{number}", SERVICE_DASHBOARD, host=host, networks=chunk)
            for number, chunk in enumerate(chunks)
        ),
    ]


class Rules(Construct):
    """The routes of one listener, each at first to `target_groups[service]`; a deployment moves them."""

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        environment: Environment,
        listener_arn: str,
        target_groups: dict[str, str],
    ) -> None:
        super().__init__(scope, id)
        self.of: dict[str, list[LbListenerRule]] = {service: [] for service in target_groups}
        for number, route in enumerate(routes(environment)):
            rule = LbListenerRule(
                self,
                route.id,
                listener_arn=listener_arn,
                priority=10 * (number + 1),
                condition=route.conditions(),
                action=[LbListenerRuleAction(type="forward", target_group_arn=target_groups[route.service])],
                tags={"Name": environment.names.of(f"{route.id}-{id}")},
                # CodeDeploy points the rules at the colour that serves
                lifecycle=TerraformResourceLifecycle(ignore_changes=["action"]),
            )
            self.of[route.service].append(rule)
