"""The road of people to the dashboard: a transit gateway that exists, attached to the private subnets."""

from __future__ import annotations

from millrace_infra.network.subnets import Subnets
from millrace_infra.settings import Environment
from millrace_infra.terraform import Construct, Ec2TransitGatewayVpcAttachment, Route, Vpc


class Transit(Construct):
    """The attachment, and the way back to each allowed network. The gateway's own tables are its owner's."""

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        environment: Environment,
        vpc: Vpc,
        private: Subnets,
        transit_gateway_id: str,
    ) -> None:
        super().__init__(scope, id)
        attachment = Ec2TransitGatewayVpcAttachment(
            self,
            "attachment",
            transit_gateway_id=transit_gateway_id,
            vpc_id=vpc.id,
            subnet_ids=private.ids,
            tags={"Name": environment.names.of("people")},
        )
        for zone_id, table in private.route_tables.items():
            for index, network in enumerate(environment.settings.network.allowed_networks):
                Route(
                    self,
                    f"people-{index}-{zone_id}",
                    route_table_id=table.id,
                    destination_cidr_block=network,
                    transit_gateway_id=transit_gateway_id,
                    depends_on=[attachment],  # a route to a gateway that is not attached is refused
                )
