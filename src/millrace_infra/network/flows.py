"""Who speaks to whom, on which port, and why: security groups and network ACLs are both made from `FLOWS`.

A reason becomes the description of a security group's rule, so it has AWS's letters only: no apostrophe.
New rows go to the end: entries of a network ACL are numbered in this order, and one that keeps its number is
not taken out and put in again under running traffic.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Literal

from millrace.names import SERVICE_API, SERVICE_DASHBOARD, SERVICE_WORKER

Tier = Literal["public", "private", "isolated"]
"""public: NAT gateways only. private: what computes. isolated: what holds data, without a way out."""
Egress = Literal["nat_per_zone", "nat", "endpoints"]

ALB_PORT: Final = 443
API_PORT: Final = 8443
DASHBOARD_PORT: Final = 8444
"""TLS in the task itself; above 1024 because the process is not root."""
AURORA_PORT: Final = 5432
REDIS_PORT: Final = 6379
NFS_PORT: Final = 2049
HTTPS_PORT: Final = 443

NLB: Final = "nlb"
ALB: Final = "alb"
MIGRATE: Final = "migrate"
ROTATION: Final = "rotation"
AURORA: Final = "aurora"
REDIS: Final = "redis"
EFS: Final = "efs"
ENDPOINTS: Final = "endpoints"
COMPUTE: Final = (SERVICE_WORKER, SERVICE_API, SERVICE_DASHBOARD, MIGRATE, ROTATION)

PARTIES: Final[dict[str, Tier]] = {
    NLB: "private",
    ALB: "private",
    SERVICE_API: "private",
    SERVICE_WORKER: "private",
    SERVICE_DASHBOARD: "private",
    MIGRATE: "private",
    ROTATION: "private",
    AURORA: "isolated",
    REDIS: "isolated",
    EFS: "isolated",
    ENDPOINTS: "private",
}
"""What has a security group, and the tier that it lives in."""

PEOPLE: Final = "people"
INTERNET: Final = "internet"
S3: Final = "s3"
DYNAMODB: Final = "dynamodb"
AWS: Final = "aws"
"""Outside the VPC. `people`: the allowed networks. `s3`, `dynamodb`: behind gateway end points.
`aws`: the other services' APIs, which the egress setting turns into `endpoints` or `internet`.
"""


EPHEMERAL: Final = (1024, 65535)
"""Where a client may be answered: NAT gateways, load balancers and Lambda take any of these."""


@dataclass(frozen=True)
class Flow:
    """`source` opens TCP connections to `port` of `target`, and is answered on one of its `return_ports`."""

    source: str
    target: str
    port: int
    return_ports: tuple[int, int]
    reason: str


FLOWS: Final = (
    Flow(NLB, ALB, ALB_PORT, EPHEMERAL, "Calls from API Gateway, and the health check of the ALB"),
    Flow(PEOPLE, ALB, ALB_PORT, EPHEMERAL, "The dashboard, for networks that are allowed"),
    Flow(ALB, SERVICE_API, API_PORT, EPHEMERAL, "Requests and health checks, TLS up to the task"),
    Flow(ALB, SERVICE_DASHBOARD, DASHBOARD_PORT, EPHEMERAL, "Requests and health checks, TLS up to the task"),
    Flow(SERVICE_DASHBOARD, INTERNET, HTTPS_PORT, EPHEMERAL, "OIDC: it asks the provider for its keys, and for tokens"),
    Flow(SERVICE_DASHBOARD, ALB, ALB_PORT, EPHEMERAL, "The dashboard is a client of the API"),
    Flow(SERVICE_API, AURORA, AURORA_PORT, EPHEMERAL, "Queries"),
    Flow(SERVICE_WORKER, AURORA, AURORA_PORT, EPHEMERAL, "Writes"),
    Flow(MIGRATE, AURORA, AURORA_PORT, EPHEMERAL, "Schema migrations"),
    Flow(ROTATION, AURORA, AURORA_PORT, EPHEMERAL, "Sets a password and tests it"),
    Flow(SERVICE_API, REDIS, REDIS_PORT, EPHEMERAL, "Reads live values"),
    Flow(SERVICE_WORKER, REDIS, REDIS_PORT, EPHEMERAL, "Writes live values"),
    Flow(SERVICE_API, EFS, NFS_PORT, EPHEMERAL, "The asset model, NFS in TLS"),
    Flow(SERVICE_WORKER, EFS, NFS_PORT, EPHEMERAL, "Detector snapshots, NFS in TLS"),
    *(Flow(party, AWS, HTTPS_PORT, EPHEMERAL, "APIs of AWS") for party in COMPUTE),
    Flow(SERVICE_WORKER, S3, HTTPS_PORT, EPHEMERAL, "The archive, and layers of its image"),
    Flow(SERVICE_API, S3, HTTPS_PORT, EPHEMERAL, "The archive, and layers of its image"),
    Flow(SERVICE_DASHBOARD, S3, HTTPS_PORT, EPHEMERAL, "Layers of its image"),
    Flow(MIGRATE, S3, HTTPS_PORT, EPHEMERAL, "Layers of its image"),
    Flow(SERVICE_WORKER, DYNAMODB, HTTPS_PORT, EPHEMERAL, "Leases of the shards"),
    # API keys are made there; PrivateLink carries calls of an API, not the making of one
    Flow(ROTATION, INTERNET, HTTPS_PORT, EPHEMERAL, "Control plane of API Gateway, which has no end point"),
)


def flows_of(egress: Egress) -> tuple[Flow, ...]:
    """The table as that egress lets it be: `aws` resolved, each (source, target, port) once.

    Interface end points alone reach no internet, so the rows to it fall away: nobody signs in to the dashboard, whose
    identity provider is out there, and what rotates API keys runs outside of the VPC (`rotation.py`).
    """
    aws = INTERNET if egress == "nat" else ENDPOINTS
    found: dict[tuple[str, str, int], Flow] = {}
    for flow in FLOWS:
        target = aws if flow.target == AWS else flow.target
        if target == INTERNET and egress == "endpoints":
            continue
        found.setdefault((flow.source, target, flow.port), replace(flow, target=target))
    return tuple(found.values())


def parties_of(egress: Egress) -> dict[str, Tier]:
    """Who has a security group under that egress: with one NAT gateway there are no interface end points."""
    return {party: tier for party, tier in PARTIES.items() if party != ENDPOINTS or egress != "nat"}
