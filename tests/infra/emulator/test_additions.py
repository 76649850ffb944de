"""What the emulator answers beside moto: kept, referred to, refused, gone."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest
from botocore.awsrequest import AWSPreparedRequest
from botocore.exceptions import ClientError

from tests.infra.emulator.conftest import Client
from tests.infra.emulator.dispatch import ADDITIONS

TAGS = [{"Key": "suffix", "Value": "t1"}]


def refused(call: Any, **arguments: Any) -> str:
    """The code of the error that the call ends in."""
    with pytest.raises(ClientError) as error:
        call(**arguments)
    return str(error.value.response["Error"]["Code"])


def role(client: Client, name: str) -> str:
    iam = client("iam")
    try:
        return str(iam.get_role(RoleName=name)["Role"]["Arn"])
    except iam.exceptions.NoSuchEntityException:
        trust = {"Version": "2012-10-17", "Statement": []}
        return str(iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"])


def test_every_addition_names_a_call_that_aws_has() -> None:
    from moto.core.utils import get_service_model

    from tests.infra.emulator import additions

    additions.load()
    for service, operation in ADDITIONS:
        assert operation in get_service_model(service).operation_names, (service, operation)


def test_a_call_that_breaks_aws_own_model_is_refused(client: Client) -> None:
    xray = client("xray")
    assert refused(xray.put_encryption_config, Type="NOTHING") == "ValidationException"


def test_a_call_that_its_sdk_sends_again_is_carried_out_once(client: Client) -> None:
    """As after a broken connection: the SDK saw no answer, the emulator had carried the call out."""
    budgets = client("budgets")
    number = str(uuid.uuid4())
    attempts = iter((1, 2))

    def numbered(request: AWSPreparedRequest, **_: Any) -> None:
        request.headers["amz-sdk-invocation-id"] = number
        request.headers["amz-sdk-request"] = f"attempt={next(attempts)}"

    budgets.meta.events.register("before-send.budgets.CreateBudget", numbered)
    limit = {"Amount": "1", "Unit": "USD"}
    budget = {"BudgetName": "twice", "TimeUnit": "MONTHLY", "BudgetType": "COST", "BudgetLimit": limit}
    arguments = {"AccountId": "123456789012", "Budget": budget}
    budgets.create_budget(**arguments)
    budgets.create_budget(**arguments)
    budgets.meta.events.unregister("before-send.budgets.CreateBudget", numbered)
    assert refused(budgets.create_budget, **arguments) == "DuplicateRecordException"


def test_a_trace_group_is_kept_until_it_is_deleted_and_in_its_region_only(client: Client) -> None:
    xray = client("xray")
    arn = xray.create_group(GroupName="g", FilterExpression="fault", Tags=TAGS)["Group"]["GroupARN"]
    assert refused(xray.create_group, GroupName="g") == "InvalidRequestException"
    xray.update_group(GroupARN=arn, FilterExpression="error")
    assert xray.get_group(GroupARN=arn)["Group"]["FilterExpression"] == "error"
    assert xray.list_tags_for_resource(ResourceARN=arn)["Tags"] == TAGS
    assert client("xray", "us-east-1").get_groups()["Groups"] == []
    xray.delete_group(GroupARN=arn)
    assert refused(xray.get_group, GroupARN=arn) == "InvalidRequestException"


def test_a_sampling_rule_is_kept_changed_and_deleted(client: Client) -> None:
    xray = client("xray")
    rule = {
        "RuleName": "r", "Priority": 10, "FixedRate": 0.1, "ReservoirSize": 1, "ServiceName": "*", "Host": "*",
        "ServiceType": "*", "HTTPMethod": "*", "URLPath": "*", "ResourceARN": "*", "Version": 1,
    }  # fmt: skip
    xray.create_sampling_rule(SamplingRule=rule, Tags=TAGS)
    xray.update_sampling_rule(SamplingRuleUpdate={"RuleName": "r", "FixedRate": 0.5})
    kept = xray.get_sampling_rules()["SamplingRuleRecords"][0]["SamplingRule"]
    assert (kept["FixedRate"], kept["Priority"]) == (0.5, 10)
    xray.delete_sampling_rule(RuleName="r")
    assert xray.get_sampling_rules()["SamplingRuleRecords"] == []
    assert (
        refused(xray.create_sampling_rule, SamplingRule=rule | {"Priority": 10_000})
        == "InvalidRequestException"
    )


def test_encryption_of_traces_wants_a_key_exactly_when_it_is_kms(client: Client) -> None:
    xray = client("xray")
    assert refused(xray.put_encryption_config, Type="KMS") == "InvalidRequestException"
    xray.put_encryption_config(Type="KMS", KeyId="alias/k")
    assert xray.get_encryption_config()["EncryptionConfig"]["KeyId"] == "alias/k"


def test_a_deployment_group_refers_to_a_service_that_codedeploy_may_move(client: Client) -> None:
    deploy, ecs = client("codedeploy"), client("ecs")
    deploy.create_application(applicationName="a", computePlatform="ECS", tags=TAGS)
    ecs.create_cluster(clusterName="c")
    ecs.register_task_definition(
        family="f", containerDefinitions=[{"name": "f", "image": "i", "memory": 512}]
    )
    for name, controller in (("own", "ECS"), ("moved", "CODE_DEPLOY")):
        ecs.create_service(
            cluster="c", serviceName=name, taskDefinition="f", desiredCount=1,
            deploymentController={"type": controller},
        )  # fmt: skip
    group = {
        "applicationName": "a", "deploymentGroupName": "g", "serviceRoleArn": role(client, "deploy"),
        "deploymentStyle": {"deploymentType": "BLUE_GREEN", "deploymentOption": "WITH_TRAFFIC_CONTROL"},
    }  # fmt: skip

    def create(service: str, **other: Any) -> Any:
        return deploy.create_deployment_group(
            **group | {"ecsServices": [{"serviceName": service, "clusterName": "c"}]} | other
        )

    for service in ("nobody", "own"):
        with pytest.raises(ClientError, match="InvalidECSServiceException"):
            create(service)
    with pytest.raises(ClientError, match="InvalidDeploymentStyleException"):
        create("moved", deploymentStyle={"deploymentType": "IN_PLACE"})
    create("moved")
    deploy.update_deployment_group(
        applicationName="a",
        currentDeploymentGroupName="g",
        deploymentConfigName="CodeDeployDefault.ECSAllAtOnce",
    )
    kept = deploy.get_deployment_group(applicationName="a", deploymentGroupName="g")["deploymentGroupInfo"]
    assert kept["deploymentConfigName"] == "CodeDeployDefault.ECSAllAtOnce"
    assert kept["ecsServices"] == [{"serviceName": "moved", "clusterName": "c"}]
    deploy.delete_application(applicationName="a")
    assert refused(deploy.get_application, applicationName="a") == "ApplicationDoesNotExistException"


@pytest.fixture(scope="module")
def subnets(client: Client) -> str:
    ec2, cache = client("ec2"), client("elasticache")
    vpc = ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.9.1.0/24")["Subnet"]["SubnetId"]
    cache.create_cache_subnet_group(
        CacheSubnetGroupName="s", CacheSubnetGroupDescription="d", SubnetIds=[subnet]
    )
    return "s"


def test_a_replication_group_has_members_and_holds_on_to_what_it_uses(client: Client, subnets: str) -> None:
    cache = client("elasticache")
    cache.create_cache_parameter_group(
        CacheParameterGroupName="p", CacheParameterGroupFamily="redis7", Description="d"
    )
    asked = {
        "ReplicationGroupId": "r", "ReplicationGroupDescription": "d", "CacheSubnetGroupName": subnets,
        "CacheParameterGroupName": "p", "MultiAZEnabled": True, "AutomaticFailoverEnabled": True,
    }  # fmt: skip
    assert refused(cache.create_replication_group, **asked) == "InvalidParameterCombination"
    cache.create_replication_group(**asked, NumCacheClusters=2, Tags=TAGS)
    assert (
        cache.describe_cache_clusters(CacheClusterId="r-002")["CacheClusters"][0]["ReplicationGroupId"] == "r"
    )
    assert refused(cache.delete_cache_subnet_group, CacheSubnetGroupName=subnets) == "CacheSubnetGroupInUse"
    assert (
        refused(cache.delete_cache_parameter_group, CacheParameterGroupName="p")
        == "InvalidCacheParameterGroupState"
    )
    cache.modify_replication_group(ReplicationGroupId="r", SnapshotRetentionLimit=3)
    kept = cache.describe_replication_groups(ReplicationGroupId="r")["ReplicationGroups"][0]
    assert (kept["SnapshotRetentionLimit"], kept["MemberClusters"]) == (3, ["r-001", "r-002"])
    cache.delete_replication_group(ReplicationGroupId="r")
    assert (
        refused(cache.describe_replication_groups, ReplicationGroupId="r") == "ReplicationGroupNotFoundFault"
    )
    cache.delete_cache_parameter_group(CacheParameterGroupName="p")


def test_a_user_group_wants_users_that_exist_and_a_default_among_them(client: Client) -> None:
    cache = client("elasticache")
    cache.create_user(
        UserId="app",
        UserName="app",
        Engine="redis",
        AccessString="on ~* +@all",
        AuthenticationMode={"Type": "iam"},
    )

    def create(*users: str) -> Any:
        return cache.create_user_group(UserGroupId="u", Engine="redis", UserIds=list(users), Tags=TAGS)

    for users, code in ((["nobody"], "UserNotFound"), (["app"], "DefaultUserRequired")):
        with pytest.raises(ClientError, match=code):
            create(*users)
    arn = create("app", "default")["ARN"]
    assert cache.list_tags_for_resource(ResourceName=arn)["TagList"] == TAGS
    cache.delete_user_group(UserGroupId="u")
    assert cache.describe_user_groups()["UserGroups"] == []


def test_a_backup_plan_goes_after_its_selections(client: Client) -> None:
    backup = client("backup")
    backup.create_backup_vault(BackupVaultName="v")
    rule = {"RuleName": "daily", "TargetBackupVaultName": "v"}
    plan = backup.create_backup_plan(BackupPlan={"BackupPlanName": "p", "Rules": [rule]})["BackupPlanId"]
    selection = {
        "SelectionName": "s",
        "IamRoleArn": "arn:aws:iam::123456789012:role/none",
        "Resources": ["*"],
    }
    code = refused(backup.create_backup_selection, BackupPlanId=plan, BackupSelection=selection)
    assert code == "InvalidParameterValueException"
    selection["IamRoleArn"] = role(client, "backup")
    made = backup.create_backup_selection(BackupPlanId=plan, BackupSelection=selection)["SelectionId"]
    assert refused(backup.delete_backup_plan, BackupPlanId=plan) == "InvalidRequestException"
    backup.delete_backup_selection(BackupPlanId=plan, SelectionId=made)
    backup.delete_backup_plan(BackupPlanId=plan)
    assert backup.list_recovery_points_by_backup_vault(BackupVaultName="v")["RecoveryPoints"] == []


def test_a_vaults_policy_is_json_and_goes_with_the_vault(client: Client) -> None:
    backup = client("backup")
    backup.create_backup_vault(BackupVaultName="w")
    put = backup.put_backup_vault_access_policy
    assert refused(put, BackupVaultName="w", Policy="{") == "InvalidParameterValueException"
    put(BackupVaultName="w", Policy="{}")
    assert backup.get_backup_vault_access_policy(BackupVaultName="w")["Policy"] == "{}"
    backup.delete_backup_vault(BackupVaultName="w")
    backup.create_backup_vault(BackupVaultName="w")
    assert refused(backup.get_backup_vault_access_policy, BackupVaultName="w") == "ResourceNotFoundException"


def test_a_file_systems_policies_can_be_taken_back(client: Client) -> None:
    efs = client("efs")
    system = efs.create_file_system(CreationToken="t", Encrypted=True)["FileSystemId"]
    efs.put_backup_policy(FileSystemId=system, BackupPolicy={"Status": "ENABLED"})
    assert efs.describe_backup_policy(FileSystemId=system)["BackupPolicy"]["Status"] == "ENABLED"
    efs.put_file_system_policy(FileSystemId=system, Policy="{}")
    efs.delete_file_system_policy(FileSystemId=system)
    assert refused(efs.describe_file_system_policy, FileSystemId=system) == "PolicyNotFound"
    assert refused(efs.describe_backup_policy, FileSystemId="fs-0123456789") == "FileSystemNotFound"


def test_a_composite_alarm_names_alarms_that_exist(client: Client) -> None:
    watch = client("cloudwatch")
    watch.put_metric_alarm(
        AlarmName="m", Namespace="n", MetricName="x", Statistic="Sum", Period=60, EvaluationPeriods=1, Threshold=1,
        ComparisonOperator="GreaterThanThreshold",
    )  # fmt: skip
    assert refused(watch.put_composite_alarm, AlarmName="c", AlarmRule='ALARM("none")') == "ValidationError"
    watch.put_composite_alarm(AlarmName="c", AlarmRule='ALARM("m")', Tags=TAGS)
    found = watch.describe_alarms(AlarmNames=["c"], AlarmTypes=["CompositeAlarm"])["CompositeAlarms"][0]
    assert watch.list_tags_for_resource(ResourceARN=found["AlarmArn"])["Tags"] == TAGS
    assert [one["AlarmName"] for one in watch.describe_alarms()["MetricAlarms"]] == ["m"]
    watch.delete_alarms(AlarmNames=["c", "m"])
    assert watch.describe_alarms(AlarmTypes=["CompositeAlarm"])["CompositeAlarms"] == []
    assert watch.describe_alarms()["MetricAlarms"] == []


def scalable_service(client: Client, name: str) -> dict[str, str]:
    """A service of that name in a cluster of that name; how scaling names it."""
    ecs, task = client("ecs"), [{"name": "h", "image": "i", "memory": 512}]
    ecs.create_cluster(clusterName=name)
    ecs.register_task_definition(family=name, containerDefinitions=task)
    ecs.create_service(cluster=name, serviceName=name, taskDefinition=name, desiredCount=1)
    dimension = "ecs:service:DesiredCount"
    return {"ServiceNamespace": "ecs", "ResourceId": f"service/{name}/{name}", "ScalableDimension": dimension}


def test_a_scalable_target_keeps_its_tags(client: Client) -> None:
    scaling, target = client("application-autoscaling"), scalable_service(client, "k")
    scaling.register_scalable_target(**target, MinCapacity=1, MaxCapacity=2, Tags={"suffix": "t1"})
    arn = scaling.describe_scalable_targets(ServiceNamespace="ecs")["ScalableTargets"][0]["ScalableTargetARN"]
    assert scaling.list_tags_for_resource(ResourceARN=arn)["Tags"] == {"suffix": "t1"}
    assert refused(scaling.list_tags_for_resource, ResourceARN=arn + "x") == "ResourceNotFoundException"


def test_a_stream_keeps_the_tags_that_it_was_made_with(client: Client) -> None:
    kinesis = client("kinesis")
    kinesis.create_stream(StreamName="s", ShardCount=1, Tags={"suffix": "t1"})
    assert kinesis.list_tags_for_stream(StreamName="s")["Tags"] == TAGS
    kinesis.add_tags_to_stream(StreamName="s", Tags={"owner": "o"})
    kinesis.remove_tags_from_stream(StreamName="s", TagKeys=["suffix"])
    assert kinesis.list_tags_for_stream(StreamName="s")["Tags"] == [{"Key": "owner", "Value": "o"}]


def test_a_vault_keeps_its_tags(client: Client) -> None:
    backup = client("backup")
    arn = backup.create_backup_vault(BackupVaultName="t", BackupVaultTags={"suffix": "t1"})["BackupVaultArn"]
    assert backup.list_tags(ResourceArn=arn)["Tags"] == {"suffix": "t1"}
    backup.untag_resource(ResourceArn=arn, TagKeyList=["suffix"])
    assert backup.list_tags(ResourceArn=arn)["Tags"] == {}


@pytest.mark.parametrize(
    ("service", "resource", "allowed"),
    [
        ("logging.s3.amazonaws.com", "arn:aws:s3:::logs/a/*", True),
        ("logging.s3.amazonaws.com", "arn:aws:s3:::logs/b/*", False),
        ("other.amazonaws.com", "arn:aws:s3:::logs/*", False),
    ],
)
def test_access_logs_want_a_policy_that_lets_them_in(
    client: Client, service: str, resource: str, allowed: bool
) -> None:
    s3 = client("s3", "us-east-1")
    for bucket in ("logs", "source"):
        s3.create_bucket(Bucket=bucket)
    statement = {
        "Effect": "Allow", "Principal": {"Service": [service]}, "Action": ["s3:PutObject"], "Resource": [resource],
    }  # fmt: skip
    s3.put_bucket_policy(
        Bucket="logs", Policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    )
    logging = {"LoggingEnabled": {"TargetBucket": "logs", "TargetPrefix": "a/"}}
    if allowed:
        s3.put_bucket_logging(Bucket="source", BucketLoggingStatus=logging)
    else:
        code = refused(s3.put_bucket_logging, Bucket="source", BucketLoggingStatus=logging)
        assert code == "InvalidTargetBucketForLogging"


def test_a_zone_that_is_made_for_a_network_is_private_to_it(client: Client) -> None:
    dns = client("route53")
    vpc = client("ec2").create_vpc(CidrBlock="10.8.0.0/16")["Vpc"]["VpcId"]
    network = {"VPCId": vpc, "VPCRegion": "eu-central-1"}
    zone = dns.create_hosted_zone(Name="internal.example.com", CallerReference="r", VPC=network)["HostedZone"]
    found = dns.get_hosted_zone(Id=zone["Id"])
    assert found["HostedZone"]["Id"] == zone["Id"]
    assert found["HostedZone"]["Config"]["PrivateZone"]
    assert found["VPCs"] == [network]


def test_automatic_snapshots_go_with_their_cluster_and_one_of_ours_stays(client: Client) -> None:
    rds = client("rds")
    rds.create_db_cluster(
        DBClusterIdentifier="d",
        Engine="aurora-postgresql",
        MasterUsername="m",
        MasterUserPassword="password1",
    )
    rds.create_db_cluster_snapshot(DBClusterIdentifier="d", DBClusterSnapshotIdentifier="ours")

    def snapshots() -> list[str]:
        found = rds.describe_db_cluster_snapshots()["DBClusterSnapshots"]
        return sorted(one["DBClusterSnapshotIdentifier"].partition(":")[0] for one in found)

    assert snapshots() == ["ours", "rds"]
    rds.delete_db_cluster(DBClusterIdentifier="d", SkipFinalSnapshot=True)
    assert snapshots() == ["ours"]
