"""What our additions keep: tags, and what a later call changes or takes away."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.infra.emulator.conftest import Client
from tests.infra.emulator.test_additions import refused, scalable_service

ACCOUNT = "123456789012"
FIRST, SECOND = {"Key": "suffix", "Value": "t1"}, {"Key": "owner", "Value": "o"}
Tagged = tuple[Callable[[list[dict[str, str]]], Any], Callable[[list[str]], Any], Callable[[], Any]]
"""Put tags on something, take them by their keys, list them."""


def by_arn(service: Any, arn: str) -> Tagged:
    """Where a service takes all three calls by the resource's ARN."""
    return (
        lambda tags: service.tag_resource(ResourceARN=arn, Tags=tags),
        lambda keys: service.untag_resource(ResourceARN=arn, TagKeys=keys),
        lambda: service.list_tags_for_resource(ResourceARN=arn)["Tags"],
    )


def composite(client: Client) -> Tagged:
    watch = client("cloudwatch")
    watch.put_metric_alarm(
        AlarmName="part", Namespace="n", MetricName="x", Statistic="Sum", Period=60, EvaluationPeriods=1,
        Threshold=1, ComparisonOperator="GreaterThanThreshold",
    )  # fmt: skip
    watch.put_composite_alarm(AlarmName="whole", AlarmRule='ALARM("part")')
    (found,) = watch.describe_alarms(AlarmNames=["whole"], AlarmTypes=["CompositeAlarm"])["CompositeAlarms"]
    return by_arn(watch, found["AlarmArn"])


def metric_alarm(client: Client) -> Tagged:
    """moto's own, through the same calls."""
    watch = client("cloudwatch")
    composite(client)
    (found,) = watch.describe_alarms(AlarmNames=["part"])["MetricAlarms"]
    return by_arn(watch, found["AlarmArn"])


def vault(client: Client) -> Tagged:
    backup = client("backup")
    arn = backup.create_backup_vault(BackupVaultName="tagged")["BackupVaultArn"]
    return (
        lambda tags: backup.tag_resource(ResourceArn=arn, Tags={one["Key"]: one["Value"] for one in tags}),
        lambda keys: backup.untag_resource(ResourceArn=arn, TagKeyList=keys),
        lambda: [
            {"Key": key, "Value": value} for key, value in backup.list_tags(ResourceArn=arn)["Tags"].items()
        ],
    )


def budget(client: Client) -> Tagged:
    budgets, arn = client("budgets"), f"arn:aws:budgets::{ACCOUNT}:budget/tagged"
    return (
        lambda tags: budgets.tag_resource(ResourceARN=arn, ResourceTags=tags),
        lambda keys: budgets.untag_resource(ResourceARN=arn, ResourceTagKeys=keys),
        lambda: budgets.list_tags_for_resource(ResourceARN=arn)["ResourceTags"],
    )


def cache_parameters(client: Client) -> Tagged:
    cache = client("elasticache")
    arn = cache.create_cache_parameter_group(
        CacheParameterGroupName="tagged", CacheParameterGroupFamily="valkey8", Description="d"
    )["CacheParameterGroup"]["ARN"]
    return (
        lambda tags: cache.add_tags_to_resource(ResourceName=arn, Tags=tags),
        lambda keys: cache.remove_tags_from_resource(ResourceName=arn, TagKeys=keys),
        lambda: cache.list_tags_for_resource(ResourceName=arn)["TagList"],
    )


def application(client: Client) -> Tagged:
    deploy, arn = client("codedeploy"), f"arn:aws:codedeploy:eu-central-1:{ACCOUNT}:application:tagged"
    deploy.create_application(applicationName="tagged", computePlatform="ECS")
    return (
        lambda tags: deploy.tag_resource(ResourceArn=arn, Tags=tags),
        lambda keys: deploy.untag_resource(ResourceArn=arn, TagKeys=keys),
        lambda: deploy.list_tags_for_resource(ResourceArn=arn)["Tags"],
    )


def traces(client: Client) -> Tagged:
    xray = client("xray")
    arn = xray.create_group(GroupName="tagged")["Group"]["GroupARN"]
    return by_arn(xray, arn)


