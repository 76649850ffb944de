"""Secrets that exist already: found by name, never made, never read here.

Only their addresses go into the program and into a task's environment; the task is to read the value when it
connects. A data source of a secret's *version* would put its value into the state: there is none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from millrace import names as words
from millrace_infra.policy import Statement
from millrace_infra.settings import Environment
from millrace_infra.terraform import Construct, DataAwsSecretsmanagerSecret

VARIABLES: Final[Mapping[str, str]] = {
    "database_master": words.ENV_SECRET_DATABASE_MASTER,
    "database_user": words.ENV_SECRET_DATABASE_USER,
    "api_signing": words.ENV_SECRET_API_SIGNING,
    "api_keys": words.ENV_SECRET_API_KEYS,
    "dashboard_oidc": words.ENV_SECRET_DASHBOARD_OIDC,
}
"""Field of `SecretNames` -> the variable that carries its address to a task."""

ROTATED: Final = ("database_user", "api_signing", "api_keys")
"""The fields of those that are rotated; `function_build` has a function for each."""


class ExistingSecrets(Construct):
    """The addresses of the platform's secrets, by the field that names them in the settings."""

    def __init__(self, scope: Construct, id: str, *, environment: Environment) -> None:
        super().__init__(scope, id)
        self._where = f"arn:aws:kms:{environment.region}:{environment.settings.account_id}:key/*"
        self._via = f"secretsmanager.{environment.region}.amazonaws.com"
        self._secrets: Mapping[str, DataAwsSecretsmanagerSecret] = {
            field: DataAwsSecretsmanagerSecret(
                self, field.replace("_", "-"), name=getattr(environment.secrets, field)
            )
            for field in VARIABLES
        }

    def arn(self, field: str) -> str:
        """For example `arn("database_user")`, with the six characters that Secrets Manager adds."""
        return self._secrets[field].arn

    def read(self, *fields: str) -> Statement:
        """Read these values; together with `decrypt` where a secret has a key of its own."""
        return Statement(
            ("secretsmanager:DescribeSecret", "secretsmanager:GetSecretValue"),
            tuple(self.arn(field) for field in fields),
        )

    def decrypt(self, *fields: str) -> Statement:
        """Use whatever key these secrets have, for them alone: we made neither, so the key is not known here.

        Secrets Manager puts the secret's address into the encryption context of each call to KMS.
        """
        condition = {
            "StringEquals": {
                "kms:ViaService": self._via,
                "kms:EncryptionContext:SecretARN": [self.arn(field) for field in fields],
            }
        }
        return Statement(("kms:Decrypt",), (self._where,), condition)

    def environment(self, *fields: str) -> dict[str, str]:
        """Variable -> address, for the secrets that a task reads."""
        return {VARIABLES[field]: self.arn(field) for field in fields}
