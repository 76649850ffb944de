"""Where an environment lives and whom it lets in: addresses, domain, recipients, secrets, state."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, Field, field_validator, model_validator

from millrace_infra.settings.domains import Domain, of_suffix
from millrace_infra.settings.section import Impossible, Section, each_once, shaped

VPC_PREFIX_MAX: Final = 20
"""Three tiers in three zones take nine subnets; a /20 gives each 251 addresses, and a task takes one."""
NEVER_A_VPC: Final = ("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3")
"""This host, itself, its link, groups of hosts: AWS makes no VPC there. Source: EC2 API reference, CreateVpc."""


def check_network(text: str) -> str:
    """The network as it was written, or Impossible with the reason."""
    try:
        ipaddress.IPv4Network(text)
    except ValueError as error:
        raise Impossible(text, f"an IPv4 network such as 10.40.0.0/20: {error}") from None
    if "/" not in text:
        raise Impossible(text, f"a network with its length, such as {text}/20")
    return text


Cidr = Annotated[str, AfterValidator(check_network)]
Arn = Annotated[str, shaped(r"arn:aws[a-z-]*:[a-z0-9-]+:[a-z0-9-]*:\d*:.+", "an ARN, arn:aws:…")]
Email = Annotated[str, shaped(r"[^@\s]+@[^@\s]+\.[^@\s]+", "an address of mail")]
Https = Annotated[
    str,
    shaped(r"https://[^\s/?#]+(/[^\s?#]*)?", "an address that begins with https:// and a host, without ? or #"),
]


class NetworkSettings(Section):
    cidr: Cidr
    """The VPC, /16 to /20; no network of yours that is to reach it."""
    egress: Literal["nat_per_zone", "nat", "endpoints"] = "nat_per_zone"
    """What carries calls to AWS: a NAT gateway in each zone, one for all, or interface end points alone, through which
    nobody signs in to the dashboard: its identity provider is out of reach."""
    allowed_networks: tuple[Cidr, ...] = ()
    """Networks (VPN, offices over a transit gateway) that may open the dashboard."""
    transit_gateway_id: Annotated[str, shaped(r"(tgw-[0-9a-f]{8,17})?", "tgw-… as AWS calls it, or nothing")] = ""
    """What carries those networks here; empty: nobody outside reaches the dashboard."""

    @field_validator("cidr")
    @classmethod
    def _large_enough(cls, cidr: str) -> str:
        network = ipaddress.ip_network(cidr)
        if not 16 <= network.prefixlen <= VPC_PREFIX_MAX:
            raise Impossible(cidr, f"a network of /16 to /{VPC_PREFIX_MAX}: nine subnets have to fit")
        if any(network.overlaps(ipaddress.ip_network(never)) for never in NEVER_A_VPC):
            raise Impossible(cidr, f"a network outside of {', '.join(NEVER_A_VPC)}, where AWS makes no VPC")
        return cidr

    @field_validator("allowed_networks")
    @classmethod
    def _networks(cls, networks: tuple[str, ...]) -> tuple[str, ...]:
        for network in networks:
            if ipaddress.ip_network(network).prefixlen == 0:
                raise Impossible(network, "networks that you know")
        return each_once(networks, "network")

    @model_validator(mode="after")
    def _apart(self) -> Self:
        inside = ipaddress.ip_network(self.cidr)
        for network in self.allowed_networks:
            if inside.overlaps(ipaddress.ip_network(network)):
                raise Impossible(
                    network,
                    f"networks outside of cidr, {self.cidr}: what is sent to an address in both stays in the VPC",
                    key="allowed_networks",
                )
        return self


class ProducerTrust(Section):
    """Who may take the role that puts frames on the stream."""

    kind: Literal["account", "roles_anywhere", "iot"] = "account"
    """`account`: roles of it; `roles_anywhere`: certificates of your authority; `iot`: devices that AWS IoT knows."""
    principals: tuple[Arn, ...] = ()
    """`account`: roles of this account, or nobody named: whom its own policies allow. `roles_anywhere`: the trust
    anchor. `iot`: none, its devices have policies of their own."""

    @model_validator(mode="after")
    def _named(self) -> Self:
        found = len(self.principals)
        if self.kind == "roles_anywhere" and found != 1:
            want = "for roles_anywhere exactly one: the trust anchor's ARN"
            raise Impossible(found, want, key="principals")
        if self.kind == "iot" and found:
            raise Impossible(found, "none for iot: which device may is its IoT policy's to say", key="principals")
        return self

    def check_place(self, region: str, account_id: str) -> None:
        """Impossible where one of them is not of this account, or the anchor not of this region."""
        wanted = {
            "account": rf"arn:aws:iam::{account_id}:role/[\w+=,.@/-]+",
            "roles_anywhere": rf"arn:aws:rolesanywhere:{region}:{account_id}:trust-anchor/.+",
        }
        for principal in self.principals:
            if not re.fullmatch(wanted[self.kind], principal):
                raise Impossible(principal, _PLACES[self.kind], key="producers.principals")


_PLACES: Final = {
    "account": "roles of this account, arn:aws:iam::<account_id>:role/…, each by its whole name: no other is let in",
    "roles_anywhere": "a trust anchor of this region and account, arn:aws:rolesanywhere:…:trust-anchor/…",
}


class OidcSettings(Section):
    """Sign-in of people to the dashboard (OpenID Connect): the dashboard finds the rest at the issuer."""

    issuer: Https
    """Your identity provider, as it calls itself: `/.well-known/openid-configuration` is below it."""
    client_id: Annotated[str, shaped(r"\S+", "the client's id at your identity provider, without spaces")]
    """Of the dashboard at your identity provider; the secret `dashboard_oidc` holds its other half."""


class EdgeSettings(Section):
    domain: Domain
    """Where integrators call the API, for example `api-{suffix}.millrace.example.com`."""
    certificate_arn: Arn
    """Issued certificate for `domain` and `internal_domain` of every suffix, in this region: a wildcard."""
    internal_domain: Domain
    """Name that the private load balancer answers to: the certificate's other name."""
    requests_per_s: Annotated[int, Field(ge=1, le=10_000)] = 500
    """Of all integrators together; what is over it is answered with 429."""
    burst: Annotated[int, Field(ge=1, le=5_000)] = 1_000
    """Requests that may come at once."""
    requests_per_day: Annotated[int, Field(ge=1)] = 5_000_000
    """The quota of a usage plan: each API key has it for itself."""
    oidc: OidcSettings

    def of(self, suffix: str) -> EdgeSettings:
        domains = {name: of_suffix(getattr(self, name), suffix) for name in ("domain", "internal_domain")}
        return self.model_copy(update=domains)