def target(client: Client) -> Tagged:
    scaling, what = client("application-autoscaling"), scalable_service(client, "tagged")
    scaling.register_scalable_target(**what, MinCapacity=1, MaxCapacity=2)
    found = scaling.describe_scalable_targets(ServiceNamespace="ecs", ResourceIds=[what["ResourceId"]])
    arn = found["ScalableTargets"][0]["ScalableTargetARN"]
    return (
        lambda tags: scaling.tag_resource(ResourceARN=arn, Tags={one["Key"]: one["Value"] for one in tags}),
        lambda keys: scaling.untag_resource(ResourceARN=arn, TagKeys=keys),
        lambda: [
            {"Key": key, "Value": value}
            for key, value in scaling.list_tags_for_resource(ResourceARN=arn)["Tags"].items()
        ],
    )


@pytest.mark.parametrize(
    "kind",
    [composite, metric_alarm, vault, budget, cache_parameters, application, traces, target],
    ids=lambda kind: kind.__name__,
)
def test_tags_are_put_on_listed_and_taken_away(client: Client, kind: Callable[[Client], Tagged]) -> None:
    put, take, listed = kind(client)
    put([FIRST])
    put([SECOND])
    assert sorted(listed(), key=lambda tag: str(tag["Key"])) == [SECOND, FIRST]
    take(["owner"])
    assert listed() == [FIRST]
    take(["suffix"])


def test_what_is_made_again_has_no_tags_of_what_was_there_before(client: Client) -> None:
    """A name may be used again: tags are the thing's, not the name's."""
    deploy, kinesis, budgets = client("codedeploy"), client("kinesis"), client("budgets")
    made = {"applicationName": "again-tagged", "computePlatform": "ECS"}
    arn = f"arn:aws:codedeploy:eu-central-1:{ACCOUNT}:application:again-tagged"
    deploy.create_application(**made, tags=[FIRST])
    deploy.delete_application(applicationName="again-tagged")
    deploy.create_application(**made)
    assert deploy.list_tags_for_resource(ResourceArn=arn)["Tags"] == []
    kinesis.create_stream(StreamName="again-tagged", ShardCount=1, Tags={"suffix": "t1"})
    kinesis.delete_stream(StreamName="again-tagged")
    kinesis.create_stream(StreamName="again-tagged", ShardCount=1)
    assert kinesis.list_tags_for_stream(StreamName="again-tagged")["Tags"] == []
    limit = {"Amount": "1", "Unit": "USD"}
    asked = {"BudgetName": "again-tagged", "TimeUnit": "MONTHLY", "BudgetType": "COST", "BudgetLimit": limit}
    arn = f"arn:aws:budgets::{ACCOUNT}:budget/again-tagged"
    budgets.create_budget(AccountId=ACCOUNT, Budget=asked, ResourceTags=[FIRST])
    assert budgets.list_tags_for_resource(ResourceARN=arn)["ResourceTags"] == [FIRST]
    budgets.delete_budget(AccountId=ACCOUNT, BudgetName="again-tagged")
    budgets.create_budget(AccountId=ACCOUNT, Budget=asked)
    assert budgets.list_tags_for_resource(ResourceARN=arn)["ResourceTags"] == []


def test_what_is_made_with_tags_has_them_until_it_goes(client: Client) -> None:
    deploy, cache = client("codedeploy"), client("elasticache")
    app, group = {"applicationName": "made"}, {"deploymentGroupName": "made"}
    place = f"arn:aws:codedeploy:eu-central-1:{ACCOUNT}"
    made = {**app, **group, "serviceRoleArn": "r"}
    deploy.create_application(**app, computePlatform="Server", tags=[FIRST])
    deploy.create_deployment_group(**made, tags=[SECOND])
    of_app, of_group = f"{place}:application:made", f"{place}:deploymentgroup:made/made"
    assert deploy.list_tags_for_resource(ResourceArn=of_app)["Tags"] == [FIRST]
    assert deploy.list_tags_for_resource(ResourceArn=of_group)["Tags"] == [SECOND]
    deploy.delete_deployment_group(**app, **group)
    deploy.create_deployment_group(**made)
    assert deploy.list_tags_for_resource(ResourceArn=of_group)["Tags"] == []
    parameters = {
        "CacheParameterGroupName": "made",
        "CacheParameterGroupFamily": "valkey8",
        "Description": "d",
    }
    store = {"ReplicationGroupId": "made", "ReplicationGroupDescription": "d", "CacheSubnetGroupName": "made"}
    ec2 = client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.5.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.5.1.0/24")["Subnet"]["SubnetId"]
    cache.create_cache_subnet_group(
        CacheSubnetGroupName="made", CacheSubnetGroupDescription="d", SubnetIds=[subnet]
    )
    for tags in ([FIRST], []):
        arns = (
            cache.create_cache_parameter_group(**parameters, Tags=tags)["CacheParameterGroup"]["ARN"],
            cache.create_replication_group(**store, Tags=tags)["ReplicationGroup"]["ARN"],
        )
        for arn in arns:
            assert cache.list_tags_for_resource(ResourceName=arn)["TagList"] == tags
        cache.delete_replication_group(ReplicationGroupId="made")
        cache.delete_cache_parameter_group(CacheParameterGroupName="made")


