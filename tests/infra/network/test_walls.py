"""Both walls, rule by rule: what the flow table says is in the JSON, and nothing beside it.

The packet walker proves that what passes is what should; two walls that stand behind each other hide a hole in one
of them, and a port between two that it tries hides in both. Here each is compared whole.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from millrace_infra.network.addresses import Layout
from millrace_infra.network.flows import PARTIES, Flow, Tier, flows_of, parties_of
from millrace_infra.settings import Environment
from tests.infra.network.test_network import environment_of
from tests.infra.program import Program, Resource

INGRESS = "aws_vpc_security_group_ingress_rule"
EGRESS = "aws_vpc_security_group_egress_rule"
ANYWHERE = "0.0.0.0/0"
Entry = tuple[Tier, str, str, tuple[int, int]]
"""Of a network ACL: the tier, `ingress` or `egress`, whose addresses, which ports."""
Rule = tuple[str, str, str, int, str]
"""Of a security group: the party, the kind of rule, the other side, the port, why."""


def flows_in(environment: Environment) -> tuple[Flow, ...]:
    return flows_of(environment.settings.network.egress)


def addresses(place: str, environment: Environment) -> tuple[str, ...]:
    """What a list calls a place: it knows blocks of addresses and no groups."""
    if place in PARTIES:
        return (Layout(environment.settings.network.cidr).tier(PARTIES[place]),)
    return tuple(environment.settings.network.allowed_networks) if place == "people" else (ANYWHERE,)


def entries_needed(flow: Flow, environment: Environment) -> Iterator[Entry]:
    """There and back, at each edge that a packet of that row passes."""
    there, back = (flow.port, flow.port), flow.return_ports
    sources, targets = (addresses(place, environment) for place in (flow.source, flow.target))
    leaves = [PARTIES[flow.source]] if flow.source in PARTIES else []
    enters = [PARTIES[flow.target]] if flow.target in PARTIES else []
    if flow.target == "internet":  # in at the NAT gateway's subnet, and out of it
        leaves, enters = [*leaves, "public"], ["public"]
    for tier in leaves:
        for cidr in targets:
            yield from ((tier, "egress", cidr, there), (tier, "ingress", cidr, back))
    for tier in enters:
        for cidr in sources:
            yield from ((tier, "ingress", cidr, there), (tier, "egress", cidr, back))


def entries_of(program: Program) -> Iterator[Entry]:
    for acl in program.of("aws_network_acl"):
        for direction in ("ingress", "egress"):
            for entry in acl[direction]:
                assert (entry["action"], entry["protocol"]) == ("allow", "tcp"), acl.path
                yield (
                    tier_of(program, acl),
                    direction,
                    entry["cidr_block"],
                    (entry["from_port"], entry["to_port"]),
                )


def tier_of(program: Program, acl: Resource) -> Tier:
    """Of the subnets that it stands before, which it has all; its own name and tag say nothing."""
    subnets = [program.follow(id_) for id_ in acl["subnet_ids"]]
    (tier,) = {one["tags"]["tier"] for one in subnets if one}
    assert sorted(one.id for one in subnets if one) == sorted(
        one.id for one in program.of("aws_subnet") if one["tags"]["tier"] == tier
    ), acl.path
    return tier  # type: ignore[no-any-return]


@pytest.mark.requirement("S-14")
def test_a_network_acl_has_the_entries_that_the_table_needs_and_no_other(platform: Program) -> None:
    environment = environment_of(platform)
    wanted = {entry for flow in flows_in(environment) for entry in entries_needed(flow, environment)}
    found = list(entries_of(platform))
    assert set(found) == wanted
    assert len(found) == len(wanted), "an entry twice is one less for the quota"


@pytest.mark.requirement("S-14")
def test_entries_have_numbers_of_their_own_with_room_between_them(platform: Program) -> None:
    """In the order of the list: one that keeps its number stays in force while the list is changed."""
    for acl in platform.of("aws_network_acl"):
        assert acl["tags"]["tier"] == tier_of(platform, acl)
        for direction in ("ingress", "egress"):
            numbers = [entry["rule_no"] for entry in acl[direction]]
            assert numbers == list(range(100, 100 + 10 * len(numbers), 10)), acl.path


@pytest.mark.requirement("S-14")
def test_a_security_group_has_the_rules_that_the_table_names_and_no_other(platform: Program) -> None:
    environment = environment_of(platform)
    wanted = {rule for flow in flows_in(environment) for rule in rules_needed(flow, environment)}
    found = [rule_of(platform, one) for one in platform.of(INGRESS, EGRESS)]
    assert set(found) == wanted
    assert len(found) == len(wanted), "AWS refuses a rule that is there already"


def rules_needed(flow: Flow, environment: Environment) -> Iterator[Rule]:
    """On each side that has a group: a group is named by its party, what is outside by its addresses."""
    groups = parties_of(environment.settings.network.egress)
    ends = ((flow.source, EGRESS, flow.target), (flow.target, INGRESS, flow.source))
    for party, kind, peer in ends:
        if party in groups:
            named = peer in groups or peer in ("s3", "dynamodb")
            for other in (peer,) if named else addresses(peer, environment):
                yield party, kind, other, flow.port, flow.reason


def rule_of(program: Program, rule: Resource) -> Rule:
    """A rule is for one port, by TCP, and for one other side."""
    group = program.follow(rule["security_group_id"])
    assert group is not None
    assert (rule["ip_protocol"], rule["from_port"]) == ("tcp", rule["to_port"]), rule.path
    return (
        group.path.rpartition("/")[2],
        rule.type,
        peer_of(program, rule),
        rule["to_port"],
        rule["description"],
    )


def peer_of(program: Program, rule: Resource) -> str:
    (key,) = {"referenced_security_group_id", "prefix_list_id", "cidr_ipv4", "cidr_ipv6"} & set(rule.body)
    if key.startswith("cidr"):
        return str(rule[key])
    peer = program.follow(rule[key])
    assert peer is not None, rule.path
    if key == "prefix_list_id":
        return str(peer["service_name"]).rpartition(".")[2]
    return peer.path.rpartition("/")[2]


@pytest.mark.requirement("S-04")
@pytest.mark.requirement("S-14")
def test_groups_that_name_each_other_are_emptied_before_they_go(platform: Program) -> None:
    """AWS deletes no group that another one's rule names."""
    for group in platform.of("aws_security_group"):
        assert group["revoke_rules_on_delete"] is True, group.path
        assert group["description"].startswith(group.path.rpartition("/")[2]), group.path
