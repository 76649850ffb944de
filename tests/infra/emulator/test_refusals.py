"""What our additions refuse: what is there twice, what is not there, what another still needs. Each names its error."""

# ruff: noqa: E501 (a row of a table is a line)

from __future__ import annotations

from typing import Any

import pytest

from tests.infra.emulator.conftest import Client
from tests.infra.emulator.test_additions import refused, role

ACCOUNT, REGION = "123456789012", "eu-central-1"
NOBODY = f"arn:aws:iam::{ACCOUNT}:role/nobody"
SELECTION = {"SelectionName": "s", "IamRoleArn": NOBODY, "Resources": ["*"]}
TOPIC = f"arn:aws:sns:{REGION}:{ACCOUNT}:t"
NOTIFICATION = {"NotificationType": "ACTUAL", "ComparisonOperator": "GREATER_THAN", "Threshold": 80}
GROUP = {"ReplicationGroupId": "new", "ReplicationGroupDescription": "d"}
STYLE = {"deploymentType": "BLUE_GREEN", "deploymentOption": "WITH_TRAFFIC_CONTROL"}
RULE = {
    "RuleName": "nothing", "Priority": 1, "FixedRate": 0.1, "ReservoirSize": 1, "ServiceName": "*", "Host": "*",
    "ServiceType": "*", "HTTPMethod": "*", "URLPath": "*", "ResourceARN": "*", "Version": 1,
}  # fmt: skip