def test_tags_of_a_later_call_for_a_composite_alarm_are_ignored(client: Client) -> None:
    watch = client("cloudwatch")
    composite(client)
    watch.put_composite_alarm(AlarmName="kept", AlarmRule='ALARM("part")', Tags=[FIRST])
    watch.put_composite_alarm(AlarmName="kept", AlarmRule='OK("whole")', Tags=[SECOND])
    (found,) = watch.describe_alarms(AlarmNames=["kept"], AlarmTypes=["CompositeAlarm"])["CompositeAlarms"]
    assert found["AlarmRule"] == 'OK("whole")'
    assert watch.list_tags_for_resource(ResourceARN=found["AlarmArn"])["Tags"] == [FIRST]
    watch.delete_alarms(AlarmNames=["kept"])
    assert [one["AlarmName"] for one in watch.describe_alarms(AlarmNames=["part"])["MetricAlarms"]] == [
        "part"
    ]
    watch.delete_alarms(AlarmNames=["part"])
    assert watch.describe_alarms(AlarmNames=["part"])["MetricAlarms"] == []


def test_a_vault_tells_a_topic_until_it_is_told_not_to_and_no_vault_after_it_does(client: Client) -> None:
    backup, topic = client("backup"), f"arn:aws:sns:eu-central-1:{ACCOUNT}:t"
    told = {"SNSTopicArn": topic, "BackupVaultEvents": ["BACKUP_JOB_FAILED"]}
    name = {"BackupVaultName": "tells"}
    backup.create_backup_vault(**name)
    assert refused(backup.get_backup_vault_notifications, **name) == "ResourceNotFoundException"
    for end in (backup.delete_backup_vault_notifications, backup.delete_backup_vault):
        backup.put_backup_vault_notifications(**name, **told)
        found = backup.get_backup_vault_notifications(**name)
        assert {key: found[key] for key in told} == told
        assert found["BackupVaultName"] == "tells"
        end(**name)
        if end == backup.delete_backup_vault:
            backup.create_backup_vault(**name)
        assert refused(backup.get_backup_vault_notifications, **name) == "ResourceNotFoundException"
    backup.put_backup_vault_access_policy(**name, Policy="{}")
    backup.delete_backup_vault_access_policy(**name)
    assert refused(backup.get_backup_vault_access_policy, **name) == "ResourceNotFoundException"


def test_what_a_region_opts_into_is_added_to_what_it_had(client: Client) -> None:
    backup = client("backup")
    for one in ("Aurora", "EFS"):
        backup.update_region_settings(ResourceTypeOptInPreference={one: True})
    found = backup.describe_region_settings()["ResourceTypeOptInPreference"]
    assert found == {"Aurora": True, "EFS": True}
    assert "ResourceTypeOptInPreference" not in client("backup", "us-east-1").describe_region_settings()


def test_parameters_are_changed_and_put_back(client: Client) -> None:
    cache, name = client("elasticache"), {"CacheParameterGroupName": "changed"}
    cache.create_cache_parameter_group(**name, CacheParameterGroupFamily="valkey8", Description="d")
    values = [{"ParameterName": "maxmemory-policy", "ParameterValue": "noeviction"}]
    cache.modify_cache_parameter_group(**name, ParameterNameValues=values)
    assert [{key: one[key] for key in values[0]} for one in parameters(cache)] == values
    assert [one["Source"] for one in parameters(cache)] == ["user"]
    cache.reset_cache_parameter_group(**name, ParameterNameValues=values)
    assert parameters(cache) == []
    found = cache.describe_cache_parameter_groups(**name)["CacheParameterGroups"]
    assert [one["CacheParameterGroupFamily"] for one in found] == ["valkey8"]


