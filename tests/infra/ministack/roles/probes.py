"""Who may do what: each row is a call of the program, or of its neighbour, and every role is put to every row.

A role that a row does not name must be denied it, and all of them must be denied the same call on what belongs to
another suffix.
"""

# ruff: noqa: E501 (a row of the table is a line)
# fmt: off

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from tests.infra.ministack.roles.account import REGION, Account, Clients, role_arn
from tests.infra.ministack.server import ACCOUNT

ROLES: Final[Mapping[str, str]] = {
    "worker": "worker/task/task-role",
    "api": "api/task/task-role",
    "dashboard": "dashboard/task/task-role",
    "migrate": "migrate/task/task-role",
    "worker-start": "worker/task/execution-role",
    "api-start": "api/task/execution-role",
    "dashboard-start": "dashboard/task/execution-role",
    "migrate-start": "migrate/task/execution-role",
    "producer": "stream/producers/role",
    "rotate-database-user": "rotation/database-user/role",
    "rotate-api-signing": "rotation/api-signing/role",
    "rotate-api-keys": "rotation/api-keys/role",
    "secret-age": "rotation/secret-age/role",
}
"""What a row calls a role -> where it is in the program."""
OF_SERVICES: Final = frozenset(
    {"aurora/monitor", "backup/role", "deployment/role", "network/flow-log/writer"}
)
"""Roles that services of AWS take for work of their own: no call of theirs is one of the program's."""

NOBODY: Final[Collection[str]] = ()
STARTS: Final = ("worker-start", "api-start", "dashboard-start", "migrate-start")
ROTATES: Final = ("rotate-database-user", "rotate-api-signing", "rotate-api-keys")
FUNCTIONS: Final = (*ROTATES, "secret-age")


@dataclass(frozen=True)
class Probe:
    """`call` is made with a role's clients, on what is at an account."""

    says: str
    action: str
    may: Collection[str]
    call: Callable[[Clients, Account], Any]
    owned: bool = True
    """Whether it acts on something that one suffix owns; the others are calls that AWS names no resource for."""


def probes() -> Iterator[Probe]:
    yield from STREAM
    yield from LEASES
    yield from ARCHIVE
    for field, readers, writer in SECRETS:
        yield from _of_secret(field, readers, writer)
    for noun in ("stream", "archive", "alarms", "functions", "database", "logs"):
        yield from _of_key(noun)
    for noun, writers in LOGS.items():
        yield from _of_log(noun, writers)
    for service, starts in IMAGES.items():
        yield from _of_image(service, starts)
    yield from API_KEYS
    yield from REST


# --- the stream and its leases --------------------------------------------------------------------------


def _stream(aws: Clients, at: Account, operation: str, **more: Any) -> Any:
    return getattr(aws("kinesis"), operation)(StreamARN=at.found("stream/stream", "arn"), **more)


def _records(at: Account) -> str:
    found = at.root("kinesis").get_shard_iterator(
        StreamName=at.found("stream/stream", "name"),
        ShardId="shardId-000000000000",
        ShardIteratorType="LATEST",
    )
    return str(found["ShardIterator"])