# fmt: off
NOT_THERE: list[tuple[str, str, dict[str, Any], str]] = [
    ("backup", "create_backup_selection", {"BackupPlanId": "none", "BackupSelection": SELECTION}, "ResourceNotFoundException"),
    ("backup", "get_backup_selection", {"BackupPlanId": "none", "SelectionId": "none"}, "ResourceNotFoundException"),
    ("backup", "delete_backup_selection", {"BackupPlanId": "none", "SelectionId": "none"}, "ResourceNotFoundException"),
    ("backup", "put_backup_vault_access_policy", {"BackupVaultName": "none", "Policy": "{}"}, "ResourceNotFoundException"),
    ("backup", "get_backup_vault_access_policy", {"BackupVaultName": "none"}, "ResourceNotFoundException"),
    ("backup", "put_backup_vault_notifications", {"BackupVaultName": "none", "SNSTopicArn": TOPIC, "BackupVaultEvents": ["BACKUP_JOB_FAILED"]}, "ResourceNotFoundException"),
    ("backup", "get_backup_vault_notifications", {"BackupVaultName": "none"}, "ResourceNotFoundException"),
    ("backup", "list_recovery_points_by_backup_vault", {"BackupVaultName": "none"}, "ResourceNotFoundException"),
    ("budgets", "describe_subscribers_for_notification", {"AccountId": ACCOUNT, "BudgetName": "none", "Notification": NOTIFICATION}, "NotFoundException"),
    ("codedeploy", "create_deployment_group", {"applicationName": "none", "deploymentGroupName": "g", "serviceRoleArn": NOBODY}, "ApplicationDoesNotExistException"),
    ("codedeploy", "get_deployment_group", {"applicationName": "there", "deploymentGroupName": "none"}, "DeploymentGroupDoesNotExistException"),
    ("codedeploy", "get_deployment_group", {"applicationName": "none", "deploymentGroupName": "none"}, "ApplicationDoesNotExistException"),
    ("codedeploy", "update_deployment_group", {"applicationName": "there", "currentDeploymentGroupName": "none"}, "DeploymentGroupDoesNotExistException"),
    ("codedeploy", "create_deployment", {"applicationName": "there", "deploymentGroupName": "none"}, "DeploymentGroupDoesNotExistException"),
    ("codedeploy", "list_deployment_targets", {"deploymentId": "d-NONE"}, "DeploymentDoesNotExistException"),
    ("codedeploy", "get_deployment_target", {"deploymentId": "d-NONE", "targetId": "t"}, "DeploymentDoesNotExistException"),
    ("codedeploy", "continue_deployment", {"deploymentId": "d-NONE"}, "DeploymentDoesNotExistException"),
    ("efs", "put_backup_policy", {"FileSystemId": "fs-0123456789", "BackupPolicy": {"Status": "ENABLED"}}, "FileSystemNotFound"),
    ("efs", "delete_file_system_policy", {"FileSystemId": "fs-0123456789"}, "FileSystemNotFound"),
    ("elasticache", "describe_cache_parameter_groups", {"CacheParameterGroupName": "none"}, "CacheParameterGroupNotFound"),
    ("elasticache", "modify_cache_parameter_group", {"CacheParameterGroupName": "none", "ParameterNameValues": []}, "CacheParameterGroupNotFound"),
    ("elasticache", "reset_cache_parameter_group", {"CacheParameterGroupName": "none"}, "CacheParameterGroupNotFound"),
    ("elasticache", "describe_cache_parameters", {"CacheParameterGroupName": "none"}, "CacheParameterGroupNotFound"),
    ("elasticache", "delete_cache_parameter_group", {"CacheParameterGroupName": "none"}, "CacheParameterGroupNotFound"),
    ("elasticache", "modify_user", {"UserId": "none"}, "UserNotFound"),
    ("elasticache", "describe_user_groups", {"UserGroupId": "none"}, "UserGroupNotFound"),
    ("elasticache", "modify_user_group", {"UserGroupId": "none"}, "UserGroupNotFound"),
    ("elasticache", "delete_user_group", {"UserGroupId": "none"}, "UserGroupNotFound"),
    ("elasticache", "create_replication_group", {**GROUP, "CacheParameterGroupName": "none"}, "CacheParameterGroupNotFound"),
    ("elasticache", "create_replication_group", {**GROUP, "CacheSubnetGroupName": "none"}, "CacheSubnetGroupNotFoundFault"),
    ("elasticache", "create_replication_group", {**GROUP, "UserGroupIds": ["none"]}, "UserGroupNotFound"),
    ("elasticache", "modify_replication_group", {"ReplicationGroupId": "none"}, "ReplicationGroupNotFoundFault"),
    ("elasticache", "delete_replication_group", {"ReplicationGroupId": "none"}, "ReplicationGroupNotFoundFault"),
    ("elasticache", "delete_cache_subnet_group", {"CacheSubnetGroupName": "none"}, "CacheSubnetGroupNotFoundFault"),
    ("elasticache", "describe_cache_clusters", {"CacheClusterId": "none"}, "CacheClusterNotFound"),
    ("service-quotas", "get_aws_default_service_quota", {"ServiceCode": "none", "QuotaCode": "none"}, "NoSuchResourceException"),
    ("application-autoscaling", "tag_resource", {"ResourceARN": "arn:aws:none", "Tags": {"a": "b"}}, "ResourceNotFoundException"),
    ("application-autoscaling", "untag_resource", {"ResourceARN": "arn:aws:none", "TagKeys": ["a"]}, "ResourceNotFoundException"),
    ("secretsmanager", "rotate_secret", {"SecretId": "none"}, "ResourceNotFoundException"),
    ("xray", "get_group", {"GroupName": "none"}, "InvalidRequestException"),
    ("xray", "update_group", {"GroupName": "none"}, "InvalidRequestException"),
    ("xray", "delete_group", {"GroupName": "none"}, "InvalidRequestException"),
    ("xray", "update_sampling_rule", {"SamplingRuleUpdate": {"RuleName": "none"}}, "InvalidRequestException"),
    ("xray", "delete_sampling_rule", {"RuleName": "none"}, "InvalidRequestException"),
]
TWICE: list[tuple[str, str, dict[str, Any], str]] = [
    ("codedeploy", "create_application", {"applicationName": "again", "computePlatform": "ECS"}, "ApplicationAlreadyExistsException"),
    ("codedeploy", "create_deployment_group", {"applicationName": "there", "deploymentGroupName": "again", "serviceRoleArn": NOBODY}, "DeploymentGroupAlreadyExistsException"),
    ("elasticache", "create_cache_parameter_group", {"CacheParameterGroupName": "again", "CacheParameterGroupFamily": "valkey8", "Description": "d"}, "CacheParameterGroupAlreadyExists"),
    ("elasticache", "create_user_group", {"UserGroupId": "again", "Engine": "redis", "UserIds": ["default"]}, "UserGroupAlreadyExists"),
    ("elasticache", "create_replication_group", {**GROUP, "ReplicationGroupId": "again", "CacheSubnetGroupName": "default"}, "ReplicationGroupAlreadyExists"),
    ("xray", "create_sampling_rule", {"SamplingRule": {**RULE, "RuleName": "again"}}, "InvalidRequestException"),
]
WRONG: list[tuple[str, str, dict[str, Any], str]] = [
    ("cloudwatch", "put_composite_alarm", {"AlarmName": "c", "AlarmRule": "TRUE"}, "ValidationError"),
    ("efs", "put_backup_policy", {"FileSystemId": "fs-0123456789", "BackupPolicy": {"Status": "SOMETIMES"}}, "ValidationException"),
    ("xray", "create_sampling_rule", {"SamplingRule": {**RULE, "Priority": 10_000}}, "InvalidRequestException"),
    ("xray", "put_encryption_config", {"Type": "NONE", "KeyId": "alias/k"}, "InvalidRequestException"),
]
# fmt: on


@pytest.fixture(scope="module", autouse=True)
def _there(client: Client) -> None:
    """An application without groups, and the subnet group that ElastiCache has of itself."""
    client("codedeploy").create_application(applicationName="there", computePlatform="Server")
    ec2 = client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.7.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.7.1.0/24")["Subnet"]["SubnetId"]
    client("elasticache").create_cache_subnet_group(
        CacheSubnetGroupName="default", CacheSubnetGroupDescription="d", SubnetIds=[subnet]
    )


