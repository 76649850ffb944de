"""Who may do what: statements, the documents they make, and roles that collect them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from millrace.errors import SettingError
from millrace_infra.naming import Names
from millrace_infra.terraform import Construct, IamRole, IamRolePolicy

Condition = Mapping[str, Mapping[str, str | Sequence[str]]]


@dataclass(frozen=True)
class Statement:
    """One statement of an IAM policy.

    `reason` says why AWS forces the resource `*`, and must be there when it is used. `principals` is for
    resource policies only: {"Service": [...]} or {"AWS": [...]}.
    """

    actions: Sequence[str]
    resources: Sequence[str]
    condition: Condition = field(default_factory=dict)
    effect: str = "Allow"
    principals: Mapping[str, str | Sequence[str]] | str = ""
    reason: str = ""

    def __post_init__(self) -> None:
        if "*" in self.resources and not (self.reason or self.principals):
            raise SettingError(
                "resources", got="*", want=f"the resources of {', '.join(self.actions)}, or a reason"
            )
        if "*" in self.actions and self.effect == "Allow":
            raise SettingError("actions", got="*", want="the actions that the program calls")

    def as_json(self) -> dict[str, Any]:
        content: dict[str, Any] = {
            "Effect": self.effect,
            "Action": list(self.actions),
            "Resource": list(self.resources),
        }
        if self.principals:
            content["Principal"] = self.principals
        if self.condition:
            content["Condition"] = {test: dict(values) for test, values in self.condition.items()}
        return content


def document(*statements: Statement) -> str:
    """The policy's JSON, keys in a fixed order."""
    return json.dumps({"Version": "2012-10-17", "Statement": [one.as_json() for one in statements]})


def trust(service: str, *, account_id: str) -> str:
    """A trust policy for one AWS service, for resources of this account only (no confused deputy)."""
    statement = {
        "Effect": "Allow",
        "Action": "sts:AssumeRole",
        "Principal": {"Service": service},
        "Condition": {"StringEquals": {"aws:SourceAccount": account_id}},
    }
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


class Role(Construct):
    """A role of a suffix: `allow` gives it one inline policy per noun, the account's boundary limits them all."""

    def __init__(
        self, scope: Construct, id: str, *, names: Names, name: str, trust_policy: str, data_class: str = ""
    ) -> None:
        super().__init__(scope, id)
        self._resource = IamRole(
            self,
            "role",
            name=names.in_account(name),
            assume_role_policy=trust_policy,
            permissions_boundary=names.role_boundary_arn,
            tags={"Name": names.in_account(name)} | ({"data-class": data_class} if data_class else {}),
        )
        self.policies: list[IamRolePolicy] = []

    @property
    def arn(self) -> str:
        return self._resource.arn

    @property
    def id(self) -> str:
        return self._resource.id

    @property
    def name(self) -> str:
        return self._resource.name

    def allow(self, noun: str, *statements: Statement) -> None:
        """Grants of one noun, as a policy named for it."""
        self.policies.append(
            IamRolePolicy(
                self, f"may-{noun}", name=noun, role=self._resource.id, policy=document(*statements)
            )
        )
