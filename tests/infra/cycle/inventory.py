"""Everything that an account holds in a region, as far as the platform could have made it."""

from __future__ import annotations

from typing import Final, NamedTuple

import jmespath

from tests.infra.cycle.deployment import Aws


class Listing(NamedTuple):
    noun: str
    service: str
    operation: str
    names: str
    """JMESPath of the names in the answer."""
    arguments: dict[str, object] = {}  # noqa: RUF012  # never changed


LISTINGS: Final = (
    Listing("kms key", "kms", "list_keys", "Keys[].KeyId"),
    Listing("kms alias", "kms", "list_aliases", "Aliases[?!starts_with(AliasName, 'alias/aws/')].AliasName"),
    Listing("role", "iam", "list_roles", "Roles[].RoleName"),
    Listing("policy", "iam", "list_policies", "Policies[].PolicyName", {"Scope": "Local"}),
    Listing("instance profile", "iam", "list_instance_profiles", "InstanceProfiles[].InstanceProfileName"),
    Listing("secret", "secretsmanager", "list_secrets", "SecretList[].Name"),
    Listing("log group", "logs", "describe_log_groups", "logGroups[].logGroupName"),
    Listing("metric filter", "logs", "describe_metric_filters", "metricFilters[].filterName"),
    Listing("vpc", "ec2", "describe_vpcs", "Vpcs[].VpcId"),
    Listing("subnet", "ec2", "describe_subnets", "Subnets[].SubnetId"),
    Listing("route table", "ec2", "describe_route_tables", "RouteTables[].RouteTableId"),
    Listing("gateway", "ec2", "describe_internet_gateways", "InternetGateways[].InternetGatewayId"),
    Listing("nat gateway", "ec2", "describe_nat_gateways", "NatGateways[?State!='deleted'].NatGatewayId"),
    Listing("address", "ec2", "describe_addresses", "Addresses[].AllocationId"),
    Listing("network acl", "ec2", "describe_network_acls", "NetworkAcls[].NetworkAclId"),
    Listing("security group", "ec2", "describe_security_groups", "SecurityGroups[].GroupId"),
    Listing("interface", "ec2", "describe_network_interfaces", "NetworkInterfaces[].NetworkInterfaceId"),
    Listing("end point", "ec2", "describe_vpc_endpoints", "VpcEndpoints[?State!='deleted'].VpcEndpointId"),
    Listing("flow log", "ec2", "describe_flow_logs", "FlowLogs[].FlowLogId"),
    Listing("stream", "kinesis", "list_streams", "StreamNames"),
    Listing("table", "dynamodb", "list_tables", "TableNames"),
    Listing("bucket", "s3", "list_buckets", "Buckets[].Name"),
    Listing("database cluster", "rds", "describe_db_clusters", "DBClusters[].DBClusterIdentifier"),
    Listing("database instance", "rds", "describe_db_instances", "DBInstances[].DBInstanceIdentifier"),
    Listing("database subnet group", "rds", "describe_db_subnet_groups", "DBSubnetGroups[].DBSubnetGroupName"),
    Listing("cluster parameters", "rds", "describe_db_cluster_parameter_groups",
            "DBClusterParameterGroups[].DBClusterParameterGroupName"),
    Listing("database parameters", "rds", "describe_db_parameter_groups", "DBParameterGroups[].DBParameterGroupName"),
    Listing("cluster snapshot", "rds", "describe_db_cluster_snapshots",
            "DBClusterSnapshots[].DBClusterSnapshotIdentifier"),
    Listing("replication group", "elasticache", "describe_replication_groups",
            "ReplicationGroups[].ReplicationGroupId"),
    Listing("cache user", "elasticache", "describe_users", "Users[].UserId"),
    Listing("cache user group", "elasticache", "describe_user_groups", "UserGroups[].UserGroupId"),
    Listing("cache subnet group", "elasticache", "describe_cache_subnet_groups",
            "CacheSubnetGroups[].CacheSubnetGroupName"),
    Listing("cache parameters", "elasticache", "describe_cache_parameter_groups",
            "CacheParameterGroups[].CacheParameterGroupName"),
    Listing("file system", "efs", "describe_file_systems", "FileSystems[].FileSystemId"),
    Listing("access point", "efs", "describe_access_points", "AccessPoints[].AccessPointId"),
    Listing("vault", "backup", "list_backup_vaults", "BackupVaultList[].BackupVaultName"),
    Listing("backup plan", "backup", "list_backup_plans", "BackupPlansList[].BackupPlanName"),
    Listing("load balancer", "elbv2", "describe_load_balancers", "LoadBalancers[].LoadBalancerName"),
    Listing("target group", "elbv2", "describe_target_groups", "TargetGroups[].TargetGroupName"),
    Listing("cluster", "ecs", "list_clusters", "clusterArns"),
    Listing("task definition", "ecs", "list_task_definitions", "taskDefinitionArns", {"status": "ACTIVE"}),
    Listing("scalable target", "application-autoscaling", "describe_scalable_targets", "ScalableTargets[].ResourceId",
            {"ServiceNamespace": "ecs"}),
    Listing("rest api", "apigateway", "get_rest_apis", "items[].name"),
    Listing("vpc link", "apigateway", "get_vpc_links", "items[].name"),
    Listing("usage plan", "apigateway", "get_usage_plans", "items[].name"),
    Listing("api key", "apigateway", "get_api_keys", "items[].name"),
    Listing("api domain", "apigateway", "get_domain_names", "items[].domainName"),
    Listing("web acl", "wafv2", "list_web_acls", "WebACLs[].Name", {"Scope": "REGIONAL"}),
    Listing("function", "lambda", "list_functions", "Functions[].FunctionName"),
    Listing("alarm", "cloudwatch", "describe_alarms", "MetricAlarms[].AlarmName"),
    Listing("composite alarm", "cloudwatch", "describe_alarms", "CompositeAlarms[].AlarmName",
            {"AlarmTypes": ["CompositeAlarm"]}),
    Listing("dashboard", "cloudwatch", "list_dashboards", "DashboardEntries[].DashboardName"),
    Listing("topic", "sns", "list_topics", "Topics[].TopicArn"),
    Listing("queue", "sqs", "list_queues", "QueueUrls"),
    Listing("rule", "events", "list_rules", "Rules[].Name"),
    Listing("trace group", "xray", "get_groups", "Groups[].GroupName"),
    Listing("sampling rule", "xray", "get_sampling_rules", "SamplingRuleRecords[].SamplingRule.RuleName"),
    Listing("deployment application", "codedeploy", "list_applications", "applications"),
    Listing("zone", "route53", "list_hosted_zones", "HostedZones[].Name"),
    Listing("repository", "ecr", "describe_repositories", "repositories[].repositoryName"),
    Listing("budget", "budgets", "describe_budgets", "Budgets[].BudgetName", {"AccountId": "123456789012"}),
)  # fmt: skip


def inventory(aws: Aws, region: str) -> set[tuple[str, str]]:
    """(noun, name) of everything there."""
    found: set[tuple[str, str]] = set()
    for listing in LISTINGS:
        client = aws.client(listing.service, region)
        if client.can_paginate(listing.operation):
            pages = list(client.get_paginator(listing.operation).paginate(**listing.arguments))
        else:
            pages = [getattr(client, listing.operation)(**listing.arguments)]
        for page in pages:
            found |= {(listing.noun, str(name)) for name in jmespath.search(listing.names, page) or ()}
    return found
