"""Target groups: two for each service that a deployment moves traffic between, blue and green."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from millrace.names import SERVICE_API, SERVICE_DASHBOARD
from millrace_infra.network import API_PORT, DASHBOARD_PORT
from millrace_infra.settings import Environment
from millrace_infra.terraform import (
    Construct,
    LbTargetGroup,
    LbTargetGroupHealthCheck,
    LbTargetGroupStickiness,
)

API_READY_PATH: Final = "/v1/health/ready"
SESSION_S: Final = 12 * 3600
"""As long as the dashboard's own session: its pages live in the process that drew them."""


@dataclass(frozen=True)
class Behind:
    """How a service stands behind the load balancer."""

    service: str
    port: int
    health_path: str
    drain_s: int
    """How long a target that leaves may finish what it began."""
    sticky: bool = False


SERVICES: Final = (
    # 29 s is the longest that API Gateway waits for an answer; a second more and none is cut
    Behind(SERVICE_API, API_PORT, API_READY_PATH, drain_s=30),
    # a page's web socket ends with its target: a minute lets the browser open the next one
    Behind(SERVICE_DASHBOARD, DASHBOARD_PORT, "/health", drain_s=60, sticky=True),
)


class TargetGroup(Construct):
    """One colour of a service. The task answers with its own certificate, which the load balancer does not check."""

    def __init__(
        self, scope: Construct, id: str, *, environment: Environment, behind: Behind, vpc_id: str
    ) -> None:
        super().__init__(scope, id)
        self.name = environment.names.of(id, "target_group")
        self._resource = LbTargetGroup(
            self,
            "group",
            name=self.name,
            vpc_id=vpc_id,
            target_type="ip",
            protocol="HTTPS",
            port=behind.port,
            deregistration_delay=str(behind.drain_s),
            load_balancing_algorithm_type="round_robin" if behind.sticky else "least_outstanding_requests",
            health_check=_health(behind),
            stickiness=LbTargetGroupStickiness(
                enabled=behind.sticky, type="lb_cookie", cookie_duration=SESSION_S
            ),
            tags={"Name": self.name},
        )

    @property
    def arn(self) -> str:
        return self._resource.arn

    @property
    def arn_suffix(self) -> str:
        return self._resource.arn_suffix


def _health(behind: Behind) -> LbTargetGroupHealthCheck:
    """In after two good answers, 10 s apart; out after three bad ones: half a minute, the API's failover time."""
    return LbTargetGroupHealthCheck(
        enabled=True,
        protocol="HTTPS",
        port="traffic-port",
        path=behind.health_path,
        matcher="200",
        interval=10,
        timeout=5,
        healthy_threshold=2,
        unhealthy_threshold=3,
    )
