"""API Gateway -> network load balancer -> application load balancer -> tasks, TLS on every hop.

A REST API reaches a VPC only over a network load balancer; only an application load balancer shifts traffic
by shares. So there are both, one behind the other, and neither has a public address.
"""

from __future__ import annotations

from typing import Final

from millrace_infra.entry.access_log import PREFIX, access_log
from millrace_infra.entry.routes import Rules
from millrace_infra.entry.targets import API_READY_PATH, SERVICES, Behind, TargetGroup
from millrace_infra.network import ALB_PORT, Network
from millrace_infra.settings import Environment
from millrace_infra.terraform import (
    Construct,
    Lb,
    LbAccessLogs,
    LbListener,
    LbListenerDefaultAction,
    LbListenerDefaultActionFixedResponse,
    LbListenerRule,
    LbTargetGroup,
    LbTargetGroupAttachment,
    LbTargetGroupHealthCheck,
    Route53Record,
    Route53RecordAlias,
    Route53Zone,
    Route53ZoneVpc,
)

TLS_POLICY: Final = "ELBSecurityPolicy-TLS13-1-2-2021-06"
"""TLS 1.2 and 1.3 with forward secrecy. Source: Security policies for your Application Load Balancer."""
TEST_PORT: Final = 8443
"""Where a deployment shows the next version before it gets traffic."""
IDLE_TIMEOUT_S: Final = 120
"""Live events and the dashboard's web socket are silent for seconds, not for minutes."""


class Entry(Construct):
    """Both load balancers, their listeners, the target groups and the private name."""

    def __init__(self, scope: Construct, id: str, *, environment: Environment, network: Network) -> None:
        super().__init__(scope, id)
        self._environment, self._network = environment, network
        self.target_groups = {
            behind.service: (self._target_group(behind, "blue"), self._target_group(behind, "green"))
            for behind in SERVICES
        }
        self._alb = self._application_load_balancer()
        self._listener = self._https("https", ALB_PORT)
        self._test_listener = self._https("test", TEST_PORT)
        blue, green = (
            {service: pair[at].arn for service, pair in self.target_groups.items()} for at in (0, 1)
        )
        self._rules = Rules(
            self, "rules", environment=environment, listener_arn=self._listener.arn, target_groups=blue
        )
        # the test listener shows the other colour, so that each target group hangs on a listener from the start
        self._test_rules = Rules(
            self,
            "test-rules",
            environment=environment,
            listener_arn=self._test_listener.arn,
            target_groups=green,
        )
        self._nlb = self._network_load_balancer()
        self._pass_on()
        self._private_name()

    # --- what others need ---------------------------------------------------------------------------

    @property
    def alb_arn_suffix(self) -> str:
        """The value of the dimension `LoadBalancer`."""
        return self._alb.arn_suffix

    @property
    def nlb_arn(self) -> str:
        return self._nlb.arn

    @property
    def nlb_arn_suffix(self) -> str:
        return self._nlb.arn_suffix

    @property
    def listener_arn(self) -> str:
        return self._listener.arn

    @property
    def test_listener_arn(self) -> str:
        return self._test_listener.arn

    @property
    def url(self) -> str:
        """The platform as its own tasks and the allowed networks call it."""
        return f"https://{self._environment.edge.internal_domain}"

    def rules(self, service: str) -> list[LbListenerRule]:
        """The rules that lead to the service: ECS takes its target groups only once they are there."""
        return [*self._rules.of[service], *self._test_rules.of[service]]

    # --- its parts ----------------------------------------------------------------------------------

    def _target_group(self, behind: Behind, colour: str) -> TargetGroup:
        return TargetGroup(
            self,
            f"{behind.service}-{colour}",
            environment=self._environment,
            behind=behind,
            vpc_id=self._network.vpc_id,
        )

    def _application_load_balancer(self) -> Lb:
        log = access_log(self, "access-log", environment=self._environment)
        name = self._environment.names.of("alb", "load_balancer")
        return Lb(
            self,
            "alb",
            name=name,
            load_balancer_type="application",
            internal=True,
            subnets=self._network.private_subnet_ids,
            security_groups=[self._network.security_group("alb")],
            access_logs=LbAccessLogs(bucket=log.name, prefix=PREFIX, enabled=True),
            drop_invalid_header_fields=True,
            desync_mitigation_mode="strictest",
            idle_timeout=IDLE_TIMEOUT_S,
            enable_deletion_protection=False,
            tags={"Name": name},
            # AWS tries to write when the log is switched on
            depends_on=[log.policy],
        )

    def _https(self, id: str, port: int) -> LbListener:
        nothing = LbListenerDefaultActionFixedResponse(
            content_type="text/plain",
            message_body="not found",
            status_code="404",
        )
        return LbListener(
            self,
            id,
            load_balancer_arn=self._alb.arn,
            port=port,
            protocol="HTTPS",
            ssl_policy=TLS_POLICY,
            certificate_arn=self._environment.edge.certificate_arn,
            default_action=[LbListenerDefaultAction(type="fixed-response", fixed_response=nothing)],
            tags={"Name": self._environment.names.of(f"alb-{id}")},
        )

    def _network_load_balancer(self) -> Lb:
        name = self._environment.names.of("nlb", "load_balancer")
        return Lb(
            self,
            "nlb",
            name=name,
            load_balancer_type="network",
            internal=True,
            subnets=self._network.private_subnet_ids,
            security_groups=[self._network.security_group("nlb")],
            # API Gateway comes over a private link, whose addresses no security group knows
            enforce_security_group_inbound_rules_on_private_link_traffic="off",
            enable_cross_zone_load_balancing=True,
            enable_deletion_protection=False,
            tags={"Name": name},
        )

    def _pass_on(self) -> None:
        """TCP as it is: TLS begins at the edge's integration and ends at the application load balancer."""
        name = self._environment.names.of("alb", "target_group")
        group = LbTargetGroup(
            self,
            "alb-target",
            name=name,
            vpc_id=self._network.vpc_id,
            target_type="alb",
            protocol="TCP",
            port=ALB_PORT,
            health_check=LbTargetGroupHealthCheck(
                enabled=True, protocol="HTTPS", path=API_READY_PATH, matcher="200-399"
            ),
            tags={"Name": name},
        )
        LbTargetGroupAttachment(
            self,
            "alb-attachment",
            target_group_arn=group.arn,
            target_id=self._alb.arn,
            port=ALB_PORT,
            depends_on=[self._listener],  # a load balancer becomes a target only on a port that it listens on
        )
        LbListener(
            self,
            "nlb-listener",
            load_balancer_arn=self._nlb.arn,
            port=ALB_PORT,
            protocol="TCP",
            default_action=[LbListenerDefaultAction(type="forward", target_group_arn=group.arn)],
            tags={"Name": self._environment.names.of("nlb-https")},
        )

    def _private_name(self) -> None:
        """The certificate's internal name, known inside this VPC only."""
        domain = self._environment.edge.internal_domain
        zone = Route53Zone(
            self,
            "zone",
            name=domain,
            comment=f"the application load balancer of {self._environment.names.of('platform')}",
            vpc=[Route53ZoneVpc(vpc_id=self._network.vpc_id)],
            force_destroy=True,
            tags={"Name": self._environment.names.of("zone")},
        )
        Route53Record(
            self,
            "record",
            zone_id=zone.zone_id,
            name=domain,
            type="A",
            alias=Route53RecordAlias(
                name=self._alb.dns_name, zone_id=self._alb.zone_id, evaluate_target_health=True
            ),
        )
