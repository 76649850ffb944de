"""What exists once per account and region is in a stack of its own, and in no suffix's."""

from __future__ import annotations

import json
from fnmatch import fnmatchcase

import pytest

from tests.infra.conftest import FOLDER, Synthesize
from tests.infra.program import Program
from tests.infra.proofs.conftest import Stacks
from tests.infra.stores import test_standing

ONCE = {
    "aws_api_gateway_account": "the log role of all APIs of the region",
    "aws_backup_region_settings": "which kinds AWS Backup looks after in the region",
    "aws_ebs_default_kms_key": "of the account",
    "aws_ebs_encryption_by_default": "of the account",
    "aws_ecr_registry_policy": "the registry is the account's, a repository is ours",
    "aws_ecr_registry_scanning_configuration": "the registry is the account's",
    "aws_ecs_account_setting_default": "of the account",
    "aws_iam_account_alias": "of the account",
    "aws_iam_account_password_policy": "of the account",
    "aws_iam_openid_connect_provider": "one for each host in the account",
    "aws_iam_service_linked_role": "one for each service in the account",
    "aws_s3_account_public_access_block": "of the account",
    "aws_xray_encryption_config": "one key for all traces of the region",
}
"""Kinds that are the account's: in a suffix's stack, the first to be destroyed would take them from its neighbours."""


@pytest.fixture(scope="session")
def account(stacks: Stacks) -> Program:
    return stacks("eu-central-1", "account")


@pytest.mark.requirement("S-04")
def test_a_suffix_s_stack_holds_nothing_of_the_account_s(suffixed: Program) -> None:
    assert not {resource.type for resource in suffixed} & set(ONCE)


@pytest.mark.requirement("S-03")
def test_the_account_s_stack_is_the_same_for_every_environment_and_suffix_of_a_region(
    synthesize: Synthesize, account: Program
) -> None:
    """Any of them may bootstrap the account, and none undoes what another did."""
    for environment, suffix in (("dev", "t1"), ("dev", "t2")):
        assert synthesize(environment, suffix)["millrace-account"].text == account.text
    assert "-t1" not in account.text


@pytest.mark.requirement("S-12")
def test_the_state_lies_encrypted_with_its_former_versions_where_the_stacks_look_for_it(
    account: Program, stacks: Stacks
) -> None:
    (bucket,) = account.of("aws_s3_bucket")
    for kind in ("platform", "registry", "account"):
        backend = stacks("eu-central-1", kind).json["terraform"]["backend"]["s3"]
        assert backend["bucket"] == bucket["bucket"]
        assert backend["encrypt"] is True
        assert backend["use_lockfile"] is True
        assert backend["kms_key_id"] in [alias["name"] for alias in account.of("aws_kms_alias")]
    (versioning,) = account.of("aws_s3_bucket_versioning")
    assert versioning["versioning_configuration"]["status"] == "Enabled"
    (life_cycle,) = account.of("aws_s3_bucket_lifecycle_configuration")
    for rule in life_cycle["rule"]:
        for expiration in rule.get("expiration") or ():
            assert "days" not in expiration, "a current state has no age"


@pytest.mark.requirement("S-23")
def test_traces_are_under_a_key_and_the_gateway_may_log(account: Program) -> None:
    (traces,) = account.of("aws_xray_encryption_config")
    assert traces["type"] == "KMS"
    key = account.follow(traces["key_id"])
    assert key is not None
    assert key.type == "aws_kms_key"
    (gateway,) = account.of("aws_api_gateway_account")
    role = account.follow(gateway["cloudwatch_role_arn"])
    assert role is not None
    (trusted,) = role.statements("assume_role_policy")
    assert trusted["Principal"] == {"Service": "apigateway.amazonaws.com"}
    assert any("gateway-logs-policy" in one for one in gateway["depends_on"])


@pytest.mark.requirement("S-20")
def test_backups_of_the_database_and_the_files_are_opted_into(account: Program) -> None:
    (backup,) = account.of("aws_backup_region_settings")
    assert backup["resource_type_opt_in_preference"] == {"Aurora": True, "EFS": True}


