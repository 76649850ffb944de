"""A Lambda function of ours: its zip, its role, and where it runs.

What it may do is granted by noun; to write its log, to be traced and to stand in the network comes by itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from millrace_infra import function_build
from millrace_infra.policy import Role, Statement, trust
from millrace_infra.security import Key
from millrace_infra.settings import Environment
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
    TerraformStack,
)

RUNTIME: Final = "python3.13"
MEMORY_MIB: Final = 256
"""boto3 alone takes 90 MB; Lambda gives processor time by memory, and half of this would double a cold start."""
TIMEOUT_S: Final = 60
"""A step is five calls and one statement: a second or two. A fail-over of the database is waited for elsewhere."""
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


@dataclass(frozen=True)
class Ground:
    """What the functions of one noun share. `log_group`: its name and its ARN."""

    environment: Environment
    key: Key
    log_group: tuple[str, str]
    undelivered_arn: str
    """The queue for an event that Lambda could not hand over; who sends there uses `undelivered_key`."""
    undelivered_key: Key


class Function(Construct):
    """`program` is the module of `millrace_rotation` that it runs, `noun` the first part of its name."""

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        ground: Ground,
        program: str,
        noun: str,
        description: str,
        place: Place,
        variables: Mapping[str, str],
        grants: Mapping[str, list[Statement]],
    ) -> None:
        super().__init__(scope, id)
        self._environment = ground.environment
        self.name = ground.environment.names.of(noun, "function")
        self.role = self._role(noun, place, ground, grants)
        self.function = LambdaFunction(
            self,
            "function",
            function_name=self.name,
            description=description,
            role=self.role.arn,
            runtime=RUNTIME,
            architectures=["arm64"],
            handler=function_build.handler(program),
            filename=self._written(program),
            source_code_hash=function_build.source_code_hash(function_build.build(program)),
            memory_size=MEMORY_MIB,
            timeout=TIMEOUT_S,
            reserved_concurrent_executions=1,  # two steps of one rotation never run at a time
            kms_key_arn=ground.key.arn,
            environment=LambdaFunctionEnvironment(variables=dict(variables)),
            vpc_config=_vpc(place),
            dead_letter_config=LambdaFunctionDeadLetterConfig(target_arn=ground.undelivered_arn),
            tracing_config=LambdaFunctionTracingConfig(mode="Active"),
            logging_config=LambdaFunctionLoggingConfig(
                log_format="JSON",
                log_group=ground.log_group[0],
                application_log_level="INFO",
                system_log_level="INFO",
            ),
            tags={"Name": self.name},
            depends_on=self.role.policies,  # Lambda tries the role when it makes the function
        )

    def let_call(self, service: str, *, source_arn: str) -> LambdaPermission:
        """That service of AWS calls it, for that resource of this account alone."""
        return LambdaPermission(
            self,
            "permission",
            statement_id=service,
            action="lambda:InvokeFunction",
            function_name=self.function.function_name,
            principal=f"{service}.amazonaws.com",
            source_account=self._environment.settings.account_id,
            source_arn=source_arn,
        )

    def _written(self, program: str) -> str:
        """The zip beside the stack's JSON, named as Terraform finds it from there."""
        stack = TerraformStack.of(self).node.id
        folder = Path(App.of(self).outdir) / "stacks" / stack / _FOLDER
        return f"{_FOLDER}/{function_build.write(program, folder).name}"

    def _role(self, noun: str, place: Place, ground: Ground, grants: Mapping[str, list[Statement]]) -> Role:
        role = Role(
            self,
            "role",
            names=self._environment.names,
            name=noun,
            trust_policy=trust("lambda.amazonaws.com", account_id=self._environment.settings.account_id),
        )
        for one, statements in grants.items():
            role.allow(one, *statements)
        undelivered = Statement(("sqs:SendMessage",), (ground.undelivered_arn,))
        role.allow("undelivered", undelivered, ground.undelivered_key.use("Decrypt", "GenerateDataKey"))
        role.allow("environment", ground.key.use("Decrypt"))
        log = f"{ground.log_group[1]}:*"
        role.allow("log", Statement(("logs:CreateLogStream", "logs:PutLogEvents"), (log,)))
        role.allow("trace", _trace())
        if place.subnet_ids:
            role.allow("network", *_network(self._environment, self.name))
        return role


def _vpc(place: Place) -> LambdaFunctionVpcConfig | None:
    if not place.subnet_ids:
        return None
    return LambdaFunctionVpcConfig(
        subnet_ids=list(place.subnet_ids), security_group_ids=[place.security_group_id]
    )


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
