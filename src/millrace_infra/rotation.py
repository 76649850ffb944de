"""Rotation of the secrets that exist: three functions, each of which may rotate one secret and nothing else.

`src/millrace_rotation` says how a step may be repeated and cut short. Here is where they run and what they may.
Nothing is rotated when this is made: the database does not exist yet. `deploy` rotates once, after migration.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from millrace import names as words
from millrace_infra import function_build
from millrace_infra.network import Network
from millrace_infra.observability.logs import Logs
from millrace_infra.policy import Role, Statement, trust
from millrace_infra.secrets import VARIABLES, ExistingSecrets
from millrace_infra.security import Key, Keys
from millrace_infra.settings import Environment
from millrace_infra.sinks.aurora import Aurora
from millrace_infra.terraform import (
    App,
    Construct,
    LambdaFunction,
    LambdaFunctionDeadLetterConfig,
    LambdaFunctionEnvironment,
    LambdaFunctionLoggingConfig,
    LambdaFunctionTracingConfig,
    LambdaFunctionVpcConfig,
    LambdaPermission,
    SecretsmanagerSecretRotation,
    SecretsmanagerSecretRotationRotationRules,
    SqsQueue,
    TerraformStack,
)

RUNTIME: Final = "python3.13"
MEMORY_MIB: Final = 256
"""boto3 alone takes 90 MB; Lambda gives processor time by memory, and half of this would double a cold start."""
TIMEOUT_S: Final = 60
"""A step is five calls and one statement: a second or two. A fail-over of the database is waited for elsewhere."""
UNDELIVERED_S: Final = 14 * 86_400
"""The longest that SQS keeps a message: someone looks within two weeks."""
LOG: Final = "rotation"
_PARTY: Final = "rotation"
_FOLDER: Final = "functions"
_INTERFACES: Final = (
    "ec2:AssignPrivateIpAddresses", "ec2:CreateNetworkInterface", "ec2:DeleteNetworkInterface",
    "ec2:DescribeNetworkInterfaces", "ec2:DescribeSubnets", "ec2:UnassignPrivateIpAddresses",
)  # fmt: skip


@dataclass(frozen=True)
class Place:
    """Where a function runs: outside of the VPC without subnets."""

    subnet_ids: Sequence[str] = ()
    security_group_id: str = ""


class Rotation(Construct):
    """The three rotations of one suffix. `functions`: `rotate-database-user` -> its name, for each of them."""

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
        self._parts = (environment, keys, secrets, logs)
        self._undelivered = _undelivered(self, environment, keys["alarms"])
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
        self.functions = {f"rotate-{function.node.id}": function.name for function in made}

    @property
    def undelivered(self) -> str:
        """Name of the queue for what Lambda could not hand over."""
        return self._undelivered.name

    def _make(
        self, field: str, place: Place, variables: Mapping[str, str], grants: Mapping[str, list[Statement]]
    ) -> RotationFunction:
        environment, keys, secrets, logs = self._parts
        own: dict[str, list[Statement]] = {
            "secret": _rotate(secrets, field),
            "undelivered": [
                Statement(("sqs:SendMessage",), (self._undelivered.arn,)),
                keys["alarms"].use("Decrypt", "GenerateDataKey"),
            ],
            "environment": [keys["functions"].use("Decrypt")],
        }
        return RotationFunction(
            self,
            field.replace("_", "-"),
            environment=environment,
            field=field,
            secret_arn=secrets.arn(field),
            place=place,
            key=keys["functions"],
            log_group=(logs.group(LOG).name, logs.group(LOG).arn),
            undelivered_arn=self._undelivered.arn,
            variables={VARIABLES[field]: secrets.arn(field), **variables},
            grants=own | dict(grants),
        )


class RotationFunction(Construct):
    """One function, its role, and the rotation that calls it."""

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        environment: Environment,
        field: str,
        secret_arn: str,
        place: Place,
        key: Key,
        log_group: tuple[str, str],
        undelivered_arn: str,
        variables: Mapping[str, str],
        grants: Mapping[str, list[Statement]],
    ) -> None:
        super().__init__(scope, id)
        self._environment = environment
        self.name = environment.names.of(f"rotate-{id}", "function")
        self.role = self._role(id, place, log_group[1], grants)
        code = function_build.build(field)
        self._function = LambdaFunction(
            self,
            "function",
            function_name=self.name,
            description=f"Rotates {getattr(environment.secrets, field)}",
            role=self.role.arn,
            runtime=RUNTIME,
            architectures=["arm64"],
            handler=function_build.handler(field),
            filename=self._written(field),
            source_code_hash=function_build.source_code_hash(code),
            memory_size=MEMORY_MIB,
            timeout=TIMEOUT_S,
            reserved_concurrent_executions=1,  # two steps of one rotation never run at a time
            kms_key_arn=key.arn,
            environment=LambdaFunctionEnvironment(variables=dict(variables)),
            vpc_config=_vpc(place),
            dead_letter_config=LambdaFunctionDeadLetterConfig(target_arn=undelivered_arn),
            tracing_config=LambdaFunctionTracingConfig(mode="Active"),
            logging_config=LambdaFunctionLoggingConfig(
                log_format="JSON",
                log_group=log_group[0],
                application_log_level="INFO",
                system_log_level="INFO",
            ),
            tags={"Name": self.name},
            depends_on=self.role.policies,  # Lambda tries the role when it makes the function
        )
        self._rotate(secret_arn)

    def _written(self, field: str) -> str:
        """The zip beside the stack's JSON, named as Terraform finds it from there."""
        stack = TerraformStack.of(self).node.id
        folder = Path(App.of(self).outdir) / "stacks" / stack / _FOLDER
        return f"{_FOLDER}/{function_build.write(field, folder).name}"

    def _role(self, id: str, place: Place, log_arn: str, grants: Mapping[str, list[Statement]]) -> Role:
        role = Role(
            self,
            "role",
            names=self._environment.names,
            name=f"rotate-{id}",
            trust_policy=trust("lambda.amazonaws.com", account_id=self._environment.settings.account_id),
        )
        for noun, statements in grants.items():
            role.allow(noun, *statements)
        role.allow("log", Statement(("logs:CreateLogStream", "logs:PutLogEvents"), (f"{log_arn}:*",)))
        role.allow("trace", _trace())
        if place.subnet_ids:
            role.allow("network", *_network(self._environment, self.name))
        return role

    def _rotate(self, secret_arn: str) -> None:
        allowed = LambdaPermission(
            self,
            "permission",
            statement_id="secretsmanager",
            action="lambda:InvokeFunction",
            function_name=self._function.function_name,
            principal="secretsmanager.amazonaws.com",
            source_account=self._environment.settings.account_id,
            source_arn=secret_arn,
        )
        SecretsmanagerSecretRotation(
            self,
            "rotation",
            secret_id=secret_arn,
            rotation_lambda_arn=self._function.arn,
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


def _vpc(place: Place) -> LambdaFunctionVpcConfig | None:
    if not place.subnet_ids:
        return None
    return LambdaFunctionVpcConfig(
        subnet_ids=list(place.subnet_ids), security_group_ids=[place.security_group_id]
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


def _trace() -> Statement:
    return Statement(
        ("xray:PutTelemetryRecords", "xray:PutTraceSegments"),
        ("*",),
        reason="X-Ray's actions know no resource",
    )


def _network(environment: Environment, function_name: str) -> list[Statement]:
    """Lambda makes the function's interfaces with its role; the function's own code may not.

    Source: AWS Lambda, giving functions access to resources in a VPC, required IAM permissions.
    """
    region, account = environment.region, environment.settings.account_id
    code = {
        "ArnEquals": {
            "lambda:SourceFunctionArn": f"arn:aws:lambda:{region}:{account}:function:{function_name}"
        }
    }
    reason = "Lambda checks these for any interface of the account, before there is one to name"
    return [
        Statement(_INTERFACES, ("*",), reason=reason),
        Statement(_INTERFACES, ("*",), code, effect="Deny", reason="a refusal is meant for all"),
    ]