@pytest.mark.requirement("S-25")
@pytest.mark.parametrize(("verb", "jobs"), [("plan", ["plan"]), ("deploy", ["deploy", "ephemeral", "roll-back"])])
def test_only_a_job_of_our_repository_that_was_let_through_takes_a_role(
    account: Program, verb: str, jobs: list[str]
) -> None:
    role = account.at(f"ci/{verb}")
    (statement,) = role.statements("assume_role_policy")
    assert statement["Action"] == "sts:AssumeRoleWithWebIdentity"
    host = "token.actions.githubusercontent.com"
    assert statement["Condition"] == {
        "StringEquals": {
            f"{host}:aud": "sts.amazonaws.com",
            f"{host}:sub": [f"repo:example-org/millrace:environment:{job}" for job in jobs],
        }
    }
    provider = account.follow(statement["Principal"]["Federated"])
    assert provider is not None
    assert provider["url"] == f"https://{host}"
    boundary = account.follow(role["permissions_boundary"])
    assert boundary is not None
    assert boundary.path == "ci/boundary"


@pytest.mark.requirement("S-12")
def test_the_state_is_under_its_own_key_and_a_former_one_is_kept_as_long_as_the_page_says(account: Program) -> None:
    (encryption,) = account.of("aws_s3_bucket_server_side_encryption_configuration")
    method = encryption["rule"][0]["apply_server_side_encryption_by_default"]
    assert account.follow(method["kms_master_key_id"]) == account.at("state-key/key")
    (life_cycle,) = account.of("aws_s3_bucket_lifecycle_configuration")
    former = [one.get("noncurrent_version_expiration") for one in life_cycle["rule"]]
    assert [one for one in former if one] == [[{"noncurrent_days": 90}]]
    page = (FOLDER.parent / "docs" / "deploy.md").read_text(encoding="utf-8")
    assert "former states are kept 90 days" in page
    test_standing.test_an_alias_leads_to_the_key_beside_it(account)


@pytest.mark.requirement("S-13")
@pytest.mark.parametrize(("noun", "service"), [("state", "s3"), ("traces", "xray")])
def test_a_key_of_the_account_is_used_through_its_one_service(account: Program, noun: str, service: str) -> None:
    administer, use, grant = account.at(f"{noun}-key/key").statements()
    assert not any(action in ("kms:Decrypt", "kms:*") for action in administer["Action"])
    for one in (use, grant):
        assert one["Condition"]["StringEquals"] == {
            "kms:ViaService": [f"{service}.eu-central-1.amazonaws.com"], "kms:CallerAccount": "123456789012",
        }  # fmt: skip
    assert grant["Action"] == ["kms:CreateGrant"]
    assert grant["Condition"]["Bool"] == {"kms:GrantIsForAWSResource": "true"}


@pytest.mark.requirement("S-25")
def test_every_image_of_ours_is_scanned_as_it_is_pushed(account: Program, stacks: Stacks) -> None:
    (scanning,) = account.of("aws_ecr_registry_scanning_configuration")
    (rule,) = scanning["rule"]
    (ours,) = rule["repository_filter"]
    assert (rule["scan_frequency"], ours["filter_type"]) == ("SCAN_ON_PUSH", "WILDCARD")
    repositories = [one["name"] for one in stacks("eu-central-1", "registry").of("aws_ecr_repository")]
    assert len(repositories) == 4
    assert all(fnmatchcase(name, ours["filter"]) for name in repositories)


@pytest.mark.requirement("S-04")
def test_the_roles_that_services_make_once_are_made_here(account: Program) -> None:
    """Each service of ours that would make its own with the first suffix, and leave it behind with the last."""
    made = {one["aws_service_name"].partition(".amazonaws")[0] for one in account.of("aws_iam_service_linked_role")}
    assert made == {
        "backup", "ecs", "ecs.application-autoscaling", "elasticache", "elasticfilesystem", "elasticloadbalancing",
        "ops.apigateway", "rds", "transitgateway", "wafv2",
    }  # fmt: skip


