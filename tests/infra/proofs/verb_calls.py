"""What the verbs ask of AWS beside Terraform, by the module that asks; a test holds the table against the code."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

import botocore.session
from botocore import xform_name

from millrace_infra.account_parts import SERVICE_LINKED

ROOT: Final = Path(__file__).parents[3]
REGION: Final = "eu-central-1"
ACCOUNT: Final = "123456789012"
SUFFIX: Final = "t1"


class Call(NamedTuple):
    """A method of a boto3 client, and the resource that IAM looks at."""

    service: str
    method: str
    resource: str = "*"

    @property
    def action(self) -> str:
        special = ACTIONS.get((self.service, self.method))
        if special:
            return special
        prefix = PREFIXES.get(self.service, self.service)
        return f"{prefix}:{operations(self.service)[self.method]}"


def arn(service: str, resource: str) -> str:
    return f"arn:aws:{service}:{REGION}:{ACCOUNT}:{resource}"


def secret(name: str) -> str:
    return arn("secretsmanager", f"secret:millrace/{SUFFIX}/{name}-AbCdEf")


PREFIXES: Final = {
    "resourcegroupstaggingapi": "tag", "elbv2": "elasticloadbalancing", "service-quotas": "servicequotas",
}  # fmt: skip
ACTIONS: Final = {
    ("s3", "head_bucket"): "s3:ListBucket",
    ("s3", "list_objects_v2"): "s3:ListBucket",
    ("s3", "list_object_versions"): "s3:ListBucketVersions",
    ("s3", "head_object"): "s3:GetObjectVersion",
    ("s3", "get_object"): "s3:GetObjectVersion",
    ("s3", "get_object_lock_configuration"): "s3:GetBucketObjectLockConfiguration",
    **{("apigateway", method): "apigateway:GET" for method in (
        "get_account", "get_api_key", "get_api_keys", "get_base_path_mappings", "get_domain_name", "get_rest_api",
        "get_usage_plan_keys",
    )},
    ("apigateway", "delete_api_key"): "apigateway:DELETE",
}  # fmt: skip
"""Where IAM calls it otherwise than the API does. Source: Service Authorization Reference."""
FREE: Final = {"sts:GetCallerIdentity"}
"""Needs no grant, and cannot be refused. Source: AWS STS API reference."""

OURS: Final = {"decrypt"}
"""Methods of our own that an operation of AWS has the name of: `ExistingSecrets.decrypt` makes a statement."""

GATEWAY: Final = f"arn:aws:apigateway:{REGION}::"
TASKS: Final = "cluster/millrace-cluster-t1"
_SERVICE: Final = arn("ecs", "service/millrace-cluster-t1/millrace-worker-t1")
_GROUP: Final = arn("codedeploy", "deploymentgroup:millrace-deployment-t1/millrace-api-deployment-t1")
_ARCHIVE: Final = f"arn:aws:s3:::millrace-archive-{ACCOUNT}-{REGION}-t1"
_INFRA: Final = "src/millrace_infra/"

ASKED: Final[dict[str, tuple[Call, ...]]] = {
    _INFRA + "preflight.py": (
        Call("sts", "get_caller_identity"),
        Call("ec2", "describe_availability_zones"),
        Call("s3", "head_bucket", f"arn:aws:s3:::millrace-state-{ACCOUNT}-{REGION}"),
        Call("s3", "head_bucket", _ARCHIVE),
        Call("s3", "get_object_lock_configuration", _ARCHIVE),
        Call("kinesis", "describe_limits"),
        Call("kinesis", "describe_stream_summary", arn("kinesis", "stream/millrace-stream-t1")),
        Call("acm", "describe_certificate", arn("acm", "certificate/1")),
        *(Call("secretsmanager", "describe_secret", secret(name))
          for name in ("database-master", "database-user", "api-signing", "api-keys", "dashboard-oidc")),
        *(Call("secretsmanager", "get_secret_value", secret(name))
          for name in ("database-master", "database-user", "dashboard-oidc")),
        Call("kms", "list_aliases"),
        Call("iam", "get_policy", f"arn:aws:iam::{ACCOUNT}:policy/millrace-role-boundary-{REGION}"),
        Call("apigateway", "get_account", f"{GATEWAY}/account"),
        Call("resourcegroupstaggingapi", "get_resources"),
    ),
    _INFRA + "account_parts.py": (
        Call("xray", "get_encryption_config"),
        Call("backup", "describe_region_settings"),
        Call("ecr", "get_registry_scanning_configuration"),
        *(Call("iam", "get_role", f"arn:aws:iam::{ACCOUNT}:role/aws-service-role/{service}/{role}")
          for service, role in SERVICE_LINKED.values()),
    ),
    _INFRA + "quotas.py": (
        Call("ec2", "describe_vpcs"),
        Call("ec2", "describe_addresses"),
        Call("elbv2", "describe_load_balancers"),
        Call("rds", "describe_db_clusters", arn("rds", "cluster:*")),
        Call("rds", "describe_db_instances", arn("rds", "db:*")),
        Call("service-quotas", "get_service_quota"),
        Call("service-quotas", "get_aws_default_service_quota"),
    ),
    _INFRA + "images.py": (
        Call("ecr", "describe_images", arn("ecr", "repository/millrace-api-t1")),
        Call("ecr", "get_authorization_token"),
    ),
    _INFRA + "first_rotation.py": (
        Call("rds", "describe_db_clusters", arn("rds", "cluster:millrace-aurora-t1")),
        *(Call("secretsmanager", method, secret(name))
          for method in ("describe_secret", "rotate_secret") for name in ("database-user", "api-signing", "api-keys")),
    ),
    _INFRA + "rollout.py": (
        Call("ecs", "run_task", arn("ecs", "task-definition/millrace-migrate-t1:1")),
        Call("ecs", "describe_tasks", arn("ecs", "task/millrace-cluster-t1/1")),
        Call("ecs", "describe_services", _SERVICE),
        Call("ecs", "update_service", _SERVICE),
    ),
    _INFRA + "traffic_shift.py": tuple(
        Call("codedeploy", method, _GROUP)
        for method in ("create_deployment", "get_deployment", "list_deployments", "list_deployment_targets",
                       "get_deployment_target", "continue_deployment")
    ),
    _INFRA + "remains.py": (
        Call("apigateway", "get_api_keys", f"{GATEWAY}/apikeys"),
        Call("apigateway", "delete_api_key", f"{GATEWAY}/apikeys/1"),
        Call("logs", "describe_log_groups"),
        Call("logs", "delete_log_group", arn("logs", "log-group:/millrace/api-t1")),
        Call("ecs", "list_task_definitions"),
        Call("ecs", "deregister_task_definition"),
        Call("ecs", "delete_task_definitions", arn("ecs", "task-definition/millrace-api-t1:1")),
        Call("resourcegroupstaggingapi", "get_resources"),
        Call("iam", "list_roles"),
        Call("kms", "describe_key", arn("kms", "key/1")),
        Call("ec2", "describe_nat_gateways"),
        Call("ecs", "describe_clusters", arn("ecs", "cluster/millrace-cluster-t1")),
        Call("ecs", "describe_services", _SERVICE),
    ),
    _INFRA + "records_export.py": (
        Call("s3", "list_object_versions", _ARCHIVE), Call("s3", "head_object", f"{_ARCHIVE}/critical/1"),
        Call("s3", "get_object", f"{_ARCHIVE}/critical/1"),
    ),
    "tests/account/test_deployed.py": (
        Call("apigateway", "get_usage_plan_keys", f"{GATEWAY}/usageplans/1/keys"),
        Call("apigateway", "get_api_key", f"{GATEWAY}/apikeys/1"),
        Call("apigateway", "get_domain_name", f"{GATEWAY}/domainnames/api.example.com"),
        Call("apigateway", "get_base_path_mappings", f"{GATEWAY}/domainnames/api.example.com/basepathmappings"),
        Call("apigateway", "get_rest_api", f"{GATEWAY}/restapis/1"),
        Call("wafv2", "list_web_acls"),
        Call("wafv2", "list_resources_for_web_acl", arn("wafv2", "regional/webacl/millrace-firewall-t1/1")),
        Call("ecs", "describe_services", _SERVICE),
        Call("ecs", "list_tasks"),
        Call("ecs", "describe_tasks", arn("ecs", "task/millrace-cluster-t1/1")),
        Call("kinesis", "describe_stream_summary", arn("kinesis", "stream/millrace-stream-t1")),
        Call("cloudwatch", "describe_alarms", arn("cloudwatch", "alarm:*")),
        Call("elasticache", "describe_replication_groups", arn("elasticache", "replicationgroup:millrace-cache-t1")),
        Call("elasticache", "describe_user_groups", arn("elasticache", "usergroup:millrace-cache-users-t1")),
        Call("elasticache", "describe_users", arn("elasticache", "user:millrace-api-t1")),
        Call("rds", "describe_db_clusters", arn("rds", "cluster:millrace-aurora-t1")),
        Call("secretsmanager", "describe_secret", secret("database-user")),
    ),
}  # fmt: skip
"""Module -> its calls, those of `make verify-deployed` included. `bootstrap` is a person's: it makes these roles."""
DOCKER: Final = ("BatchCheckLayerAvailability", "BatchGetImage", "CompleteLayerUpload", "GetDownloadUrlForLayer",
                 "InitiateLayerUpload", "PutImage", "UploadLayerPart")  # fmt: skip
