"""Walks a TCP packet through the synthesized network, and its reply back: what stops it, if anything does.

It knows AWS's rules and reads only the JSON: security groups remember connections, network ACLs do not and see
nothing inside one subnet, gateway end points take their prefix list out of the default route, a NAT gateway
is passed in its own subnet, and what has no public address is not reached from the internet.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache

from tests.infra.program import Program, Resource

REPLY_PORTS = (1024, 40000, 65535)
"""Where a client may listen for its reply."""
OUTSIDE = {"internet": "203.0.113.9", "s3": "52.216.1.1", "dynamodb": "52.94.1.1"}
"""An address of each place outside the VPC."""

Address = ipaddress.IPv4Address


@cache
def network(cidr: str) -> ipaddress.IPv4Network:
    return ipaddress.IPv4Network(cidr)


@dataclass(frozen=True)
class AclRule:
    number: int
    allow: bool
    protocol: str
    cidr: str
    ports: range

    def matches(self, address: Address, port: int) -> bool:
        return self.protocol in ("tcp", "6", "-1") and port in self.ports and address in network(self.cidr)


@dataclass(frozen=True)
class Place:
    """A subnet: its lists, its routes (cidr -> the thing routed to), its gateway end points."""

    name: str
    tier: str
    cidr: str
    acl: Mapping[str, tuple[AclRule, ...]] = field(hash=False)
    routes: Mapping[str, Resource] = field(hash=False)
    gateways: frozenset[str] = frozenset()

    def allows(self, direction: str, address: Address, port: int) -> bool:
        return next((rule.allow for rule in self.acl[direction] if rule.matches(address, port)), False)

    def route(self, host: Host) -> str:
        """Type of what takes a packet on to that host outside; empty if nothing does."""
        if host.name in self.gateways:
            return "gateway"
        found = self._longest(host.address)
        return found.type if found else ""

    def nat(self, host: Host) -> Resource | None:
        found = self._longest(host.address)
        return found if found and found.type == "aws_nat_gateway" else None

    def _longest(self, address: Address) -> Resource | None:
        fitting = [cidr for cidr in self.routes if address in network(cidr)]
        return self.routes[max(fitting, key=lambda cidr: network(cidr).prefixlen)] if fitting else None


@dataclass(frozen=True)
class Host:
    """A party in a subnet, or a place outside (`place` is None)."""

    name: str
    address: Address
    place: Place | None = None
    group: str = ""


@dataclass(frozen=True)
class GroupRule:
    group: str
    outward: bool
    ports: range
    peer_group: str
    cidr: str
    prefix_list: str

    def matches(self, peer: Host, port: int) -> bool:
        if port not in self.ports:
            return False
        if self.cidr:
            return peer.address in network(self.cidr)
        return peer.group == self.peer_group if self.peer_group else peer.name == self.prefix_list


class PacketWalker:
    """`tiers`: party -> tier. `people`: addresses of people in networks of theirs."""

    def __init__(self, program: Program, tiers: Mapping[str, str], people: Iterable[str] = ()) -> None:
        self._program = program
        self.places = [self._place(subnet) for subnet in program.of("aws_subnet")]
        self._rules = self._group_rules()
        self._transit = bool(program.of("aws_ec2_transit_gateway_vpc_attachment"))
        self.hosts = [
            Host(party, network(place.cidr)[10 + index], place, self._group(party))
            for index, (party, tier) in enumerate(tiers.items())
            for place in self.places
            if place.tier == tier
        ]
        self.hosts += [Host(name, Address(address)) for name, address in OUTSIDE.items()]
        self.hosts += [Host("people", Address(address)) for address in people]

    def obstacle(self, source: Host, target: Host, port: int) -> str:
        """The first thing that stops the packet or its reply; empty if both arrive."""
        return next(self._obstacles(source, target, port), "")

    def lists_allow(self, source: Host, target: Host, port: int) -> bool:
        """Whether it would arrive if every security group were open."""
        return next(self._on_the_way(source, target, port), "") == ""

    def _obstacles(self, source: Host, target: Host, port: int) -> Iterator[str]:
        if source.place and not self._group_allows(source, target, port, outward=True):
            yield f"security group of {source.name}: {port} not out to {target.name}"
        if target.place and not self._group_allows(target, source, port, outward=False):
            yield f"security group of {target.name}: {port} not in from {source.name}"
        yield from self._on_the_way(source, target, port)

    def _on_the_way(self, source: Host, target: Host, port: int) -> Iterator[str]:
        if source.place is target.place:
            if source.place is None:
                yield "both outside"
            return
        if source.place is None:
            yield from self._arrive(source)
        elif target.place is None:
            yield from self._leave(source, source.place, target, port)
        if source.place:
            yield from _edge(source.place, target.address, opens=port)
        if target.place:
            yield from _edge(target.place, source.address, answers=port)
            if source.place is None and target.place.route(source) != "transit":
                yield f"no route back to {source.name}"

    def _arrive(self, source: Host) -> Iterator[str]:
        if source.name != "people":
            yield "no public address"
        elif not self._transit:
            yield "nothing brings people"

    def _leave(self, source: Host, place: Place, target: Host, port: int) -> Iterator[str]:
        if place.route(target) == "":
            yield f"no route from {place.name} to {target.name}"
        nat = None if place.route(target) == "gateway" else place.nat(target)
        if nat is None:
            return
        stands = next(one for one in self.places if one.name == self._follow(nat["subnet_id"]).id)
        yield from _edge(stands, source.address, answers=port)
        yield from _edge(stands, target.address, opens=port)
        if stands.route(target) != "aws_internet_gateway":
            yield f"no internet gateway behind {stands.name}"

    def _group_allows(self, host: Host, peer: Host, port: int, *, outward: bool) -> bool:
        rules = self._rules.get((host.group, outward), ())
        return any(rule.matches(peer, port) for rule in rules)

    # --- reading the JSON

    def _follow(self, value: str) -> Resource:
        found = self._program.follow(value)
        assert found is not None, value
        return found

    def _group(self, party: str) -> str:
        return self._program.at(f"security-groups/{party}").id

    def _place(self, subnet: Resource) -> Place:
        mine = "${" + subnet.address + ".id}"
        lists = [acl for acl in self._program.of("aws_network_acl") if mine in acl["subnet_ids"]]
        (uses,) = (one for one in self._program.of("aws_route_table_association") if one["subnet_id"] == mine)
        assert len(lists) == 1, f"{subnet.path}: {len(lists)} network ACLs"
        table = uses["route_table_id"]
        return Place(
            name=subnet.id,
            tier=subnet["tags"]["tier"],
            cidr=subnet["cidr_block"],
            acl={
                "in": _acl_rules(lists[0].get("ingress", [])),
                "out": _acl_rules(lists[0].get("egress", [])),
            },
            routes={
                route["destination_cidr_block"]: self._routed_to(route)
                for route in self._program.of("aws_route")
                if route["route_table_id"] == table
            },
            gateways=frozenset(
                end_point["service_name"].rpartition(".")[2]
                for end_point in self._program.of("aws_vpc_endpoint")
                if table in end_point.get("route_table_ids", [])
            ),
        )

    def _routed_to(self, route: Resource) -> Resource:
        if "transit_gateway_id" in route.body:
            return Resource("transit", route["transit_gateway_id"], {})
        return self._follow(route.get("nat_gateway_id") or route["gateway_id"])

    def _group_rules(self) -> dict[tuple[str, bool], list[GroupRule]]:
        found: dict[tuple[str, bool], list[GroupRule]] = {}
        for group in self._program.of("aws_security_group"):
            assert group.body.keys().isdisjoint({"ingress", "egress"}), f"inline rules: {group.path}"
        kinds = ("aws_vpc_security_group_ingress_rule", "aws_vpc_security_group_egress_rule")
        for rule in self._program.of(*kinds):
            group_id = self._follow(rule["security_group_id"]).id
            outward = rule.type == kinds[1]
            found.setdefault((group_id, outward), []).append(self._group_rule(group_id, outward, rule))
        return found

    def _group_rule(self, group_id: str, outward: bool, rule: Resource) -> GroupRule:
        peer, prefix_list = rule.get("referenced_security_group_id"), rule.get("prefix_list_id")
        every = rule["ip_protocol"] == "-1"
        return GroupRule(
            group=group_id,
            outward=outward,
            ports=range(65536) if every else range(rule["from_port"], rule["to_port"] + 1),
            peer_group=self._follow(peer).id if peer else "",
            cidr=rule.get("cidr_ipv4", ""),
            prefix_list=self._follow(prefix_list)["service_name"].rpartition(".")[2] if prefix_list else "",
        )


def _edge(place: Place, peer: Address, *, opens: int = 0, answers: int = 0) -> Iterator[str]:
    """The list of a subnet, for a connection that it opens to, or answers from, that address."""
    first, back = ("out", "in") if opens else ("in", "out")
    port = opens or answers
    if not place.allows(first, peer, port):
        yield f"network ACL of {place.name}: {port} not {first}, {peer}"
    for reply in REPLY_PORTS:
        if not place.allows(back, peer, reply):
            yield f"network ACL of {place.name}: reply {reply} not {back}, {peer}"


def _acl_rules(blocks: Iterable[Mapping[str, object]]) -> tuple[AclRule, ...]:
    rules = [
        AclRule(
            int(str(block["rule_no"])),
            block["action"] == "allow",
            str(block["protocol"]),
            str(block["cidr_block"]),
            range(int(str(block["from_port"])), int(str(block["to_port"])) + 1),
        )
        for block in blocks
    ]
    return tuple(sorted(rules, key=lambda rule: rule.number))
