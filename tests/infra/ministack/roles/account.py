"""One suffix in the emulator: what its policies name, made for real, and its roles with the documents that name it.

Nothing is made that no policy names. A `${…}` of a document becomes the address of what was made for it; names are
the program's own, so that an address that the program spells out leads to the same thing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from random import randrange
from typing import Any

import boto3
from botocore.config import Config

from tests.infra.ministack.roles.judged_otherwise import understood
from tests.infra.ministack.server import ACCOUNT, ROOT_KEY
from tests.infra.program import REFERENCE, Program, Resource

REGION = "eu-central-1"
SESSION = boto3.Session(region_name=REGION)
"""One for all: it reads AWS's model of a service once, which takes longer than all calls of a role."""
Attributes = Mapping[str, str]
Clients = Callable[[str], Any]
"""`aws("kinesis")`: a client that signs as somebody."""
KEY_OF_ROOT = {name.lower(): value for name, value in ROOT_KEY.items()}


def clients(address: str, key: Mapping[str, str], *, in_tls: bool = True) -> Clients:
    """Clients that sign with this key. A refusal is an answer: nothing is repeated."""
    kept: dict[str, Any] = {}
    config = Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"})

    def of(service: str) -> Any:
        if service not in kept:
            kept[service] = SESSION.client(service, endpoint_url=address, config=config, **key)
            if service == "s3" and in_tls:
                kept[service].meta.events.register("before-sign.s3", _came_in_tls)
        return kept[service]

    return of


def _came_in_tls(request: Any, **_: Any) -> None:
    """What a proxy that ends TLS tells; the emulator believes it."""
    request.headers["X-Forwarded-Proto"] = "https"


class Account:
    """`found("secrets/api-keys", "arn")`: an attribute of what was made for the resource at that path."""

    def __init__(self, address: str, program: Program, registry: Program) -> None:
        self.address = address
        self.program = program
        self._registry = registry
        self.root = clients(address, KEY_OF_ROOT)
        self.database_host = f"127.{randrange(1, 255)}.{randrange(256)}.{randrange(1, 255)}"
        """An address of this machine's own, for a test that listens there on PostgreSQL's port."""
        self._made: dict[str, Attributes] = {}
        for bucket in program.of("aws_s3_bucket"):
            self.root("s3").create_bucket(
                Bucket=bucket["bucket"], CreateBucketConfiguration={"LocationConstraint": REGION}
            )
        for policy in program.of("aws_s3_bucket_policy"):
            bucket = program.follow(policy["bucket"])
            self.root("s3").put_bucket_policy(Bucket=bucket["bucket"], Policy=self.resolve(policy["policy"]))
        for repository in registry.of("aws_ecr_repository"):
            self.root("ecr").create_repository(repositoryName=repository["name"])

    def found(self, path: str, attribute: str) -> str:
        """An attribute of what stands for the resource (or the data source) whose construct path ends so."""
        sources = self.program.data("aws_secretsmanager_secret")
        (one,) = [one for one in sources if one.path.endswith(path)] or [self.program.at(path)]
        return self._of(one)[attribute]

    def repository(self, service: str) -> str:
        """Name of the registry's repository of that image."""
        return str(self._registry.at(service)["name"])

    def resolve(self, text: str) -> str:
        """The text with each reference replaced by what was made for it."""
        return REFERENCE.sub(lambda match: self._attribute(match[1], match[2], match[3]), text)

    def _attribute(self, kind: str, id_: str, attribute: str) -> str:
        blocks = self.program.json
        for step in kind.split(".") if kind.startswith("data.") else ["resource", kind]:
            blocks = blocks[step]
        return self._of(Resource(kind, id_, blocks[id_]))[attribute]

    def _of(self, resource: Resource) -> Attributes:
        if resource.address not in self._made:
            make = MAKERS.get(resource.type, Nowhere)
            self._made[resource.address] = make(self, resource)
        return self._made[resource.address]

    # --- roles ------------------------------------------------------------------------------------------

    def make_role(self, path: str) -> str:
        """The role at that path with all of its policies, as synthesized; its name."""
        role = self.program.at(f"{path}/role")
        self.root("iam").create_role(
            RoleName=role["name"], AssumeRolePolicyDocument=self.resolve(role["assume_role_policy"])
        )
        for policy in self.policies(path):
            self.put(policy, understood(policy))
        return str(role["name"])

    def policies(self, path: str) -> list[Resource]:
        role = self.program.at(f"{path}/role")
        return [
            one for one in self.program.of("aws_iam_role_policy") if self.program.follow(one["role"]) == role
        ]

    def put(self, policy: Resource, statements: list[dict[str, Any]]) -> None:
        """The policy with these statements in the place of its own."""
        role = self.program.follow(policy["role"])
        assert role is not None
        document = json.dumps({"Version": "2012-10-17", "Statement": statements})
        self.root("iam").put_role_policy(
            RoleName=role["name"], PolicyName=policy["name"], PolicyDocument=self.resolve(document)
        )

    def let_the_account_take(self, name: str) -> None:
        """Services alone take our roles, and the emulator has none: a test takes them in their place."""
        trust = {
            "Effect": "Allow",
            "Action": "sts:AssumeRole",
            "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"},
        }
        self.root("iam").update_assume_role_policy(
            RoleName=name, PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]})
        )

    def take(self, name: str, by: Clients | None = None) -> Mapping[str, str]:
        """Sign as this role: a key as boto3's session takes it."""
        taken = (by or self.root)("sts").assume_role(RoleArn=role_arn(name), RoleSessionName="probe")[
            "Credentials"
        ]
        return {
            "aws_access_key_id": taken["AccessKeyId"],
            "aws_secret_access_key": taken["SecretAccessKey"],
            "aws_session_token": taken["SessionToken"],
        }