def parameters(cache: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = cache.describe_cache_parameters(CacheParameterGroupName="changed")[
        "Parameters"
    ]
    return found


def test_a_user_s_rights_are_changed(client: Client) -> None:
    cache = client("elasticache")
    cache.create_user(
        UserId="changes", UserName="changes", Engine="redis", AccessString="on", AuthenticationMode={"Type": "iam"}
    )  # fmt: skip
    cache.modify_user(UserId="changes", AccessString="off -@all")
    (found,) = cache.describe_users(UserId="changes")["Users"]
    assert (found["AccessString"], found["Authentication"]["Type"]) == ("off -@all", "iam")
    words = {"Type": "password", "Passwords": ["sixteen-characters"]}
    cache.modify_user(UserId="changes", AuthenticationMode=words)
    (found,) = cache.describe_users(UserId="changes")["Users"]
    assert (found["AccessString"], found["Authentication"]["Type"]) == ("off -@all", "password")


def test_a_store_is_as_it_was_asked_for_and_as_it_was_changed_and_so_are_its_members(client: Client) -> None:
    cache, ec2 = client("elasticache"), client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.6.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.6.1.0/24")["Subnet"]["SubnetId"]
    cache.create_cache_subnet_group(
        CacheSubnetGroupName="whole", CacheSubnetGroupDescription="d", SubnetIds=[subnet]
    )
    asked = {
        "TransitEncryptionEnabled": True, "AtRestEncryptionEnabled": True, "KmsKeyId": "k", "Port": 7000,
        "CacheNodeType": "cache.t4g.small", "Engine": "valkey", "EngineVersion": "8.0",
        "AutomaticFailoverEnabled": True, "MultiAZEnabled": True, "SnapshotWindow": "02:00-03:00",
        "PreferredMaintenanceWindow": "wed:04:00-wed:05:00", "SecurityGroupIds": ["sg-1"], "NumCacheClusters": 2,
    }  # fmt: skip
    cache.create_replication_group(
        ReplicationGroupId="whole", ReplicationGroupDescription="d", CacheSubnetGroupName="whole", **asked
    )
    (found,) = cache.describe_replication_groups(ReplicationGroupId="whole")["ReplicationGroups"]
    same = ("TransitEncryptionEnabled", "AtRestEncryptionEnabled", "KmsKeyId", "CacheNodeType", "Engine")
    assert {key: found[key] for key in same} == {key: asked[key] for key in same}
    assert (found["AutomaticFailover"], found["MultiAZ"]) == ("enabled", "enabled")
    (node_group,) = found["NodeGroups"]
    assert node_group["PrimaryEndpoint"]["Port"] == node_group["ReaderEndpoint"]["Port"] == 7000
    roles = [one["CurrentRole"] for one in node_group["NodeGroupMembers"]]
    assert (found["MemberClusters"], roles) == (["whole-001", "whole-002"], ["primary", "replica"])
    assert member(cache)["EngineVersion"] == "8.0.0"
    assert member(cache)["SecurityGroups"][0]["SecurityGroupId"] == "sg-1"
    assert member(cache)["PreferredMaintenanceWindow"] == "wed:04:00-wed:05:00"
    cache.create_cache_parameter_group(
        CacheParameterGroupName="whole", CacheParameterGroupFamily="valkey8", Description="d"
    )
    cache.modify_replication_group(
        ReplicationGroupId="whole", SecurityGroupIds=["sg-2"], CacheParameterGroupName="whole"
    )
    assert member(cache)["SecurityGroups"][0]["SecurityGroupId"] == "sg-2"
    assert member(cache)["CacheParameterGroup"]["CacheParameterGroupName"] == "whole"
    in_use = {"CacheParameterGroupName": "whole"}
    assert refused(cache.delete_cache_parameter_group, **in_use) == "InvalidCacheParameterGroupState"
    cache.delete_replication_group(ReplicationGroupId="whole")
    cache.delete_cache_parameter_group(**in_use)
    cache.delete_cache_subnet_group(CacheSubnetGroupName="whole")


def member(cache: Any) -> dict[str, Any]:
    found: dict[str, Any] = cache.describe_cache_clusters(CacheClusterId="whole-001")["CacheClusters"][0]
    return found


def test_deployment_groups_are_listed_renamed_and_go_with_their_application(client: Client) -> None:
    deploy, app = client("codedeploy"), {"applicationName": "lists"}
    deploy.create_application(**app, computePlatform="Server")
    assert "lists" in deploy.list_applications()["applications"]
    for name in ("a", "b"):
        deploy.create_deployment_group(**app, deploymentGroupName=name, serviceRoleArn="r")
    deploy.update_deployment_group(**app, currentDeploymentGroupName="a", newDeploymentGroupName="c")
    assert sorted(deploy.list_deployment_groups(**app)["deploymentGroups"]) == ["b", "c"]
    deploy.delete_deployment_group(**app, deploymentGroupName="b")
    assert deploy.list_deployment_groups(**app)["deploymentGroups"] == ["c"]
    deploy.delete_application(**app)
    deploy.create_application(**app, computePlatform="Server")
    assert deploy.list_deployment_groups(**app)["deploymentGroups"] == []


def test_a_budget_s_subscribers_are_those_of_the_notification_that_is_asked_for(client: Client) -> None:
    budgets = client("budgets")
    limit = {"Amount": "1", "Unit": "USD"}
    asked = {"BudgetName": "told", "TimeUnit": "MONTHLY", "BudgetType": "COST", "BudgetLimit": limit}
    notifications = [
        {"NotificationType": kind, "ComparisonOperator": "GREATER_THAN", "Threshold": 80}
        for kind in ("ACTUAL", "FORECASTED")
    ]
    subscribers = [[{"SubscriptionType": "SNS", "Address": f"arn:{n}"}] for n in range(2)]
    budgets.create_budget(
        AccountId=ACCOUNT, Budget=asked,
        NotificationsWithSubscribers=[
            {"Notification": one, "Subscribers": told} for one, told in zip(notifications, subscribers, strict=True)
        ],
    )  # fmt: skip
    of = {"AccountId": ACCOUNT, "BudgetName": "told"}
    for one, told in zip(notifications, subscribers, strict=True):
        found = budgets.describe_subscribers_for_notification(**of, Notification=one)
        assert found["Subscribers"] == told


def test_traces_are_not_encrypted_by_a_key_until_they_are_told_to_be(client: Client) -> None:
    assert client("xray", "ap-south-1").get_encryption_config()["EncryptionConfig"]["Type"] == "NONE"


def test_a_trace_group_is_found_and_changed_by_its_name_and_its_tags_go_with_it(client: Client) -> None:
    xray = client("xray")
    arn = xray.create_group(GroupName="by-name", Tags=[FIRST])["Group"]["GroupARN"]
    assert xray.get_group(GroupName="by-name")["Group"]["InsightsConfiguration"] == {
        "InsightsEnabled": False, "NotificationsEnabled": False,
    }  # fmt: skip
    wanted = {"InsightsEnabled": True, "NotificationsEnabled": False}
    xray.update_group(GroupName="by-name", InsightsConfiguration=wanted)
    assert xray.get_group(GroupARN=arn)["Group"]["InsightsConfiguration"] == wanted
    xray.delete_group(GroupName="by-name")
    xray.create_group(GroupName="by-name")
    assert xray.list_tags_for_resource(ResourceARN=arn)["Tags"] == []


def test_a_zone_for_everybody_is_no_private_one(client: Client) -> None:
    dns = client("route53")
    zone = dns.create_hosted_zone(Name="example.org", CallerReference="public")["HostedZone"]
    assert dns.get_hosted_zone(Id=zone["Id"])["HostedZone"]["Config"]["PrivateZone"] is False


def test_a_cluster_that_goes_takes_no_snapshot_of_another(client: Client) -> None:
    rds = client("rds")
    for name in ("goes", "stays"):
        rds.create_db_cluster(
            DBClusterIdentifier=name, Engine="aurora-postgresql", MasterUsername="m", MasterUserPassword="password1"
        )  # fmt: skip
    rds.delete_db_cluster(DBClusterIdentifier="goes", SkipFinalSnapshot=True)
    found = rds.describe_db_cluster_snapshots()["DBClusterSnapshots"]
    of = [one["DBClusterIdentifier"] for one in found if one["SnapshotType"] == "automated"]
    assert "stays" in of
    assert "goes" not in of


def test_answers_to_be_given_again_have_a_bound() -> None:
    from tests.infra.emulator.repeats import ANSWERS_MAX, Repeats

    repeats = Repeats()
    for number in range(ANSWERS_MAX + 1):
        first = {"HTTP_AMZ_SDK_INVOCATION_ID": str(number), "HTTP_AMZ_SDK_REQUEST": "attempt=1"}
        repeats.keep(first, ("200 OK", [], []))

    def again(number: int) -> object:
        second = {"HTTP_AMZ_SDK_INVOCATION_ID": str(number), "HTTP_AMZ_SDK_REQUEST": "attempt=2"}
        return repeats.known(second)

    assert again(0) is None
    assert again(1) == again(ANSWERS_MAX) == ("200 OK", [], [])
