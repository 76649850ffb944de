"""A network ACL for each tier, from the same flow table: the second wall, should a security group be opened.

A network ACL knows addresses, not groups, and forgets connections: the way back needs its own entry. It also
cannot name a prefix list, so S3 and DynamoDB are `anywhere` on port 443. Inside one subnet it sees nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeVar

from millrace.errors import SettingError
from millrace_infra.network.addresses import Layout
from millrace_infra.network.egress import ANYWHERE
from millrace_infra.network.flows import INTERNET, PARTIES, PEOPLE, Flow, Tier
from millrace_infra.network.subnets import Subnets
from millrace_infra.settings import Environment
from millrace_infra.terraform import Construct, NetworkAcl, NetworkAclEgress, NetworkAclIngress, Vpc

Rule = TypeVar("Rule", NetworkAclIngress, NetworkAclEgress)

ENTRIES_MAX: Final = 20
"""Of one direction. Source: Amazon VPC quotas, rules per network ACL."""


@dataclass(frozen=True)
class Entry:
    """Allows TCP to the ports `ports`, in from or out to `cidr`, at the edge of a tier's subnets."""

    tier: Tier
    direction: Literal["in", "out"]
    cidr: str
    ports: tuple[int, int]


def entries(flows: Iterable[Flow], layout: Layout, allowed_networks: Iterable[str]) -> list[Entry]:
    """Each entry once, in the order of the table."""
    people = tuple(allowed_networks)

    def blocks(place: str) -> tuple[str, ...]:
        if place in PARTIES:
            return (layout.tier(PARTIES[place]),)
        return people if place == PEOPLE else (ANYWHERE,)

    found: dict[Entry, None] = {}
    for flow in flows:
        found |= dict.fromkeys(_crossings(flow, blocks(flow.source), blocks(flow.target)))
    return list(found)


def _crossings(flow: Flow, sources: Iterable[str], targets: Iterable[str]) -> Iterator[Entry]:
    source, target = PARTIES.get(flow.source), PARTIES.get(flow.target)
    if source:
        for cidr in targets:
            yield from _opens(source, cidr, flow)
    if target:
        for cidr in sources:
            yield from _answers(target, cidr, flow)
    if flow.target == INTERNET:  # through the NAT gateway, which stands in a public subnet
        for cidr in sources:
            yield from _answers("public", cidr, flow)
        yield from _opens("public", ANYWHERE, flow)


def _opens(tier: Tier, cidr: str, flow: Flow) -> tuple[Entry, Entry]:
    return Entry(tier, "out", cidr, (flow.port, flow.port)), Entry(tier, "in", cidr, flow.return_ports)


def _answers(tier: Tier, cidr: str, flow: Flow) -> tuple[Entry, Entry]:
    return Entry(tier, "in", cidr, (flow.port, flow.port)), Entry(tier, "out", cidr, flow.return_ports)


class NetworkAcls(Construct):
    """The three lists. What no entry allows is refused."""

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        environment: Environment,
        vpc: Vpc,
        tiers: Mapping[Tier, Subnets],
        layout: Layout,
        flows: Iterable[Flow],
    ) -> None:
        super().__init__(scope, id)
        every = entries(flows, layout, environment.settings.network.allowed_networks)
        for tier, subnets in tiers.items():
            inward = [entry for entry in every if (entry.tier, entry.direction) == (tier, "in")]
            outward = [entry for entry in every if (entry.tier, entry.direction) == (tier, "out")]
            _check_count(tier, max(len(inward), len(outward)))
            NetworkAcl(
                self,
                tier,
                vpc_id=vpc.id,
                subnet_ids=subnets.ids,
                ingress=[_rule(NetworkAclIngress, *numbered) for numbered in enumerate(inward)],
                egress=[_rule(NetworkAclEgress, *numbered) for numbered in enumerate(outward)],
                tags={"Name": environment.names.of(tier), "tier": tier},
            )


def _check_count(tier: Tier, count: int) -> None:
    if count > ENTRIES_MAX:
        raise SettingError(
            "network.allowed_networks",
            got=f"so many that the {tier} network ACL has {count} entries",
            want=f"{ENTRIES_MAX} in one direction at most (a quota of VPC): join neighbouring networks",
        )


def _rule(kind: type[Rule], index: int, entry: Entry) -> Rule:
    return kind(
        rule_no=100 + 10 * index,
        action="allow",
        protocol="tcp",
        cidr_block=entry.cidr,
        from_port=entry.ports[0],
        to_port=entry.ports[1],
    )
