"""The metrics of AWS that our alarms name, each with the dimensions by which it exists: an exact list.

A metric that does not exist is not an error to CloudWatch: its alarm is silent for ever. So what the table names
must be here, with the page it was read on, and what is here must be named.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

Dimensions = frozenset[str]

SOURCES: Final[Mapping[str, str]] = {
    "AWS/Kinesis": "Kinesis Data Streams guide, Monitoring the service with Amazon CloudWatch",
    "AWS/DynamoDB": "DynamoDB guide, Metrics and dimensions",
    "ECS/ContainerInsights": "CloudWatch guide, Amazon ECS Container Insights metrics",
    "AWS/ECS": "ECS guide, CloudWatch metrics",
    "AWS/ApplicationELB": "Application Load Balancers guide, CloudWatch metrics",
    "AWS/NetworkELB": "Network Load Balancers guide, CloudWatch metrics",
    "AWS/ApiGateway": "API Gateway guide, Amazon API Gateway dimensions and metrics (REST)",
    "AWS/WAFV2": "AWS WAF guide, metrics and dimensions",
    "AWS/RDS": "Aurora guide, Amazon CloudWatch metrics for Amazon Aurora",
    "AWS/ElastiCache": "ElastiCache guide, Metrics for Valkey and Redis OSS; host-level metrics",
    "AWS/S3": "S3 user guide, Amazon S3 CloudWatch metrics, replication metrics",
    "AWS/EFS": "EFS guide, CloudWatch metrics for Amazon EFS",
    "AWS/Backup": "AWS Backup guide, AWS Backup metrics with Amazon CloudWatch; its dimensions: CloudWatch guide, "
    "supported metrics for resource tags for telemetry",
    "AWS/CertificateManager": "ACM guide, Supported CloudWatch metrics",
    "AWS/NATGateway": "VPC guide, NAT gateway metrics and dimensions",
    "AWS/Lambda": "Lambda guide, Types of metrics for Lambda functions",
    "AWS/SNS": "SNS guide, Monitoring topics using CloudWatch",
    "AWS/Events": "EventBridge guide, Monitoring Amazon EventBridge",
    "AWS/SQS": "SQS guide, Available CloudWatch metrics",
    "AWS/Logs": "CloudWatch Logs guide, CloudWatch Logs metrics and dimensions",
}


def _all(namespace: str, dimensions: str, *names: str) -> dict[tuple[str, str, Dimensions], str]:
    return {(namespace, name, frozenset(dimensions.split())): SOURCES[namespace] for name in names}


METRICS: Final[Mapping[tuple[str, str, Dimensions], str]] = {
    **_all(
        "AWS/Kinesis", "StreamName",
        "GetRecords.IteratorAgeMilliseconds", "IncomingBytes", "WriteProvisionedThroughputExceeded",
    ),
    **_all("AWS/Kinesis", "StreamName ConsumerName", "SubscribeToShardEvent.MillisBehindLatest"),
    # exists because the stream has its shard-level metrics on
    **_all("AWS/Kinesis", "StreamName ShardId", "IncomingBytes"),
    **_all("AWS/DynamoDB", "TableName", "ReadThrottleEvents", "WriteThrottleEvents"),
    **_all("ECS/ContainerInsights", "ClusterName ServiceName", "DesiredTaskCount", "RunningTaskCount"),
    **_all("AWS/ECS", "ClusterName ServiceName", "CPUUtilization", "MemoryUtilization"),
    **_all("AWS/ApplicationELB", "LoadBalancer", "HTTPCode_ELB_5XX_Count"),
    **_all(
        "AWS/ApplicationELB", "LoadBalancer TargetGroup",
        "HTTPCode_Target_5XX_Count", "HealthyHostCount", "TargetResponseTime", "UnHealthyHostCount",
    ),
    **_all("AWS/NetworkELB", "LoadBalancer", "PortAllocationErrorCount"),
    **_all("AWS/NetworkELB", "LoadBalancer TargetGroup", "HealthyHostCount"),
    **_all("AWS/ApiGateway", "ApiName Stage", "4XXError", "5XXError", "Latency"),
    **_all("AWS/WAFV2", "WebACL Region Rule", "BlockedRequests"),
    **_all(
        "AWS/RDS", "DBInstanceIdentifier",
        "CPUUtilization", "DatabaseConnections", "Deadlocks", "FreeLocalStorage", "FreeableMemory",
        "MaximumUsedTransactionIDs",
    ),
    **_all("AWS/RDS", "DBClusterIdentifier", "AuroraReplicaLagMaximum", "VolumeBytesUsed"),
    **_all(
        "AWS/ElastiCache", "CacheClusterId",
        "AuthenticationFailures", "DatabaseMemoryUsagePercentage", "EngineCPUUtilization", "Evictions",
        "ReplicationLag",
    ),
    # exists because the rule has its metrics on
    **_all("AWS/S3", "SourceBucket DestinationBucket RuleId", "OperationsFailedReplication"),
    **_all("AWS/EFS", "FileSystemId", "PercentIOLimit"),
    **_all("AWS/Backup", "BackupVaultName ResourceType", "NumberOfBackupJobsCompleted"),
    **_all("AWS/CertificateManager", "CertificateArn", "DaysToExpiry"),
    **_all("AWS/NATGateway", "NatGatewayId", "ErrorPortAllocation"),
    **_all("AWS/Lambda", "FunctionName", "Errors", "Throttles"),
    **_all("AWS/SNS", "TopicName", "NumberOfNotificationsFailed"),
    **_all("AWS/Events", "RuleName", "FailedInvocations"),
    **_all("AWS/SQS", "QueueName", "ApproximateNumberOfMessagesVisible"),
    **_all("AWS/Logs", "LogGroupName", "EMFValidationErrors"),
}  # fmt: skip