@pytest.mark.requirement("S-23")
def test_the_gateway_s_role_may_what_api_gateway_asks_of_it(account: Program) -> None:
    """As AWS's own policy AmazonAPIGatewayPushToCloudWatchLogs says: a role with less is refused."""
    policy = account.at("gateway-logs-policy")
    assert account.follow(policy["role"]) == account.at("gateway-logs")
    (allowed,) = policy.statements()
    assert {action.removeprefix("logs:") for action in allowed["Action"]} == {
        "CreateLogGroup", "CreateLogStream", "DescribeLogGroups", "DescribeLogStreams", "FilterLogEvents",
        "GetLogEvents", "PutLogEvents",
    }  # fmt: skip


@pytest.mark.requirement("S-25")
@pytest.mark.parametrize("role", ["plan", "deploy"])
def test_a_role_of_the_ci_has_its_own_policy_and_time_for_its_job(account: Program, role: str) -> None:
    (provider,) = account.of("aws_iam_openid_connect_provider")
    assert provider["client_id_list"] == ["sts.amazonaws.com"]
    assert account.follow(account.at(f"ci/{role}-policy")["role"]) == account.at(f"ci/{role}")
    assert account.at(f"ci/{role}")["max_session_duration"] == 7200


@pytest.mark.requirement("S-25")
def test_a_provider_that_was_there_keeps_the_audiences_of_others(account: Program) -> None:
    assert "client_id_list" in account.at("ci/provider")["lifecycle"]["ignore_changes"]


@pytest.mark.requirement("S-25")
def test_the_boundary_keeps_the_ci_from_the_account_s_own_things(account: Program) -> None:
    denied = [s for s in account.at("ci/boundary").statements() if s["Effect"] == "Deny"]
    actions = {action for statement in denied for action in statement["Action"]}
    assert actions >= {
        "iam:*", "s3:DeleteBucket*", "s3:DeleteObjectVersion", "kms:ScheduleKeyDeletion",
        "xray:PutEncryptionConfig", "backup:UpdateRegionSettings",
    }  # fmt: skip
    (identity,) = [s for s in denied if s["Action"] == ["iam:*"]]
    assert "arn:aws:iam::123456789012:role/millrace-ci-*" in identity["Resource"]
    assert len(account.at("ci/boundary")["policy"]) < 6144, "the most that a managed policy holds"


@pytest.mark.requirement("S-25")
def test_what_plans_changes_nothing_but_the_state_s_lock(account: Program) -> None:
    for statement in account.at("ci/plan-policy").statements():
        if statement["Effect"] == "Deny":
            continue
        for action in statement["Action"]:
            verb = action.partition(":")[2]
            reads = verb.startswith(("Describe", "Get", "List", "View", "GET"))
            opens = verb in ("Decrypt", "GenerateDataKey") and "kms:ViaService" in json.dumps(statement)
            locks = verb in ("PutObject", "DeleteObject") and statement["Resource"][0].endswith("/*.tflock")
            assert reads or opens or locks, action


@pytest.mark.requirement("S-25")
def test_what_may_be_there_before_us_is_adopted_at_addresses_that_exist(account: Program) -> None:
    from millrace_infra.account import adoptable
    from millrace_infra.settings import load

    found = dict(adoptable(load("dev", "t1", folder=FOLDER)))
    assert set(found) <= {resource.address for resource in account}
    wanted = {
        one.address for one in account.of("aws_iam_service_linked_role", "aws_iam_openid_connect_provider")
    }
    assert set(found) == wanted
    assert all(id.startswith("arn:aws:iam::123456789012:") for id in found.values())


def test_without_a_repository_no_ci_is_let_in(tmp_path: object) -> None:
    from millrace_infra.ci_access import CiAccess
    from millrace_infra.settings import Environment, load

    environment = load("dev", "t1", folder=FOLDER)
    settings = environment.settings.model_copy(
        update={"ci": environment.settings.ci.model_copy(update={"repository": ""})}
    )
    assert list(CiAccess.adoptable(Environment("dev", "t1", settings), "ci")) == []
