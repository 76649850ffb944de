"""Rotation of the secrets that exist: three functions, each of which may rotate one secret and nothing else.

`src/millrace_rotation` says how a step may be repeated and cut short. Here is where they run and what they may.
Nothing is rotated when this is made: the database does not exist yet. `deploy` rotates once, after migration.
A fourth function, `secret_age.py`, tells of a rotation that never begins.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from millrace import names as words
from millrace_infra.function import Function, Ground, Place
from millrace_infra.network import Network
from millrace_infra.observability.logs import Logs
from millrace_infra.policy import Statement
from millrace_infra.secret_age import SecretAge
from millrace_infra.secrets import VARIABLES, ExistingSecrets
from millrace_infra.security import Key, Keys
from millrace_infra.settings import Environment
from millrace_infra.sinks.aurora import Aurora
from millrace_infra.terraform import (
    Construct,
    SecretsmanagerSecretRotation,
    SecretsmanagerSecretRotationRotationRules,
    SqsQueue,
)

UNDELIVERED_S: Final = 14 * 86_400
"""The longest that SQS keeps a message: someone looks within two weeks."""
LOG: Final = "rotation"
_PARTY: Final = "rotation"


class Rotation(Construct):
    """The three rotations of one suffix, and the watch over them. `functions`: `rotate-database-user` -> its name,
    for each function.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        environment: Environment,
        keys: Keys,
        network: Network,
        secrets: ExistingSecrets,
        logs: Logs,
        database: Aurora,
        usage_plan_id: str,
    ) -> None:
        super().__init__(scope, id)
        self._secrets = secrets
        self._undelivered = _undelivered(self, environment, keys["alarms"])
        self._ground = Ground(
            environment=environment,
            key=keys["functions"],
            log_group=(logs.group(LOG).name, logs.group(LOG).arn),
            undelivered_arn=self._undelivered.arn,
            undelivered_key=keys["alarms"],
        )
        inside = Place(network.private_subnet_ids, network.security_group(_PARTY))
        # the control plane of API Gateway has no end point: where nothing leaves the VPC, this one is outside of it
        keys_place = Place() if environment.settings.network.egress == "endpoints" else inside
        made = (
            self._make(
                "database_user", inside,
                {
                    words.ENV_DATABASE_HOST: database.endpoint,
                    words.ENV_DATABASE_NAME: words.DATABASE,
                    **secrets.environment("database_master"),
                },
                {"master": [secrets.read("database_master"), secrets.decrypt("database_master")]},
            ),
            self._make("api_signing", inside, {}, {}),
            self._make(
                "api_keys", keys_place,
                {
                    words.ENV_USAGE_PLAN_ID: usage_plan_id,
                    words.ENV_SUFFIX: environment.suffix,
                    words.ENV_TAGS: json.dumps(environment.tags, sort_keys=True),
                },
                {"api-keys": _make_keys(environment, usage_plan_id)},
            ),
        )  # fmt: skip
        age = SecretAge(self, "secret-age", ground=self._ground, place=inside, secrets=secrets)
        self.functions = {f"rotate-{function.node.id}": function.name for function in made}
        self.functions["secret-age"] = age.name

    @property
    def undelivered(self) -> str:
        """Name of the queue for what Lambda could not hand over."""
        return self._undelivered.name

    def _make(
        self, field: str, place: Place, variables: Mapping[str, str], grants: Mapping[str, list[Statement]]
    ) -> RotationFunction:
        secrets = self._secrets
        return RotationFunction(
            self,
            field.replace("_", "-"),
            ground=self._ground,
            field=field,
            secret_arn=secrets.arn(field),
            place=place,
            variables={VARIABLES[field]: secrets.arn(field), **variables},
            grants={"secret": _rotate(secrets, field), **grants},
        )


class RotationFunction(Function):
    """A function, and the rotation of one secret that calls it."""

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        ground: Ground,
        field: str,
        secret_arn: str,
        place: Place,
        variables: Mapping[str, str],
        grants: Mapping[str, list[Statement]],
    ) -> None:
        super().__init__(
            scope,
            id,
            ground=ground,
            program=field,
            noun=f"rotate-{id}",
            description=f"Rotates {getattr(ground.environment.secrets, field)}",
            place=place,
            variables=variables,
            grants=grants,
        )
        allowed = self.let_call("secretsmanager", source_arn=secret_arn)
        SecretsmanagerSecretRotation(
            self,
            "rotation",
            secret_id=secret_arn,
            rotation_lambda_arn=self.function.arn,
            rotate_immediately=False,
            rotation_rules=SecretsmanagerSecretRotationRotationRules(
                automatically_after_days=self._environment.settings.secrets.rotation_days
            ),
            depends_on=[allowed, *self.role.policies],
        )


def _undelivered(scope: Construct, environment: Environment, key: Key) -> SqsQueue:
    """Where Lambda puts an event that it could not hand over."""
    name = environment.names.of("rotation-undelivered")
    return SqsQueue(
        scope,
        "undelivered",
        name=name,
        kms_master_key_id=key.arn,
        message_retention_seconds=UNDELIVERED_S,
        tags={"Name": name},
    )


def _rotate(secrets: ExistingSecrets, field: str) -> list[Statement]:
    """Read and write the versions of one secret, with whatever key it has."""
    actions = (
        "secretsmanager:DescribeSecret", "secretsmanager:GetSecretValue", "secretsmanager:PutSecretValue",
        "secretsmanager:UpdateSecretVersionStage",
    )  # fmt: skip
    key = replace(secrets.decrypt(field), actions=("kms:Decrypt", "kms:GenerateDataKey"))
    return [Statement(actions, (secrets.arn(field),)), key]


def _make_keys(environment: Environment, usage_plan_id: str) -> list[Statement]:
    """Make and tag keys of this suffix, read and delete them and no others, join them to one plan."""
    root = f"arn:aws:apigateway:{environment.region}::"
    plan = f"{root}/usageplans/{usage_plan_id}/keys"
    tags = {name: environment.tags[name] for name in ("project", "suffix")}
    made = {"StringEquals": {f"aws:RequestTag/{name}": value for name, value in tags.items()}}
    ours = {"StringEquals": {f"aws:ResourceTag/{name}": value for name, value in tags.items()}}
    return [
        Statement(("apigateway:GET",), (f"{root}/apikeys",)),
        Statement(("apigateway:POST",), (f"{root}/apikeys",), made),
        Statement(("apigateway:PUT",), (f"{root}/tags/*",), made),
        Statement(("apigateway:DELETE", "apigateway:GET"), (f"{root}/apikeys/*",), ours),
        Statement(("apigateway:GET", "apigateway:POST"), (plan,)),
        Statement(("apigateway:GET",), (f"{plan}/*",)),
    ]
