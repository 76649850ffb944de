"""Rotates the secret that the API signs with. Nothing else has to learn of it: the API reads the pair itself."""

from __future__ import annotations

import os
from collections.abc import Mapping

from millrace.names import ENV_SECRET_API_SIGNING
from millrace_rotation import pair, stages


class SigningSecret:
    """The pair is its own proof: what is current stays acceptable as the previous one."""

    def next_value(self, current: str) -> str:
        return pair.next_pair(current)

    def put_in_force(self, pending: str, current: str, version: str) -> None:
        """In force by being read: tasks read the secret again when a signature is not theirs."""

    def test(self, pending: str, current: str, version: str) -> None:
        pair.check_follows(pending, current)

    def tidy(self, kept: frozenset[str]) -> None:
        """Nothing was made."""


def handler(event: Mapping[str, str], context: object) -> None:
    import boto3  # type: ignore[import-untyped, unused-ignore]

    stages.run(
        event,
        manager=boto3.client("secretsmanager"),
        secret_arn=os.environ[ENV_SECRET_API_SIGNING],
        subject=SigningSecret(),
    )
