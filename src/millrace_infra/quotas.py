"""What an environment takes of the account's quotas, as far as Service Quotas says how much there is.

What this suffix has already is counted on neither side: an upgrade wants nothing twice.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from millrace_infra.settings import Environment

Clients = Callable[[str], Any]
Names = Callable[[Clients], Iterable[str]]


@dataclass(frozen=True)
class Quota:
    """`code` as Service Quotas lists it. `there`: names of what counts against it, the suffix at the end of ours."""

    noun: str
    service: str
    code: str
    wanted: Callable[[Environment], int]
    there: Names


@dataclass(frozen=True)
class Room:
    """What a quota leaves, and what is wanted of it."""

    noun: str
    limit: float
    used: int
    wanted: int

    @property
    def free(self) -> int:
        return int(self.limit) - self.used


def _addresses(environment: Environment) -> int:
    """One for each NAT gateway."""
    return {"nat_per_zone": len(environment.settings.zone_ids), "nat": 1, "endpoints": 0}[
        environment.settings.network.egress
    ]


def _processors(environment: Environment) -> int:
    """All tasks that may run, twice: a deployment has both versions up."""
    settings = environment.settings
    sizes = (settings.worker, settings.api, settings.dashboard)
    return math.ceil(2 * sum(size.cpu / 1024 * size.count_max for size in sizes))


def _tagged(call: str, key: str) -> Names:
    def names(client: Clients) -> Iterator[str]:
        for one in getattr(client("ec2"), call)()[key]:
            tags = {tag["Key"]: tag["Value"] for tag in one.get("Tags", ())}
            yield tags.get("Name", "")

    return names


def _balancers(kind: str) -> Names:
    def names(client: Clients) -> Iterator[str]:
        for page in client("elbv2").get_paginator("describe_load_balancers").paginate():
            yield from (one["LoadBalancerName"] for one in page["LoadBalancers"] if one["Type"] == kind)

    return names


def _databases(call: str, key: str, name: str) -> Names:
    def names(client: Clients) -> Iterator[str]:
        for page in client("rds").get_paginator(call).paginate():
            yield from (one[name] for one in page[key])

    return names


def _nothing(_: Clients) -> Iterable[str]:
    """No call counts the processors of all that runs: what is compared is the whole quota."""
    return ()


QUOTAS: Final = (
    Quota("VPCs", "vpc", "L-F678F1CE", lambda _: 1, _tagged("describe_vpcs", "Vpcs")),
    Quota("Elastic IPs", "ec2", "L-0263D0A3", _addresses, _tagged("describe_addresses", "Addresses")),
    Quota("Fargate vCPUs", "fargate", "L-3032A538", _processors, _nothing),
    Quota("application load balancers", "elasticloadbalancing", "L-53DA6B97", lambda _: 1, _balancers("application")),
    Quota("network load balancers", "elasticloadbalancing", "L-69A177A2", lambda _: 1, _balancers("network")),
    Quota("Aurora clusters", "rds", "L-952B80B8", lambda _: 1,
          _databases("describe_db_clusters", "DBClusters", "DBClusterIdentifier")),
    Quota("database instances", "rds", "L-7B6409FD", lambda e: 1 + e.settings.database.readers,
          _databases("describe_db_instances", "DBInstances", "DBInstanceIdentifier")),
)  # fmt: skip
"""Those that a new account is short of, or that two suffixes in one region meet at."""


def room(quota: Quota, environment: Environment, client: Clients) -> Room:
    others = [name for name in quota.there(client) if not name.endswith(f"-{environment.suffix}")]
    return Room(quota.noun, _limit(quota, client("service-quotas")), len(others), quota.wanted(environment))


def _limit(quota: Quota, quotas: Any) -> float:
    """The account's own value; one that was never asked for has AWS's default alone."""
    asked = {"ServiceCode": quota.service, "QuotaCode": quota.code}
    try:
        return float(quotas.get_service_quota(**asked)["Quota"]["Value"])
    except quotas.exceptions.NoSuchResourceException:
        return float(quotas.get_aws_default_service_quota(**asked)["Quota"]["Value"])