"""What the copy of an image asks of the registry."""
READ_BY_THE_PROVIDER: Final[dict[str, tuple[str, ...]]] = {
    "aws_lambda_function": (
        "lambda:GetFunction", "lambda:GetFunctionCodeSigningConfig", "lambda:ListVersionsByFunction",
    ),
    "aws_lambda_permission": ("lambda:GetPolicy",),
    "aws_budgets_budget": ("budgets:ViewBudget", "budgets:ListTagsForResource"),
    "aws_kms_key": ("kms:DescribeKey", "kms:GetKeyPolicy", "kms:GetKeyRotationStatus", "kms:ListResourceTags"),
    "aws_sqs_queue": ("sqs:GetQueueAttributes", "sqs:ListQueueTags"),
    "aws_route53_zone": ("route53:GetHostedZone", "route53:ListTagsForResource"),
    "aws_route53_record": ("route53:ListResourceRecordSets",),
    "aws_cloudwatch_log_group": ("logs:DescribeLogGroups", "logs:ListTagsForResource"),
    "aws_kinesis_stream": ("kinesis:DescribeStreamSummary", "kinesis:ListTagsForStream"),
    "aws_dynamodb_table": (
        "dynamodb:DescribeTable", "dynamodb:DescribeContinuousBackups", "dynamodb:DescribeTimeToLive",
        "dynamodb:ListTagsOfResource",
    ),
    "aws_api_gateway_rest_api": ("apigateway:GET",),
    "aws_wafv2_web_acl": ("wafv2:GetWebACL", "wafv2:ListTagsForResource"),
}  # fmt: skip
"""Kind of resource -> what provider 5.100.0 calls to read one: kinds of which a wide pattern may miss a call."""


@cache
def operations(service: str) -> dict[str, str]:
    """Method of a client -> operation of the API."""
    names = botocore.session.get_session().get_service_model(service).operation_names
    return {xform_name(name): name for name in names}


def made_in(file: str) -> set[str]:
    """Methods of AWS's clients that a module of ours calls, or pages through."""
    known = {method for calls in ASKED.values() for call in calls for method in operations(call.service)}
    known -= OURS
    tree = ast.parse((ROOT / file).read_text())
    return {name for node in ast.walk(tree) for name in _named(node)} & known


def services_in(file: str) -> set[str]:
    """Services of which a module of ours asks for a client: `client("ecs")`."""
    calls = [node for node in ast.walk(ast.parse((ROOT / file).read_text())) if isinstance(node, ast.Call)]
    named = [one.args[0] for one in calls if one.args and ast.unparse(one.func).endswith("client")]
    return {arg.value for arg in named if isinstance(arg, ast.Constant) and isinstance(arg.value, str)}


def _named(node: ast.AST) -> Iterator[str]:
    """A method that is called, or one that is handed on by its name: to a paginator, in a table."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        yield node.func.attr
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
