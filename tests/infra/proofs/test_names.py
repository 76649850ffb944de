"""Names end in the suffix, everywhere; two suffixes share nothing, and a suffix fits both regions."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from millrace_infra.naming import SUFFIX_LENGTH_MAX
from millrace_infra.settings.regions import regions
from tests.infra.conftest import ENVIRONMENTS, SUFFIX, Synthesize
from tests.infra.program import Program, Resource

NAMING = (
    "alarm_name", "alias", "bucket", "cluster_identifier", "creation_token", "dashboard_name",
    "deployment_group_name", "domain_name", "function_name", "group_name", "identifier", "name", "replication_group_id",
    "rule_name", "stage_name", "user_group_id", "user_id", "user_name",
)  # fmt: skip
"""Attributes by which AWS knows a thing. A task definition's `family` is one, a parameter group's is not."""
NAMED_BY_OTHERS = {
    # what it is called is part of a name of ours already, or of no name space at all
    ("aws_iam_role_policy", "name"): "inline: it lives inside its role",
    ("aws_elasticache_user", "user_name"): "every group must hold one user called default",
}
DOMAINS = {
    ("aws_api_gateway_domain_name", "domain_name"),
    ("aws_route53_zone", "name"),
    ("aws_route53_record", "name"),
}
"""A certificate's wildcard stands for the first label, so that is where the suffix is."""
LIKE_A_NAME = re.compile(r"(^|_)(name|identifier|id|alias|bucket|family|token|path|prefix|domain)$")
NO_NAME = {
    "availability_zone_id": "AWS's",
    "database_name": "inside its cluster",
    "deployment_config_name": "AWS's",
    "display_name": "shown in mails, unique nowhere",
    "domain": "kind of an address",
    "family": "AWS's, of a parameter group; a task definition's is a name",
    "method_path": "inside its stage",
    "metric_name": "inside its namespace, which has the suffix",
    "service_name": "AWS's",
    "statement_id": "inside its function's policy",
    "target_id": "inside its rule",
    "target_prefix": "inside its bucket",
    "transit_gateway_id": "a setting: what carries several networks",
    "url_path": "a pattern",
}
"""Attributes that read like a name and are none by which AWS knows a thing of ours."""
NAMELESS = {
    "aws_api_gateway_base_path_mapping", "aws_api_gateway_deployment", "aws_api_gateway_method_settings",
    "aws_appautoscaling_target", "aws_backup_vault_policy", "aws_cloudwatch_event_target",
    "aws_default_security_group", "aws_ec2_transit_gateway_vpc_attachment", "aws_ecr_lifecycle_policy",
    "aws_efs_access_point", "aws_efs_file_system_policy", "aws_efs_mount_target", "aws_eip", "aws_flow_log",
    "aws_internet_gateway", "aws_kms_key", "aws_lambda_permission", "aws_lb_listener", "aws_lb_listener_rule",
    "aws_lb_target_group_attachment", "aws_nat_gateway", "aws_network_acl", "aws_route", "aws_route_table",
    "aws_route_table_association", "aws_s3_bucket_lifecycle_configuration", "aws_s3_bucket_logging",
    "aws_s3_bucket_object_lock_configuration", "aws_s3_bucket_ownership_controls", "aws_s3_bucket_policy",
    "aws_s3_bucket_public_access_block", "aws_s3_bucket_replication_configuration",
    "aws_s3_bucket_server_side_encryption_configuration", "aws_s3_bucket_versioning",
    "aws_secretsmanager_secret_rotation", "aws_sns_topic_policy", "aws_sns_topic_subscription",
    "aws_sqs_queue_policy", "aws_subnet", "aws_vpc", "aws_vpc_endpoint", "aws_vpc_security_group_egress_rule",
    "aws_vpc_security_group_ingress_rule", "aws_wafv2_web_acl_association",
    "aws_wafv2_web_acl_logging_configuration",
}  # fmt: skip
"""Kinds that AWS gives an id, and that are known by it or by what they belong to."""
PRESCRIBED = ("/aws/ecs/containerinsights/", "/aws/rds/cluster/")
"""Log groups that a service names itself, our name in the middle."""

CHARACTERS_MAX = {
    "aws_s3_bucket": 63, "aws_iam_role": 64, "aws_iam_policy": 128, "aws_lb": 32, "aws_lb_target_group": 32,
    "aws_lambda_function": 64, "aws_elasticache_replication_group": 40, "aws_rds_cluster": 63,
    "aws_rds_cluster_instance": 63, "aws_ecr_repository": 256,
}  # fmt: skip
"""Source: the quotas page of each service."""


def own_names(program: Program) -> Iterator[tuple[Resource, str, str]]:
    """(resource, attribute, name) of every name that is written in the program and not another resource's."""
    for resource in program:
        keys = (*NAMING, "family") if resource.type == "aws_ecs_task_definition" else NAMING
        for key in keys:
            value = resource.get(key)
            if isinstance(value, str) and "${" not in value:
                yield resource, key, value


