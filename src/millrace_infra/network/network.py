"""The VPC from the outside in: tiers, ways out, walls, end points, the log of what passed."""

from __future__ import annotations

from millrace_infra.network.addresses import Layout
from millrace_infra.network.egress import WayOut
from millrace_infra.network.end_points import GatewayEndPoints, InterfaceEndPoints
from millrace_infra.network.flow_log import FlowLogs
from millrace_infra.network.flows import ENDPOINTS, Tier, flows_of
from millrace_infra.network.network_acls import NetworkAcls
from millrace_infra.network.security_groups import SecurityGroups
from millrace_infra.network.subnets import Subnets
from millrace_infra.network.transit import Transit
from millrace_infra.observability.logs import Logs
from millrace_infra.settings import Environment
from millrace_infra.terraform import Construct, DefaultSecurityGroup, Vpc


class Network(Construct):
    """The network of one platform. `flows.py` says who may speak to whom.

    `transit_gateway_id`: what brings people from the allowed networks. Without one, their road (a peering,
    a client VPN) is made by somebody else, with a route back in the private subnets.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        environment: Environment,
        logs: Logs,
        transit_gateway_id: str = "",
    ) -> None:
        super().__init__(scope, id)
        self._environment = environment
        self._layout = Layout(environment.settings.network.cidr)
        self._vpc = Vpc(
            self,
            "vpc",
            cidr_block=self._layout.cidr,
            # names of the end points, of EFS and of the stores resolve to addresses in here
            enable_dns_support=True,
            enable_dns_hostnames=True,
            tags={"Name": environment.names.of("vpc")},
        )
        # a group that AWS makes and that lets its members speak: emptied, so that who forgets a group is alone
        DefaultSecurityGroup(
            self, "default", vpc_id=self._vpc.id, tags={"Name": environment.names.of("default-unused")}
        )
        self._tiers = self._make_tiers()
        self._make_roads(transit_gateway_id)
        self._groups = self._make_walls()
        FlowLogs(self, "flow-log", environment=environment, vpc=self._vpc, logs=logs)

    @property
    def vpc_id(self) -> str:
        return self._vpc.id

    @property
    def private_subnet_ids(self) -> list[str]:
        return self._tiers["private"].ids

    @property
    def isolated_subnet_ids(self) -> list[str]:
        return self._tiers["isolated"].ids

    def security_group(self, party: str) -> str:
        """Id of the party's group; KeyError for one that the flow table does not know."""
        return self._groups[party].id

    def _make_tiers(self) -> dict[Tier, Subnets]:
        order: tuple[Tier, ...] = ("public", "private", "isolated")
        return {
            tier: Subnets(
                self, tier, environment=self._environment, vpc=self._vpc, layout=self._layout, tier=tier
            )
            for tier in order
        }

    def _make_roads(self, transit_gateway_id: str) -> None:
        environment, vpc, private = self._environment, self._vpc, self._tiers["private"]
        if environment.settings.network.egress != "endpoints":
            WayOut(
                self,
                "egress",
                environment=environment,
                vpc=vpc,
                public=self._tiers["public"],
                private=private,
            )
        if transit_gateway_id:
            Transit(
                self,
                "transit",
                environment=environment,
                vpc=vpc,
                private=private,
                transit_gateway_id=transit_gateway_id,
            )

    def _make_walls(self) -> SecurityGroups:
        environment, vpc, private = self._environment, self._vpc, self._tiers["private"]
        flows = flows_of(environment.settings.network.egress)
        gateways = GatewayEndPoints(
            self, "gateway-end-points", environment=environment, vpc=vpc, private=private
        )
        groups = SecurityGroups(
            self,
            "security-groups",
            environment=environment,
            vpc=vpc,
            flows=flows,
            prefix_lists=gateways.prefix_lists,
        )
        NetworkAcls(
            self,
            "network-acls",
            environment=environment,
            vpc=vpc,
            tiers=self._tiers,
            layout=self._layout,
            flows=flows,
        )
        if environment.settings.network.egress != "nat":
            InterfaceEndPoints(
                self,
                "end-points",
                environment=environment,
                vpc=vpc,
                private=private,
                group=groups[ENDPOINTS],
            )
        return groups