def role_arn(name: str) -> str:
    return f"arn:aws:iam::{ACCOUNT}:role/{name}"


# --- what stands for a resource of the program ----------------------------------------------------------


def _stream(account: Account, one: Resource) -> Attributes:
    kinesis = account.root("kinesis")
    kinesis.create_stream(StreamName=one["name"], ShardCount=1)
    kinesis.get_waiter("stream_exists").wait(StreamName=one["name"], WaiterConfig={"Delay": 1})
    summary = kinesis.describe_stream_summary(StreamName=one["name"])["StreamDescriptionSummary"]
    return {"arn": summary["StreamARN"], "name": one["name"]}


def _consumer(account: Account, one: Resource) -> Attributes:
    arn = account.resolve(one["stream_arn"])
    made = account.root("kinesis").register_stream_consumer(StreamARN=arn, ConsumerName=one["name"])[
        "Consumer"
    ]
    return {"arn": made["ConsumerARN"], "name": one["name"]}


def _table(account: Account, one: Resource) -> Attributes:
    (index,) = one["global_secondary_index"]
    made = account.root("dynamodb").create_table(
        TableName=one["name"],
        BillingMode=one["billing_mode"],
        KeySchema=[{"AttributeName": one["hash_key"], "KeyType": "HASH"}],
        AttributeDefinitions=[
            {"AttributeName": field["name"], "AttributeType": field["type"]} for field in one["attribute"]
        ],
        GlobalSecondaryIndexes=[
            {
                "IndexName": index["name"],
                "KeySchema": [
                    {"AttributeName": index["hash_key"], "KeyType": "HASH"},
                    {"AttributeName": index["range_key"], "KeyType": "RANGE"},
                ],
                "Projection": {"ProjectionType": index["projection_type"]},
            }
        ],
    )
    return {"arn": made["TableDescription"]["TableArn"], "name": one["name"]}


def _key(account: Account, one: Resource) -> Attributes:
    made = account.root("kms").create_key(Policy=account.resolve(one["policy"]))["KeyMetadata"]
    return {"arn": made["Arn"], "key_id": made["KeyId"]}


def _secret(account: Account, one: Resource) -> Attributes:
    value = json.dumps({"username": "millrace_a", "password": "never-set"})
    made = account.root("secretsmanager").create_secret(Name=one["name"], SecretString=value)
    return {"arn": made["ARN"], "name": one["name"]}


def _queue(account: Account, one: Resource) -> Attributes:
    url = account.root("sqs").create_queue(QueueName=one["name"])["QueueUrl"]
    return {"arn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:{one['name']}", "url": url}


def _log_group(account: Account, one: Resource) -> Attributes:
    account.root("logs").create_log_group(logGroupName=one["name"])
    return {"arn": f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{one['name']}", "name": one["name"]}


def _bucket(account: Account, one: Resource) -> Attributes:
    return {"arn": f"arn:aws:s3:::{one['bucket']}", "id": one["bucket"]}


def _role(account: Account, one: Resource) -> Attributes:
    return {"arn": role_arn(one["name"]), "id": one["name"]}


def _rest_api(account: Account, one: Resource) -> Attributes:
    return {"id": account.root("apigateway").create_rest_api(name=one["name"])["id"]}


def _stage(account: Account, one: Resource) -> Attributes:
    name = one["stage_name"]
    account.root("apigateway").create_deployment(
        restApiId=account.resolve(one["rest_api_id"]), stageName=name
    )
    return {"stage_name": name}


def _usage_plan(account: Account, one: Resource) -> Attributes:
    stages = [
        {"apiId": account.resolve(stage["api_id"]), "stage": account.resolve(stage["stage"])}
        for stage in one["api_stages"]
    ]
    return {"id": account.root("apigateway").create_usage_plan(name=one["name"], apiStages=stages)["id"]}


def _cluster(account: Account, one: Resource) -> Attributes:
    return {"endpoint": account.database_host, "cluster_resource_id": "cluster-MADEUP"}


class Nowhere(dict[str, str]):
    """Only policies name it, and `judged_otherwise` leaves out what they say of it: an address of nothing."""

    def __init__(self, account: Account, one: Resource) -> None:
        super().__init__()
        self._address = f"arn:aws:nowhere:{REGION}:{ACCOUNT}:{one.address}"

    def __missing__(self, attribute: str) -> str:
        return f"{self._address}/{attribute}"


MAKERS: Mapping[str, Callable[[Account, Resource], Attributes]] = {
    "aws_api_gateway_rest_api": _rest_api,
    "aws_api_gateway_stage": _stage,
    "aws_api_gateway_usage_plan": _usage_plan,
    "aws_cloudwatch_log_group": _log_group,
    "aws_dynamodb_table": _table,
    "aws_iam_role": _role,
    "aws_kinesis_stream": _stream,
    "aws_kinesis_stream_consumer": _consumer,
    "aws_kms_key": _key,
    "aws_rds_cluster": _cluster,
    "aws_s3_bucket": _bucket,
    "aws_sqs_queue": _queue,
    "data.aws_secretsmanager_secret": _secret,
}
