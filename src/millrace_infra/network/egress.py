"""The way out: NAT gateways, and what they cost beside interface end points."""

from __future__ import annotations

from typing import Final

from millrace_infra.network.subnets import Subnets
from millrace_infra.settings import Environment
from millrace_infra.terraform import Construct, Eip, InternetGateway, NatGateway, Route, Vpc

ANYWHERE: Final = "0.0.0.0/0"

# List prices of eu-central-1, the dearer of the two regions, in USD; not a quote.
NAT_USD_PER_H: Final = 0.052
NAT_USD_PER_GB: Final = 0.052
ADDRESS_USD_PER_H: Final = 0.005
"""A NAT gateway's public IPv4 address."""
END_POINT_USD_PER_H: Final = 0.012
"""One interface end point in one zone."""
END_POINT_USD_PER_GB: Final = 0.01


def usd_per_h(*, nat_gateways: int, end_point_addresses: int, gb_per_h: float) -> float:
    """What carrying `gb_per_h` to AWS's APIs costs in an hour; through end points, where there are any.

    Every environment needs a NAT gateway for sign-in of people and rotation of API keys. In dev one of them
    is 0.057 (42 a month), and 10 end points in two zones would be 0.24 more (175 a month). They pay from
    5.7 GB/h on, 1.6 MB/s without a pause; dev declares a sixth of it. So dev has the NAT gateway and the two
    gateway end points, which cost nothing.
    """
    fixed = nat_gateways * (NAT_USD_PER_H + ADDRESS_USD_PER_H) + end_point_addresses * END_POINT_USD_PER_H
    return fixed + gb_per_h * (END_POINT_USD_PER_GB if end_point_addresses else NAT_USD_PER_GB)


class WayOut(Construct):
    """The internet gateway, and NAT gateways behind which the private subnets have their default route.

    One in each zone: the loss of a zone takes no other zone's way out. One for all: half the price.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        environment: Environment,
        vpc: Vpc,
        public: Subnets,
        private: Subnets,
    ) -> None:
        super().__init__(scope, id)
        names, zone_ids = environment.names, environment.settings.zone_ids
        gateway = InternetGateway(self, "internet", vpc_id=vpc.id, tags={"Name": names.of("internet")})
        self._out = [
            Route(
                self,
                f"public-{zone_id}",
                route_table_id=table.id,
                destination_cidr_block=ANYWHERE,
                gateway_id=gateway.id,
            )
            for zone_id, table in public.route_tables.items()
        ]
        per_zone = environment.settings.network.egress == "nat_per_zone"
        nats = {
            zone_id: self._nat(environment, zone_id, public)
            for zone_id in (zone_ids if per_zone else zone_ids[:1])
        }
        for zone_id, table in private.route_tables.items():
            Route(
                self,
                f"private-{zone_id}",
                route_table_id=table.id,
                destination_cidr_block=ANYWHERE,
                nat_gateway_id=nats.get(zone_id, nats[zone_ids[0]]).id,
            )

    def _nat(self, environment: Environment, zone_id: str, public: Subnets) -> NatGateway:
        tags = {"Name": environment.names.of(f"nat-{zone_id}")}
        address = Eip(self, f"address-{zone_id}", domain="vpc", tags=tags)
        return NatGateway(
            self,
            f"nat-{zone_id}",
            subnet_id=public.subnets[zone_id].id,
            allocation_id=address.allocation_id,
            tags=tags,
            depends_on=self._out,  # AWS refuses a NAT gateway in a VPC without an internet gateway
        )
