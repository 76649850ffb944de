"""How the VPC's addresses are cut: half for what computes, a quarter each for what holds data and for NAT.

A tier is one block, so that one entry of a network ACL names it whole. A tier's block has four parts, one for
each zone and one to spare: a /20 gives a compute subnet 507 addresses (a task takes one, AWS five) and the
others 251.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from functools import cached_property

from millrace_infra.network.flows import Tier


@dataclass(frozen=True)
class Layout:
    """The CIDR blocks of one VPC."""

    cidr: str

    @cached_property
    def _tiers(self) -> dict[Tier, ipaddress.IPv4Network]:
        private, rest = ipaddress.IPv4Network(self.cidr).subnets(1)
        public, isolated = rest.subnets(1)
        return {"private": private, "public": public, "isolated": isolated}

    def tier(self, tier: Tier) -> str:
        return str(self._tiers[tier])

    def subnet(self, tier: Tier, zone: int) -> str:
        """The block of the zone with that index."""
        return str(list(self._tiers[tier].subnets(2))[zone])
