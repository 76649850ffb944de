"""Rotates the API key of integrations. Keys are no Terraform resource: their values would be in the state.

A key carries the version of the secret in its name, so that each step finds what an earlier try made, and the
platform's tags, so that `destroy` removes it. The key before stays until the next rotation has ended: for a whole
rhythm, both are let in.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from typing import Any, Final

from millrace.names import ENV_SECRET_API_KEYS, ENV_SUFFIX, ENV_TAGS, ENV_USAGE_PLAN_ID, PROJECT
from millrace_rotation import pair, stages

NAME_BEGINS: Final = f"{PROJECT}-key-"


class ApiKeys:
    """The keys of one usage plan. `gateway` is a client of boto3's."""

    def __init__(self, gateway: Any, *, usage_plan_id: str, suffix: str, tags: Mapping[str, str]) -> None:
        self._gateway = gateway
        self._plan = usage_plan_id
        self._suffix = suffix
        self._tags = dict(tags)

    def next_value(self, current: str) -> str:
        return pair.next_pair(current)

    def put_in_force(self, pending: str, current: str, version: str) -> None:
        pair.check_follows(pending, current)
        key_id = self._id_of(version) or self._make(version, pair.current_of(pending))
        if not self._is_joined(key_id):
            self._gateway.create_usage_plan_key(usagePlanId=self._plan, keyId=key_id, keyType="API_KEY")

    def test(self, pending: str, current: str, version: str) -> None:
        key_id = self._id_of(version)
        if key_id is None:
            raise stages.RotationRefused("the new key is not there: setSecret comes first")
        key = self._gateway.get_api_key(apiKey=key_id, includeValue=True)
        if not key["enabled"] or key["value"] != pair.current_of(pending):
            raise stages.RotationRefused("the new key is off, or has another value than the secret")
        if not self._is_joined(key_id):
            raise stages.RotationRefused("the new key is in no usage plan: setSecret comes first")

    def tidy(self, kept: frozenset[str]) -> None:
        """Delete keys of ours whose version has no label any more: older than the previous one, or given up."""
        names = {self._name(version) for version in kept}
        for key in self._ours():
            if key["name"] not in names:
                self._gateway.delete_api_key(apiKey=key["id"])

    def _name(self, version: str) -> str:
        return f"{NAME_BEGINS}{version}-{self._suffix}"

    def _make(self, version: str, value: str) -> str:
        made = self._gateway.create_api_key(
            name=self._name(version),
            description="made by the rotation of its secret, and deleted by it",
            enabled=True,
            value=value,
            tags={**self._tags, "Name": self._name(version)},
        )
        return str(made["id"])

    def _id_of(self, version: str) -> str | None:
        return next((str(key["id"]) for key in self._ours() if key["name"] == self._name(version)), None)

    def _ours(self) -> Iterator[dict[str, Any]]:
        """Keys with our name and our tags; what people made is left alone."""
        for page in self._gateway.get_paginator("get_api_keys").paginate(nameQuery=NAME_BEGINS):
            for key in page["items"]:
                found = key.get("tags") or {}
                named = key["name"].startswith(NAME_BEGINS) and key["name"].endswith(f"-{self._suffix}")
                if named and all(found.get(name) == value for name, value in self._tags.items()):
                    yield key

    def _is_joined(self, key_id: str) -> bool:
        try:
            self._gateway.get_usage_plan_key(usagePlanId=self._plan, keyId=key_id)
        except self._gateway.exceptions.NotFoundException:
            return False
        return True


def handler(event: Mapping[str, str], context: object) -> None:
    import boto3  # type: ignore[import-untyped, unused-ignore]

    subject = ApiKeys(
        boto3.client("apigateway"),
        usage_plan_id=os.environ[ENV_USAGE_PLAN_ID],
        suffix=os.environ[ENV_SUFFIX],
        tags=json.loads(os.environ[ENV_TAGS]),
    )
    stages.run(
        event,
        manager=boto3.client("secretsmanager"),
        secret_arn=os.environ[ENV_SECRET_API_KEYS],
        subject=subject,
    )
