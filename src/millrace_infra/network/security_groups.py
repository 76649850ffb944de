"""A security group for each party, with the rules that the flow table names and no other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from millrace_infra.network.egress import ANYWHERE
from millrace_infra.network.flows import INTERNET, PEOPLE, Flow, parties_of
from millrace_infra.settings import Environment
from millrace_infra.terraform import (
    Construct,
    SecurityGroup,
    Vpc,
    VpcSecurityGroupEgressRule,
    VpcSecurityGroupIngressRule,
)


@dataclass(frozen=True)
class Peer:
    """The other side of a rule: one of the three ways to name it is set."""

    name: str
    group: str | None = None
    cidr: str | None = None
    prefix_list: str | None = None


class SecurityGroups(Construct):
    """Groups name each other, never a tier's addresses: who joins a subnet has joined nothing.

    Rules are resources of their own, because two groups that name each other inline wait for each other.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        environment: Environment,
        vpc: Vpc,
        flows: Iterable[Flow],
        prefix_lists: Mapping[str, str],
    ) -> None:
        super().__init__(scope, id)
        self._environment = environment
        self._prefix_lists = prefix_lists
        self._groups = {
            party: self._group(party, vpc) for party in parties_of(environment.settings.network.egress)
        }
        for flow in flows:
            self._allow(flow)

    def __getitem__(self, party: str) -> SecurityGroup:
        return self._groups[party]

    def _group(self, party: str, vpc: Vpc) -> SecurityGroup:
        name = self._environment.names.of(party)
        return SecurityGroup(
            self,
            party,
            name=name,
            description=f"{party}: see the rules for who and why",
            vpc_id=vpc.id,
            # groups that name each other could not be deleted one after the other
            revoke_rules_on_delete=True,
            tags={"Name": name},
        )

    def _allow(self, flow: Flow) -> None:
        """The rule on each side that is ours."""
        if source := self._groups.get(flow.source):
            for peer in self._peers(flow.target):
                self._rule(VpcSecurityGroupEgressRule, "to", source, peer, flow)
        if target := self._groups.get(flow.target):
            for peer in self._peers(flow.source):
                self._rule(VpcSecurityGroupIngressRule, "from", target, peer, flow)

    def _peers(self, place: str) -> list[Peer]:
        if place == INTERNET:
            return [Peer(place, cidr=ANYWHERE)]
        if place == PEOPLE:
            networks = self._environment.settings.network.allowed_networks
            return [Peer(f"{place}-{index}", cidr=network) for index, network in enumerate(networks)]
        if place in self._prefix_lists:
            return [Peer(place, prefix_list=self._prefix_lists[place])]
        return [Peer(place, group=self._groups[place].id)]

    def _rule(
        self,
        kind: type[VpcSecurityGroupEgressRule] | type[VpcSecurityGroupIngressRule],
        direction: str,
        group: SecurityGroup,
        peer: Peer,
        flow: Flow,
    ) -> None:
        party = flow.source if direction == "to" else flow.target
        id_ = f"{party}-{direction}-{peer.name}-{flow.port}"
        kind(
            self,
            id_,
            security_group_id=group.id,
            ip_protocol="tcp",
            from_port=flow.port,
            to_port=flow.port,
            referenced_security_group_id=peer.group,
            cidr_ipv4=peer.cidr,
            prefix_list_id=peer.prefix_list,
            description=flow.reason,
            tags={"Name": self._environment.names.of(id_)},
        )