@pytest.mark.parametrize(("service", "call", "arguments", "code"), [*NOT_THERE, *WRONG])
def test_what_is_not_there_or_wrong_is_refused(
    client: Client, service: str, call: str, arguments: dict[str, Any], code: str
) -> None:
    assert refused(getattr(client(service), call), **arguments) == code


@pytest.mark.parametrize(("service", "call", "arguments", "code"), TWICE)
def test_what_is_there_is_not_made_again(
    client: Client, service: str, call: str, arguments: dict[str, Any], code: str
) -> None:
    make = getattr(client(service), call)
    make(**arguments)
    assert refused(make, **arguments) == code


def test_a_selection_of_another_plan_or_of_one_that_is_gone_is_not_found(client: Client) -> None:
    backup = client("backup")
    backup.create_backup_vault(BackupVaultName="plans")
    rules = [{"RuleName": "daily", "TargetBackupVaultName": "plans"}]
    one, other = (
        backup.create_backup_plan(BackupPlan={"BackupPlanName": name, "Rules": rules})["BackupPlanId"]
        for name in ("one", "other")
    )
    selection = SELECTION | {"IamRoleArn": role(client, "selects")}
    made = backup.create_backup_selection(BackupPlanId=one, BackupSelection=selection)["SelectionId"]
    found = backup.get_backup_selection(BackupPlanId=one, SelectionId=made)
    assert found["BackupSelection"]["Resources"] == ["*"]
    listed = backup.list_backup_selections(BackupPlanId=one)["BackupSelectionsList"]
    assert [(row["SelectionId"], row["SelectionName"]) for row in listed] == [(made, "s")]
    for call in (backup.get_backup_selection, backup.delete_backup_selection):
        assert refused(call, BackupPlanId=other, SelectionId=made) == "ResourceNotFoundException"
    backup.delete_backup_plan(BackupPlanId=other)
    again = {"BackupPlanId": other, "BackupSelection": selection}
    assert refused(backup.create_backup_selection, **again) == "ResourceNotFoundException"


def test_a_user_group_keeps_a_default_and_stays_while_a_store_uses_it(client: Client) -> None:
    cache = client("elasticache")
    cache.create_user(
        UserId="one", UserName="one", Engine="redis", AccessString="on", AuthenticationMode={"Type": "iam"}
    )
    cache.create_user_group(UserGroupId="used", Engine="redis", UserIds=["default"])
    cache.modify_user_group(UserGroupId="used", UserIdsToAdd=["one"])
    (found,) = cache.describe_user_groups(UserGroupId="used")["UserGroups"]
    assert found["UserIds"] == ["default", "one"]
    without = {"UserGroupId": "used", "UserIdsToRemove": ["default"]}
    assert refused(cache.modify_user_group, **without) == "DefaultUserRequired"
    cache.create_replication_group(
        ReplicationGroupId="uses", ReplicationGroupDescription="d", CacheSubnetGroupName="default",
        UserGroupIds=["used"],
    )  # fmt: skip
    assert refused(cache.delete_user_group, UserGroupId="used") == "InvalidUserGroupState"
    cache.delete_replication_group(ReplicationGroupId="uses")
    cache.delete_user_group(UserGroupId="used")
    assert refused(cache.describe_user_groups, UserGroupId="used") == "UserGroupNotFound"


def test_a_group_for_ecs_is_held_to_its_service_when_it_is_changed_too(client: Client) -> None:
    deploy, ecs = client("codedeploy"), client("ecs")
    deploy.create_application(applicationName="changes", computePlatform="ECS")
    ecs.create_cluster(clusterName="changes")
    container = {"name": "f", "image": "i", "memory": 512}
    ecs.register_task_definition(family="changes", containerDefinitions=[container])
    ecs.create_service(
        cluster="changes", serviceName="moved", taskDefinition="changes", desiredCount=1,
        deploymentController={"type": "CODE_DEPLOY"},
    )  # fmt: skip
    deploy.create_deployment_group(
        applicationName="changes", deploymentGroupName="g", serviceRoleArn=NOBODY, deploymentStyle=STYLE,
        ecsServices=[{"serviceName": "moved", "clusterName": "changes"}],
    )  # fmt: skip
    of = {"applicationName": "changes", "currentDeploymentGroupName": "g"}
    for wrong in (
        {"ecsServices": [{"serviceName": "nobody", "clusterName": "changes"}]},
        {"ecsServices": [{"serviceName": "moved", "clusterName": "nowhere"}]},
    ):
        with pytest.raises(Exception, match="InvalidECSServiceException"):
            deploy.update_deployment_group(**of, **wrong)
    found = deploy.get_deployment_group(applicationName="changes", deploymentGroupName="g")
    assert found["deploymentGroupInfo"]["ecsServices"] == [{"serviceName": "moved", "clusterName": "changes"}]