SECRET_NAME: Final = r"(\{suffix\}|[A-Za-z0-9/_+=.@-])+"
"""Source: Secrets Manager API reference, CreateSecret."""
SecretName = Annotated[
    str, shaped(SECRET_NAME, "a secret's name, no ARN: letters, digits and /_+=.@-, and {suffix} where the suffix goes")
]


class SecretNames(Section):
    """Names of secrets that exist; `{suffix}` is filled in. None is created, none is read into the state."""

    database_master: SecretName = "millrace/{suffix}/database-master"
    """`username` and `password` of the cluster's master."""
    database_user: SecretName = "millrace/{suffix}/database-user"
    """Who the services are in PostgreSQL; rotated."""
    api_signing: SecretName = "millrace/{suffix}/api-signing"
    """What the API signs with; rotated."""
    api_keys: SecretName = "millrace/{suffix}/api-keys"
    """What integrators show to the API; rotated."""
    dashboard_oidc: SecretName = "millrace/{suffix}/dashboard-oidc"
    """`client_secret` of the dashboard at your identity provider."""
    rotation_days: Annotated[int, Field(ge=1, le=1000)] = 30
    """How often each rotated secret changes."""

    def of(self, suffix: str) -> SecretNames:
        return self.model_copy(update={field: name.replace("{suffix}", suffix) for field, name in self.names.items()})

    @property
    def names(self) -> dict[str, str]:
        """Field -> name, of each."""
        return {field: value for field, value in self.model_dump().items() if isinstance(value, str)}


class StateSettings(Section):
    kind: Literal["local", "s3"] = "s3"
    """`local`: a file beside the program, for one person alone."""
    bucket: Annotated[
        str,
        shaped(r"([a-z0-9][a-z0-9-]{1,61}[a-z0-9])?", "a bucket's name: 3 to 63 small letters, digits and hyphens"),
    ] = ""
    """The name under which `make bootstrap` makes it, for this platform alone; empty: one of the account and region."""


class CiSettings(Section):
    """The hosted CI that may plan and deploy, by the tokens that it signs. No repository: nobody but people."""

    repository: Annotated[str, shaped(r"([A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+)?", "owner/name of a repository")] = ""
    """Whose jobs may take the roles; empty: no CI is let in."""
    issuer: Annotated[str, shaped(r"https://[a-z0-9./-]+", "https:// and a host in small letters")] = (
        "https://token.actions.githubusercontent.com"
    )
    """Who signs its tokens."""
    plan_environments: Annotated[tuple[str, ...], Field(min_length=1)] = ("plan",)
    """Environments of the CI whose jobs may plan."""
    deploy_environments: Annotated[tuple[str, ...], Field(min_length=1)] = ("deploy", "ephemeral", "roll-back")
    """Environments of the CI, not of ours: who approves a job there is set there."""

    @model_validator(mode="after")
    def _plans_or_deploys(self) -> Self:
        for both in set(self.plan_environments) & set(self.deploy_environments):
            want = "environments that are not in plan_environments: whose jobs may plan could deploy, too"
            raise Impossible(both, want, key="deploy_environments")
        return self