@pytest.mark.requirement("S-03")
def test_what_can_have_a_name_has_one_of_ours(suffixed: Program) -> None:
    """Where the program says none, Terraform makes one up at random: without the suffix, and another one each time."""
    for resource in suffixed:
        keys = (*NAMING, "family") if resource.type == "aws_ecs_task_definition" else NAMING
        if resource.type not in NAMELESS:
            assert any(resource.get(key) for key in keys), resource.path


def test_no_row_of_the_kinds_without_a_name_is_left_over(synthesize: Synthesize) -> None:
    assert {one.type for program in synthesize("us-east-1").values() for one in program} >= NAMELESS


@pytest.mark.requirement("S-03")
def test_every_name_ends_in_the_suffix(suffixed: Program) -> None:
    found = 0
    for resource, key, value in own_names(suffixed):
        if (resource.type, key) in NAMED_BY_OTHERS or value.startswith(PRESCRIBED):
            continue
        name = value.partition(".")[0] if (resource.type, key) in DOMAINS else value
        assert name.endswith(f"-{SUFFIX}"), f"{resource.path} {key}: {value}"
        assert "millrace" in value or value.startswith("mr-"), f"{resource.path} {key}: {value}"
        found += 1
    assert found > 3


@pytest.mark.requirement("S-02")
@pytest.mark.requirement("S-03")
def test_every_name_fits_in_the_region_of_the_longest_name_under_the_longest_suffix(suffixed: Program) -> None:
    """A platform that is moved to another region finds no limit half way."""
    here = str(suffixed.json["provider"]["aws"][0]["region"])
    longest = max(regions(), key=len)
    for resource, key, value in own_names(suffixed):
        name = value.replace(here, longest).removesuffix(SUFFIX) + "x" * SUFFIX_LENGTH_MAX
        most = CHARACTERS_MAX.get(resource.type, 255)
        assert len(name) <= most, f"{resource.path} {key}: {name} has {len(name)} characters, and {most} are taken"


@pytest.mark.requirement("S-03")
def test_a_name_that_aws_prescribes_still_holds_the_suffix(suffixed: Program) -> None:
    for resource, _, value in own_names(suffixed):
        if value.startswith(PRESCRIBED):
            assert f"-{SUFFIX}/" in value, resource.path


@pytest.mark.requirement("S-03")
def test_no_attribute_that_reads_like_a_name_is_unknown(suffixed: Program) -> None:
    """A new kind of resource brings its own word for a name: it is in one of the two lists, or this fails."""
    found = {
        key for resource in suffixed for key, value in resource.body.items()
        if isinstance(value, str) and LIKE_A_NAME.search(key)
    }  # fmt: skip
    assert found <= {*NAMING, *NO_NAME, *references(suffixed)}


def references(program: Program) -> set[str]:
    """Attributes that are nowhere written out: each names another resource."""
    written = {
        key for resource in program for key, value in resource.body.items()
        if isinstance(value, str) and "${" not in value
    }  # fmt: skip
    return {key for resource in program for key in resource.body} - written


@pytest.mark.requirement("S-03")
def test_no_row_of_what_is_no_name_is_left_over(synthesize: Synthesize) -> None:
    platform = synthesize("us-east-1")[f"millrace-{SUFFIX}"]
    written = {key for resource in platform for key in resource.body} - references(platform)
    assert set(NO_NAME) <= written


@pytest.mark.requirement("S-03")
@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_two_suffixes_in_one_region_share_no_name(synthesize: Synthesize, environment: str) -> None:
    shared = set()
    for stack in ("millrace-{}", "millrace-registry-{}"):
        ours, theirs = (
            {(resource.type, key, value)
             for resource, key, value in own_names(synthesize(environment, suffix)[stack.format(suffix)])}
            for suffix in (SUFFIX, "t2")
        )  # fmt: skip
        shared |= ours & theirs
    assert {(kind, key) for kind, key, _ in shared} <= set(NAMED_BY_OTHERS)


@pytest.mark.requirement("S-02")
@pytest.mark.requirement("S-03")
def test_one_suffix_in_two_regions_of_an_account_shares_no_name_that_is_not_regional(
    synthesize: Synthesize,
) -> None:
    """Buckets are the world's and roles the account's; the rest is a region's."""
    names = [
        {value for resource, _, value in own_names(synthesize(environment)[f"millrace-{SUFFIX}"])
         if resource.type in ("aws_s3_bucket", "aws_iam_role", "aws_iam_policy", "aws_budgets_budget",
                              "aws_cloudwatch_dashboard")}
        for environment in ("eu-central-1", "us-east-1")
    ]  # fmt: skip
    assert all(names)
    assert not names[0] & names[1]
