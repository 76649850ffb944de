"""Each flow of the table passes, and nothing else does."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from millrace_infra.network.flows import FLOWS, Flow, flows_of, parties_of
from millrace_infra.settings import load
from tests.infra.conftest import ENVIRONMENTS, FOLDER, SUFFIX
from tests.infra.network.conftest import NetworkAlone
from tests.infra.network.packet_walker import OUTSIDE, PacketWalker
from tests.infra.program import Program

PEOPLE = ("10.0.7.7",)
STRANGER = "172.20.1.1"
TRANSIT = "tgw-0123456789abcdef0"
PORTS = sorted({flow.port for flow in FLOWS} | {22, 53, 80, 123, 1024, 3389, 8080, 9443, 40000, 65535})


def egress_of(name: str) -> Any:
    return load(name, SUFFIX, folder=FOLDER).settings.network.egress


def walker_of(program: Program, egress: Any, people: tuple[str, ...] = PEOPLE) -> PacketWalker:
    return PacketWalker(program, parties_of(egress), people)


def expected(flows: tuple[Flow, ...], *, transit: bool) -> set[tuple[str, str, int]]:
    """What the table says. The internet is 0.0.0.0/0, so who may go there may go to every place outside."""
    found = set()
    for flow in flows:
        if flow.source == "people" and not transit:
            continue
        found.add((flow.source, flow.target, flow.port))
        if flow.target == "internet":
            found |= {(flow.source, place, flow.port) for place in (*OUTSIDE, "people")}
    return found


def disagreements(walker: PacketWalker, wanted: set[tuple[str, str, int]]) -> Iterator[str]:
    """Packets that should pass and do not, or the reverse, over every pair of zones and every port."""
    for source in walker.hosts:
        for target in walker.hosts:
            if source == target or source.place is target.place is None:
                continue
            for port in PORTS:
                obstacle = walker.obstacle(source, target, port)
                passes = obstacle == ""
                if passes != ((source.name, target.name, port) in wanted):
                    yield f"{source.name} -> {target.name}:{port} {'passes' if passes else obstacle}"


@pytest.mark.requirement("S-14")
def test_each_flow_of_the_table_passes_and_no_other(platform: Program) -> None:
    name = environment_name(platform)
    walker = walker_of(platform, egress_of(name))
    transit = bool(load(name, SUFFIX, folder=FOLDER).settings.network.transit_gateway_id)
    assert list(disagreements(walker, expected(flows_of(egress_of(name)), transit=transit))) == []


@pytest.mark.requirement("S-14")
@pytest.mark.parametrize("egress", ["nat_per_zone", "nat", "endpoints"])
def test_people_reach_the_load_balancer_and_nothing_else(network_alone: NetworkAlone, egress: str) -> None:
    program = network_alone("us-east-1", TRANSIT, egress)
    walker = walker_of(program, egress)
    assert list(disagreements(walker, expected(flows_of(egress), transit=True))) == []  # type: ignore[arg-type]
    stranger = walker_of(program, egress, people=(STRANGER,))
    reached = [
        f"{target.name}:{port}"
        for target in stranger.hosts
        for source in stranger.hosts
        if source.name == "people" and target.place
        for port in PORTS
        if not stranger.obstacle(source, target, port)
    ]
    assert reached == []


@pytest.mark.requirement("S-14")
@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_the_network_acls_alone_keep_everybody_from_data_but_on_its_ports(
    network_alone: NetworkAlone, name: str
) -> None:
    walker = walker_of(network_alone(name, TRANSIT), egress_of(name))
    passed = {
        (source.place.tier if source.place else source.name, port)
        for target in walker.hosts
        if target.place and target.place.tier == "isolated"
        for source in walker.hosts
        if source.place is not target.place
        for port in PORTS
        if walker.lists_allow(source, target, port)
    }
    assert passed == {("private", 2049), ("private", 5432), ("private", 6379)}


@pytest.mark.requirement("S-14")
def test_data_has_no_way_out(platform: Program) -> None:
    walker = walker_of(platform, egress_of(environment_name(platform)))
    isolated = [place for place in walker.places if place.tier == "isolated"]
    assert isolated
    assert [(place.routes, place.gateways) for place in isolated] == [({}, frozenset())] * len(isolated)


def environment_name(program: Program) -> str:
    return str(program.json["provider"]["aws"][0]["default_tags"][0]["tags"]["environment"])


Mutation = Callable[[dict[str, Any]], None]


def rule(content: dict[str, Any], kind: str, path: str) -> dict[str, Any]:
    """The one resource of that kind at that path."""
    (found,) = (
        body
        for body in content["resource"][kind].values()
        if body["//"]["metadata"]["path"].endswith(f"/{path}")
    )
    return found  # type: ignore[no-any-return]


def no_reply_from_the_database(content: dict[str, Any]) -> None:
    acl = rule(content, "aws_network_acl", "network-acls/isolated")
    acl["egress"] = [block for block in acl["egress"] if block["to_port"] != 65535]


def replies_only_to_linux(content: dict[str, Any]) -> None:
    acl = rule(content, "aws_network_acl", "network-acls/public")
    for block in acl["ingress"]:
        block["from_port"] = (
            max(block["from_port"], 32768) if block["to_port"] == 65535 else block["from_port"]
        )


def group_open_to_the_vpc(content: dict[str, Any]) -> None:
    path = "security-groups/aurora-from-api-5432"
    opened = rule(content, "aws_vpc_security_group_ingress_rule", path)
    del opened["referenced_security_group_id"]
    opened["cidr_ipv4"] = "10.0.0.0/8"
    out = rule(content, "aws_vpc_security_group_egress_rule", "security-groups/dashboard-to-alb-443")
    out |= {"ip_protocol": "-1", "cidr_ipv4": "0.0.0.0/0"}
    del out["referenced_security_group_id"]


def one_rule_less(content: dict[str, Any]) -> None:
    rules = content["resource"]["aws_vpc_security_group_egress_rule"]
    gone = [id_ for id_, body in rules.items() if "worker-to-redis" in body["//"]["metadata"]["path"]]
    del rules[gone[0]]


def a_port_range(content: dict[str, Any]) -> None:
    for kind, path in (
        ("aws_vpc_security_group_ingress_rule", "security-groups/api-from-alb-8443"),
        ("aws_vpc_security_group_egress_rule", "security-groups/alb-to-api-8443"),
    ):
        rule(content, kind, path)["from_port"] = 1024


def a_denial_first(content: dict[str, Any]) -> None:
    acl = rule(content, "aws_network_acl", "network-acls/private")
    denial = {"rule_no": 50, "action": "deny", "protocol": "-1", "from_port": 0, "to_port": 65535}
    acl["ingress"] = [*acl["ingress"], denial | {"cidr_block": "10.0.0.0/8"}]


def one_zone_without_nat(content: dict[str, Any]) -> None:
    routes = content["resource"]["aws_route"]
    gone = [id_ for id_, body in routes.items() if "nat_gateway_id" in body]
    del routes[gone[-1]]


def gateway_end_point_without_its_routes(content: dict[str, Any]) -> None:
    """S3 would be reached through the NAT gateway, where the NACL of the public tier lets it: by nobody's
    intent, and at a price. The walker sees it where there is no NAT gateway."""
    for body in content["resource"]["aws_vpc_endpoint"].values():
        body.pop("route_table_ids", None)
    one_zone_without_nat(content)


@pytest.mark.parametrize(
    ("mutate", "seen"),
    [
        (no_reply_from_the_database, "worker -> aurora:5432 network ACL"),
        (replies_only_to_linux, "dashboard -> internet:443 network ACL"),
        (group_open_to_the_vpc, "dashboard -> aurora:5432 passes"),
        (one_rule_less, "worker -> redis:6379 security group"),
        (a_port_range, "alb -> api:3389 passes"),
        (a_denial_first, "nlb -> alb:443 network ACL"),
        (one_zone_without_nat, "rotation -> internet:443 no route"),
        (gateway_end_point_without_its_routes, "worker -> s3:443 no route"),
    ],
)
def test_a_hole_or_a_wall_made_on_purpose_is_seen(
    network_alone: NetworkAlone, mutate: Mutation, seen: str
) -> None:
    whole = network_alone("us-east-1")
    content = json.loads(whole.text)
    mutate(content)
    walker = walker_of(Program("network", json.dumps(content)), "nat_per_zone")
    found = list(disagreements(walker, expected(flows_of("nat_per_zone"), transit=False)))
    assert [one for one in found if one.startswith(seen)], found[:5]