STREAM: Final = (
    Probe("put a frame", "kinesis:PutRecord", ("api", "producer"), lambda aws, at: _stream(aws, at, "put_record", Data=b"a frame", PartitionKey="press-7")),
    Probe("put many", "kinesis:PutRecords", ("api", "producer"), lambda aws, at: _stream(aws, at, "put_records", Records=[{"Data": b"a frame", "PartitionKey": "press-7"}])),
    Probe("which shards there are", "kinesis:ListShards", ("worker", "api"), lambda aws, at: _stream(aws, at, "list_shards")),
    Probe("how many are open", "kinesis:DescribeStreamSummary", ("worker", "api"), lambda aws, at: _stream(aws, at, "describe_stream_summary")),
    Probe("what the stream is", "kinesis:DescribeStream", ("worker",), lambda aws, at: _stream(aws, at, "describe_stream")),
    Probe("begin to read", "kinesis:GetShardIterator", ("worker",), lambda aws, at: _stream(aws, at, "get_shard_iterator", ShardId="shardId-000000000000", ShardIteratorType="LATEST")),
    Probe("read", "kinesis:GetRecords", ("worker",), lambda aws, at: _stream(aws, at, "get_records", ShardIterator=_records(at))),
    Probe("another consumer", "kinesis:RegisterStreamConsumer", NOBODY, lambda aws, at: _stream(aws, at, "register_stream_consumer", ConsumerName="one-more")),
    Probe("the consumer away", "kinesis:DeregisterStreamConsumer", NOBODY, lambda aws, at: _stream(aws, at, "deregister_stream_consumer", ConsumerName=at.found("stream/consumer", "name"))),
    Probe("more shards", "kinesis:UpdateShardCount", NOBODY, lambda aws, at: _stream(aws, at, "update_shard_count", TargetShardCount=2, ScalingType="UNIFORM_SCALING")),
    Probe("keep less", "kinesis:DecreaseStreamRetentionPeriod", NOBODY, lambda aws, at: _stream(aws, at, "decrease_stream_retention_period", RetentionPeriodHours=24)),
    Probe("encrypt no more", "kinesis:StopStreamEncryption", NOBODY, lambda aws, at: _stream(aws, at, "stop_stream_encryption", EncryptionType="KMS", KeyId="alias/any")),
    Probe("the stream away", "kinesis:DeleteStream", NOBODY, lambda aws, at: _stream(aws, at, "delete_stream")),
    Probe("a stream of its own", "kinesis:CreateStream", NOBODY, lambda aws, at: aws("kinesis").create_stream(StreamName="one-more", ShardCount=1)),
)

LEASE: Final = {"leaseKey": {"S": "shardId-000000000000"}}


def _leases(aws: Clients, at: Account, operation: str, **more: Any) -> Any:
    return getattr(aws("dynamodb"), operation)(TableName=at.found("stream/leases", "name"), **more)


def _owned_by(**more: Any) -> dict[str, Any]:
    owner = {":who": {"S": "worker-1"}}
    return {"KeyConditionExpression": "leaseOwner = :who", "ExpressionAttributeValues": owner} | more


LEASES: Final = (
    Probe("the table is there", "dynamodb:DescribeTable", ("worker",), lambda aws, at: _leases(aws, at, "describe_table")),
    Probe("make a lease", "dynamodb:PutItem", ("worker",), lambda aws, at: _leases(aws, at, "put_item", Item=LEASE)),
    Probe("renew a lease", "dynamodb:UpdateItem", ("worker",), lambda aws, at: _leases(aws, at, "update_item", Key=LEASE, UpdateExpression="SET leaseOwner = :who", ExpressionAttributeValues={":who": {"S": "worker-1"}})),
    Probe("read a lease", "dynamodb:GetItem", ("worker",), lambda aws, at: _leases(aws, at, "get_item", Key=LEASE)),
    Probe("all leases", "dynamodb:Scan", ("worker",), lambda aws, at: _leases(aws, at, "scan")),
    Probe("leases of a worker", "dynamodb:Query", ("worker",), lambda aws, at: _leases(aws, at, "query", **_owned_by(IndexName="LeaseOwnerToLeaseKeyIndex"))),
    Probe("end a lease", "dynamodb:DeleteItem", ("worker",), lambda aws, at: _leases(aws, at, "delete_item", Key=LEASE)),
    Probe("query the table itself", "dynamodb:Query", NOBODY, lambda aws, at: _leases(aws, at, "query", KeyConditionExpression="leaseKey = :it", ExpressionAttributeValues={":it": LEASE["leaseKey"]})),
    Probe("change the table", "dynamodb:UpdateTable", NOBODY, lambda aws, at: _leases(aws, at, "update_table", BillingMode="PAY_PER_REQUEST")),
    Probe("the table away", "dynamodb:DeleteTable", NOBODY, lambda aws, at: _leases(aws, at, "delete_table")),
    Probe("a table of its own", "dynamodb:CreateTable", NOBODY, lambda aws, at: aws("dynamodb").create_table(TableName="one-more", BillingMode="PAY_PER_REQUEST", KeySchema=[{"AttributeName": "leaseKey", "KeyType": "HASH"}], AttributeDefinitions=[{"AttributeName": "leaseKey", "AttributeType": "S"}])),
)

# --- the archive ----------------------------------------------------------------------------------------

