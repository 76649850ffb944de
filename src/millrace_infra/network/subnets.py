"""A tier's subnets, one in each zone, with their route tables."""

from __future__ import annotations

from millrace_infra.network.addresses import Layout
from millrace_infra.network.flows import Tier
from millrace_infra.settings import Environment
from millrace_infra.terraform import Construct, RouteTable, RouteTableAssociation, Subnet, Vpc


class Subnets(Construct):
    """The tier in every zone. Nothing gets a public address by itself: NAT gateways bring their own.

    Each subnet has its own route table; routes are resources of their own, so that a network team may add
    one (a peering, a transit gateway) which the next apply leaves alone.
    """

    def __init__(
        self, scope: Construct, id: str, *, environment: Environment, vpc: Vpc, layout: Layout, tier: Tier
    ) -> None:
        super().__init__(scope, id)
        self.subnets: dict[str, Subnet] = {}
        self.route_tables: dict[str, RouteTable] = {}
        for index, zone_id in enumerate(environment.settings.zone_ids):
            tags = {"Name": environment.names.of(f"{tier}-{zone_id}"), "tier": tier}
            subnet = Subnet(
                self,
                f"subnet-{zone_id}",
                vpc_id=vpc.id,
                availability_zone_id=zone_id,
                cidr_block=layout.subnet(tier, index),
                map_public_ip_on_launch=False,
                tags=tags,
            )
            table = RouteTable(self, f"routes-{zone_id}", vpc_id=vpc.id, tags=tags)
            RouteTableAssociation(self, f"uses-{zone_id}", subnet_id=subnet.id, route_table_id=table.id)
            self.subnets[zone_id] = subnet
            self.route_tables[zone_id] = table

    @property
    def ids(self) -> list[str]:
        return [subnet.id for subnet in self.subnets.values()]

    @property
    def route_table_ids(self) -> list[str]:
        return [table.id for table in self.route_tables.values()]
