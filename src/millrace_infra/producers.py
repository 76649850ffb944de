"""Who may take the role that puts frames on the stream: roles of this account, certificates, or IoT devices.

A gateway with a certificate of the plant's own authority comes through IAM Roles Anywhere; a device that AWS IoT
knows comes through IoT's credential provider. Both get credentials for an hour and none to keep.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from millrace_infra.policy import Role
from millrace_infra.settings import Environment
from millrace_infra.terraform import Construct, IotRoleAlias, RolesanywhereProfile

CREDENTIALS_S: Final = 3600
"""The longest that a role hands out without a longer session of its own: one fetch an hour for each gateway."""


class Producers(Construct):
    """The role of those who put frames on the stream without our ingest, and the way to it."""

    def __init__(self, scope: Construct, id: str, *, environment: Environment) -> None:
        super().__init__(scope, id)
        trust = environment.settings.producers
        name = environment.names.of("producer", "role")
        self.role = Role(
            self, "role", names=environment.names, name="producer", trust_policy=_trust(environment, name)
        )
        self.profile_arn = self.role_alias = ""
        if trust.kind == "roles_anywhere":
            self.profile_arn = RolesanywhereProfile(
                self,
                "profile",
                name=name,
                enabled=True,
                role_arns=[self.role.arn],
                duration_seconds=CREDENTIALS_S,
                tags={"Name": name},
            ).arn
        elif trust.kind == "iot":
            self.role_alias = IotRoleAlias(
                self,
                "role-alias",
                alias=name,
                role_arn=self.role.arn,
                credential_duration=CREDENTIALS_S,
                tags={"Name": name},
            ).alias


def _trust(environment: Environment, alias: str) -> str:
    settings = environment.settings
    account, principals = settings.account_id, settings.producers.principals
    if settings.producers.kind == "roles_anywhere":
        return _assume(
            {"Service": "rolesanywhere.amazonaws.com"},
            {"ArnEquals": {"aws:SourceArn": principals[0]}},
            also=(
                "sts:TagSession",
                "sts:SetSourceIdentity",
            ),  # the certificate's subject ends in the audit trail
        )
    if settings.producers.kind == "iot":
        alias_arn = f"arn:aws:iot:{environment.region}:{account}:rolealias/{alias}"
        conditions = {
            "StringEquals": {"aws:SourceAccount": account},
            "ArnEquals": {"aws:SourceArn": alias_arn},
        }
        return _assume({"Service": "credentials.iot.amazonaws.com"}, conditions)
    # nobody named: whom the account's own policies allow to take this role
    return _assume({"AWS": list(principals) or [f"arn:aws:iam::{account}:root"]}, {})


def _assume(principal: Mapping[str, Any], condition: Mapping[str, Any], *, also: Sequence[str] = ()) -> str:
    statement: dict[str, Any] = {
        "Effect": "Allow",
        "Action": ["sts:AssumeRole", *also],
        "Principal": principal,
    }
    if condition:
        statement["Condition"] = condition
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})