FILE: Final = "critical/2026/11/28/segment.parquet"


def _archive(aws: Clients, at: Account, operation: str, **more: Any) -> Any:
    return getattr(aws("s3"), operation)(Bucket=_bucket(at), **more)


def _bucket(at: Account) -> str:
    return at.found("archive/files/bucket", "id")


def _filed(at: Account, key: str = FILE) -> dict[str, str]:
    """A file that is there."""
    at.root("s3").put_object(Bucket=_bucket(at), Key=key, Body=b"rows")
    return {"Key": key}


def _version(at: Account) -> dict[str, str]:
    at.root("s3").put_bucket_versioning(Bucket=_bucket(at), VersioningConfiguration={"Status": "Enabled"})
    made = at.root("s3").put_object(Bucket=_bucket(at), Key=FILE, Body=b"rows")
    return {"Key": FILE, "VersionId": made["VersionId"]}


def _upload(at: Account) -> dict[str, str]:
    begun = at.root("s3").create_multipart_upload(Bucket=_bucket(at), Key=FILE)
    return {"Key": FILE, "UploadId": begun["UploadId"]}


ARCHIVE: Final = (
    *(Probe(f"file under {prefix}", "s3:PutObject", ("worker",), lambda aws, at, prefix=prefix: _archive(aws, at, "put_object", Key=f"{prefix}/segment.parquet", Body=b"rows")) for prefix in ("critical", "standard", "quarantine")),
    *(Probe(f"read under {prefix}", "s3:GetObject", ("api",), lambda aws, at, prefix=prefix: _archive(aws, at, "get_object", **_filed(at, f"{prefix}/read.parquet"))) for prefix in ("critical", "standard", "quarantine")),
    Probe("give an upload up", "s3:AbortMultipartUpload", ("worker",), lambda aws, at: _archive(aws, at, "abort_multipart_upload", **_upload(at))),
    Probe("read a version", "s3:GetObjectVersion", ("api",), lambda aws, at: _archive(aws, at, "get_object", **_version(at))),
    Probe("list files", "s3:ListBucket", ("api",), lambda aws, at: _archive(aws, at, "list_objects_v2")),
    Probe("list versions", "s3:ListBucketVersions", ("api",), lambda aws, at: _archive(aws, at, "list_object_versions")),
    Probe("file elsewhere", "s3:PutObject", NOBODY, lambda aws, at: _archive(aws, at, "put_object", Key="elsewhere/segment.parquet", Body=b"rows")),
    Probe("read elsewhere", "s3:GetObject", NOBODY, lambda aws, at: _archive(aws, at, "get_object", **_filed(at, "elsewhere/read.parquet"))),
    Probe("file under no key of ours", "s3:PutObject", NOBODY, lambda aws, at: _archive(aws, at, "put_object", Key=FILE, Body=b"rows", ServerSideEncryption="AES256")),
    Probe("file under another key", "s3:PutObject", NOBODY, lambda aws, at: _archive(aws, at, "put_object", Key=FILE, Body=b"rows", ServerSideEncryption="aws:kms", SSEKMSKeyId=at.found("keys/database/key", "arn"))),
    Probe("a file away", "s3:DeleteObject", NOBODY, lambda aws, at: _archive(aws, at, "delete_object", **_filed(at))),
    Probe("a version away", "s3:DeleteObjectVersion", NOBODY, lambda aws, at: _archive(aws, at, "delete_object", **_version(at))),
    Probe("open the bucket", "s3:PutBucketPolicy", NOBODY, lambda aws, at: _archive(aws, at, "put_bucket_policy", Policy='{"Version": "2012-10-17", "Statement": []}')),
    Probe("keep shorter", "s3:PutLifecycleConfiguration", NOBODY, lambda aws, at: _archive(aws, at, "put_bucket_lifecycle_configuration", LifecycleConfiguration={"Rules": [{"ID": "now", "Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 1}}]})),
    Probe("who read the archive", "s3:ListBucket", NOBODY, lambda aws, at: aws("s3").list_objects_v2(Bucket=at.found("archive/access-log/bucket", "id"))),
)

# --- secrets, keys, logs, images ------------------------------------------------------------------------

SECRETS: Final = (
    ("database-master", ("rotate-database-user", "migrate"), ""),
    ("database-user", ("worker", "api", "rotate-database-user"), "rotate-database-user"),
    ("api-signing", ("api", "rotate-api-signing"), "rotate-api-signing"),
    ("api-keys", ("rotate-api-keys",), "rotate-api-keys"),
    ("dashboard-oidc", ("dashboard",), ""),
)
"""Secret, who reads it, who writes it."""
VALUE: Final = '{"username": "millrace_a", "password": "of-a-probe"}'


def _of_secret(field: str, readers: Collection[str], writer: str) -> Iterator[Probe]:
    writers = (writer,) if writer else NOBODY

    def on(operation: str, **more: Any) -> Callable[[Clients, Account], Any]:
        return lambda aws, at: getattr(aws("secretsmanager"), operation)(SecretId=at.found(f"secrets/{field}", "arn"), **more)

    def label(aws: Clients, at: Account) -> Any:
        known = at.root("secretsmanager").describe_secret(SecretId=at.found(f"secrets/{field}", "arn"))
        (current,) = (one for one, labels in known["VersionIdsToStages"].items() if "AWSCURRENT" in labels)
        return on("update_secret_version_stage", VersionStage="PROBED", MoveToVersionId=current)(aws, at)

    yield Probe(f"read {field}", "secretsmanager:GetSecretValue", readers, on("get_secret_value"))
    watchers = ("secret-age",) if writer else NOBODY  # when it was rotated, not what is in it
    yield Probe(f"versions of {field}", "secretsmanager:DescribeSecret", (*readers, *watchers), on("describe_secret"))
    yield Probe(f"a next value of {field}", "secretsmanager:PutSecretValue", writers, on("put_secret_value", SecretString=VALUE, VersionStages=["NEXT"]))
    yield Probe(f"label {field}", "secretsmanager:UpdateSecretVersionStage", writers, label)
    yield Probe(f"overwrite {field}", "secretsmanager:UpdateSecret", NOBODY, on("update_secret", SecretString=VALUE))
    yield Probe(f"share {field}", "secretsmanager:PutResourcePolicy", NOBODY, on("put_resource_policy", ResourcePolicy='{"Version": "2012-10-17", "Statement": []}'))
    yield Probe(f"{field} away", "secretsmanager:DeleteSecret", NOBODY, on("delete_secret"))


def _of_key(noun: str) -> Iterator[Probe]:
    """Used through its services; nobody uses a key directly."""

    def on(operation: str, **more: Any) -> Callable[[Clients, Account], Any]:
        return lambda aws, at: getattr(aws("kms"), operation)(KeyId=at.found(f"keys/{noun}/key", "arn"), **more)

    def decrypt(aws: Clients, at: Account) -> Any:
        return on(
            "decrypt",
            CiphertextBlob=at.root("kms").encrypt(KeyId=at.found(f"keys/{noun}/key", "arn"), Plaintext=b"x")[
                "CiphertextBlob"
            ],
        )(aws, at)

    yield Probe(f"decrypt with the key of {noun}", "kms:Decrypt", NOBODY, decrypt)
    yield Probe(f"a data key of {noun}", "kms:GenerateDataKey", NOBODY, on("generate_data_key", KeySpec="AES_256"))
    yield Probe(f"hand the key of {noun} on", "kms:CreateGrant", NOBODY, on("create_grant", GranteePrincipal=role_arn("any"), Operations=["Decrypt"]))
    yield Probe(f"the key of {noun} away", "kms:ScheduleKeyDeletion", NOBODY, on("schedule_key_deletion", PendingWindowInDays=7))


LOGS: Final[Mapping[str, Collection[str]]] = {
    "worker": ("worker-start",),
    "api": ("api-start",),
    "dashboard": ("dashboard-start",),
    "migrate": ("migrate-start",),
    "collector": ("worker", "api", "dashboard", "worker-start", "api-start", "dashboard-start"),
    "rotation": FUNCTIONS,
    "gateway": NOBODY,
}
"""Log group -> who writes there. The collector writes its metrics with its task's role, its own words with ECS's."""
TASKS: Final = ("worker", "api", "dashboard")


def _of_log(noun: str, writers: Collection[str]) -> Iterator[Probe]:
    def on(operation: str, **more: Any) -> Callable[[Clients, Account], Any]:
        return lambda aws, at: getattr(aws("logs"), operation)(logGroupName=at.found(f"logs/{noun}", "name"), **more)

    def begin(aws: Clients, at: Account) -> Any:
        _gone(at, f"logs/{noun}")
        return on("create_log_stream", logStreamName="probed")(aws, at)

    def say(aws: Clients, at: Account) -> Any:
        _there(at, f"logs/{noun}")
        return on(
            "put_log_events",
            logStreamName="said",
            logEvents=[{"timestamp": 1_795_000_000_000, "message": "m"}],
        )(aws, at)

    yield Probe(f"begin a log of {noun}", "logs:CreateLogStream", writers, begin)
    yield Probe(f"write a log of {noun}", "logs:PutLogEvents", writers, say)
    yield Probe(f"which logs of {noun}", "logs:DescribeLogStreams", TASKS if noun == "collector" else NOBODY, on("describe_log_streams"))
    yield Probe(f"read a log of {noun}", "logs:FilterLogEvents", NOBODY, on("filter_log_events"))
    yield Probe(f"the logs of {noun} away", "logs:DeleteLogGroup", NOBODY, on("delete_log_group"))


def _gone(at: Account, path: str) -> None:
    logs, group = at.root("logs"), at.found(path, "name")
    if logs.describe_log_streams(logGroupName=group, logStreamNamePrefix="probed")["logStreams"]:
        logs.delete_log_stream(logGroupName=group, logStreamName="probed")


def _there(at: Account, path: str) -> None:
    logs, group = at.root("logs"), at.found(path, "name")
    if not logs.describe_log_streams(logGroupName=group, logStreamNamePrefix="said")["logStreams"]:
        logs.create_log_stream(logGroupName=group, logStreamName="said")


IMAGES: Final[Mapping[str, Collection[str]]] = {
    "worker": ("worker-start",),
    "api": ("api-start", "migrate-start"),
    "dashboard": ("dashboard-start",),
    "collector": ("worker-start", "api-start", "dashboard-start"),
}
"""Image -> who pulls it; the migration is a command of the API's."""
LAYER: Final = f"sha256:{'0' * 64}"


def _of_image(service: str, starts: Collection[str]) -> Iterator[Probe]:
    def on(operation: str, **more: Any) -> Callable[[Clients, Account], Any]:
        return lambda aws, at: getattr(aws("ecr"), operation)(repositoryName=at.repository(service), **more)

    yield Probe(f"pull {service}", "ecr:BatchGetImage", starts, on("batch_get_image", imageIds=[{"imageTag": "any"}]))
    yield Probe(f"layers of {service}", "ecr:BatchCheckLayerAvailability", starts, on("batch_check_layer_availability", layerDigests=[LAYER]))
    yield Probe(f"a layer of {service}", "ecr:GetDownloadUrlForLayer", starts, on("get_download_url_for_layer", layerDigest=LAYER))
    yield Probe(f"another {service}", "ecr:PutImage", NOBODY, on("put_image", imageManifest="{}", imageTag="any"))
    yield Probe(f"{service} away", "ecr:DeleteRepository", NOBODY, on("delete_repository", force=True))


# --- API keys, and the rest -----------------------------------------------------------------------------


def _api_key(at: Account) -> str:
    """A key that is there. Whose it is its tags say, which the emulator does not see."""
    return str(at.root("apigateway").create_api_key(name="millrace-key-probed", enabled=True)["id"])


def _plan(at: Account) -> str:
    return at.found("gateway/plan", "id")


def _joined(at: Account) -> dict[str, str]:
    where = {"usagePlanId": _plan(at), "keyId": _api_key(at)}
    at.root("apigateway").create_usage_plan_key(**where, keyType="API_KEY")
    return where


KEYS_ALONE: Final = ("rotate-api-keys",)
API_KEYS: Final = (
    Probe("read a key of ours", "apigateway:GET", KEYS_ALONE, lambda aws, at: aws("apigateway").get_api_key(apiKey=_api_key(at), includeValue=True), owned=False),
    Probe("a key of ours away", "apigateway:DELETE", KEYS_ALONE, lambda aws, at: aws("apigateway").delete_api_key(apiKey=_api_key(at)), owned=False),
    Probe("into the plan", "apigateway:POST", KEYS_ALONE, lambda aws, at: aws("apigateway").create_usage_plan_key(usagePlanId=_plan(at), keyId=_api_key(at), keyType="API_KEY")),
    Probe("is it in the plan", "apigateway:GET", KEYS_ALONE, lambda aws, at: aws("apigateway").get_usage_plan_key(**_joined(at))),
    Probe("which are in the plan", "apigateway:GET", KEYS_ALONE, lambda aws, at: aws("apigateway").get_usage_plan_keys(usagePlanId=_plan(at))),
    Probe("out of the plan", "apigateway:DELETE", NOBODY, lambda aws, at: aws("apigateway").delete_usage_plan_key(**_joined(at))),
    Probe("loosen the plan", "apigateway:PATCH", NOBODY, lambda aws, at: aws("apigateway").update_usage_plan(usagePlanId=_plan(at), patchOperations=[{"op": "replace", "path": "/quota/limit", "value": "9"}])),
    Probe("the API away", "apigateway:DELETE", NOBODY, lambda aws, at: aws("apigateway").delete_rest_api(restApiId=at.found("gateway/api", "id"))),
    Probe("make a key", "apigateway:POST", KEYS_ALONE, lambda aws, at: aws("apigateway").create_api_key(name="millrace-key-made", enabled=True), owned=False),
    Probe("which keys there are", "apigateway:GET", KEYS_ALONE, lambda aws, at: aws("apigateway").get_api_keys(), owned=False),
)


def _interface(at: Account) -> dict[str, str]:
    made = at.root("ec2").create_network_interface(SubnetId=_subnet(at))
    return {"NetworkInterfaceId": made["NetworkInterface"]["NetworkInterfaceId"]}


def _subnet(at: Account) -> str:
    return str(at.root("ec2").describe_subnets()["Subnets"][0]["SubnetId"])


REST: Final = (
    Probe("into the queue of what was not delivered", "sqs:SendMessage", FUNCTIONS, lambda aws, at: aws("sqs").send_message(QueueUrl=at.found("rotation/undelivered", "url"), MessageBody="an event")),
    Probe("out of it", "sqs:ReceiveMessage", NOBODY, lambda aws, at: aws("sqs").receive_message(QueueUrl=at.found("rotation/undelivered", "url"))),
    Probe("sign in to the registry", "ecr:GetAuthorizationToken", STARTS, lambda aws, at: aws("ecr").get_authorization_token(), owned=False),
    Probe("which subnets", "ec2:DescribeSubnets", FUNCTIONS, lambda aws, at: aws("ec2").describe_subnets(), owned=False),
    Probe("which interfaces", "ec2:DescribeNetworkInterfaces", FUNCTIONS, lambda aws, at: aws("ec2").describe_network_interfaces(), owned=False),
    Probe("an interface", "ec2:CreateNetworkInterface", FUNCTIONS, lambda aws, at: aws("ec2").create_network_interface(SubnetId=_subnet(at)), owned=False),
    Probe("an interface away", "ec2:DeleteNetworkInterface", FUNCTIONS, lambda aws, at: aws("ec2").delete_network_interface(**_interface(at)), owned=False),
    Probe("a machine", "ec2:RunInstances", NOBODY, lambda aws, at: aws("ec2").run_instances(ImageId="ami-12345678", MinCount=1, MaxCount=1), owned=False),
    Probe("take another role", "sts:AssumeRole", NOBODY, lambda aws, at: at.take(at.program.at("deployment/role/role")["name"], aws)),
    Probe("more rights for itself", "iam:PutRolePolicy", NOBODY, lambda aws, at: aws("iam").put_role_policy(RoleName=at.program.at("worker/task/task-role/role")["name"], PolicyName="all", PolicyDocument='{"Version": "2012-10-17", "Statement": []}')),
    Probe("a person's key", "iam:CreateAccessKey", NOBODY, lambda aws, at: aws("iam").create_access_key(UserName="anybody"), owned=False),
    Probe("another function", "lambda:UpdateFunctionCode", NOBODY, lambda aws, at: aws("lambda").update_function_code(FunctionName=f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:any", ZipFile=b"x"), owned=False),
)
