"""The one table of alarms: what is watched, when somebody is told, who, and why at that limit.

Each alarm that pages is in the composite alarm "platform unhealthy"; each row has a runbook under docs/runbooks;
the dashboards draw every row under its stage. A row becomes one alarm, or one for each of what its dimensions
name. How to add one: docs/add/cloud-alarm.md.

Silence is not health. A row whose metric stops when its subject dies says `missing="breaching"`; one whose
metric exists only while something goes wrong leaves the default, `notBreaching`.
"""

from __future__ import annotations

from typing import Final

from millrace import names, telemetry
from millrace_infra.observability import alarm_limits as limits
from millrace_infra.observability import series as of
from millrace_infra.observability.alarm_row import Row
from millrace_infra.observability.series import OURS, Of, Series, ours

QUARTER_H_S: Final = 900
HOUR_S: Final = 3_600
DAY_S: Final = 86_400

_STREAM_LAG = {
    "subscribed": of.fan_out("SubscribeToShardEvent.MillisBehindLatest", "Maximum"),
    "polled": of.kinesis("GetRecords.IteratorAgeMilliseconds", "Maximum"),
}
_SLOWEST: Final = "MAX([FILL(subscribed, 0), FILL(polled, 0)])"
"""Each way of reading has its own metric and never the other's; a worker may poll until its subscription stands."""
_HOTTEST_SHARD: Final = (
    'SELECT SUM(IncomingBytes) FROM SCHEMA("AWS/Kinesis", ShardId, StreamName) '
    "WHERE StreamName = '{stream_name}' GROUP BY ShardId ORDER BY SUM() DESC LIMIT 1"
)
_SHARE: Final = "IF(FILL({whole}, 0) > 0, 100 * FILL({part}, 0) / FILL({whole}, 0), 0)"
_UNLIKE: Final = "IF({before} > 0, 100 * {difference} / {before}, 0)"
_SECRET_AGE = Series(OURS, names.METRIC_SECRET_AGE_DAYS, {names.LABEL_SECRET: Of("secrets")}, "Maximum")

ROWS: Final[tuple[Row, ...]] = (
    # --- what the platform promises ------------------------------------------------------------------
    Row("latency-visible", "promises",
        {"seen": ours(telemetry.API_READINGS_VISIBLE), "slow": ours(telemetry.API_READINGS_SLOW)}, 1,
        "% of the readings later than 500 ms",
        "A critical reading is visible within 500 ms, 99 of 100: the promise itself, as the 99th percentile over "
        "500 ms. All readings go the same way, so the critical ones are among them. Silence is `worker-silent`'s.",
        "page", "latency", compare=">", stops=("worker",), expression=_SHARE.format(part="slow", whole="seen")),
    Row("latency-durable", "promises",
        {"applied": ours(telemetry.SINK_READINGS_APPLIED), "slow": ours(telemetry.SINK_READINGS_SLOW)}, 1,
        "% of the readings later than 500 ms",
        "A reading is committed within 500 ms, 99 of 100. Nothing is lost while it takes longer: the stream "
        "holds it.",
        "ticket", "latency", compare=">", expression=_SHARE.format(part="slow", whole="applied")),
    Row("accepted-unlike-received", "promises",
        {"accepted": ours(telemetry.INGEST_READINGS_ACCEPTED),
         "received": ours(telemetry.PROCESS_READINGS_RECEIVED)}, 2, "% of an hour's readings",
        "Readings that were answered 202 and reached no worker. More may be received than accepted (gateways put "
        "frames on the stream themselves), fewer never; a minute on its way across the hour is 1.7 %.",
        "page", "integrity", compare=">", breaching=2, of=2, period_s=HOUR_S,
        expression=_UNLIKE.format(before="FILL(accepted, 0)", difference="(FILL(accepted, 0) - FILL(received, 0))")),
    Row("processed-unlike-applied", "promises",
        {"processed": ours(telemetry.PROCESS_READINGS_APPLIED),
         "applied": ours(telemetry.SINK_READINGS_APPLIED)}, 2, "% of an hour's readings",
        "Readings that a worker sent on and the store has not, or has twice. A restart processes some again, in "
        "one hour; a minute on its way across the hour is 1.7 %.",
        "page", "integrity", compare=">", breaching=2, of=2, period_s=HOUR_S,
        expression=_UNLIKE.format(
            before="FILL(processed, 0)", difference="ABS(FILL(processed, 0) - FILL(applied, 0))")),
    Row("processed-unlike-archived", "promises",
        {"processed": ours(telemetry.PROCESS_READINGS_APPLIED),
         "archived": ours(telemetry.SINK_READINGS_ARCHIVED)}, 4, "% of an hour's readings",
        "Readings that a worker sent on and no listed segment of the archive has: the standard ones are kept whole "
        "nowhere else. The minute of a segment and that of a report on their way across the hour are 3.3 %.",
        "page", "integrity", compare=">", breaching=2, of=2, period_s=HOUR_S,
        expression=_UNLIKE.format(
            before="FILL(processed, 0)", difference="ABS(FILL(processed, 0) - FILL(archived, 0))")),
    Row("stream-throttled", "promises", of.kinesis("WriteProvisionedThroughputExceeded", "Sum"), 1, "records/min",
        "Kinesis refused records: a shard takes 1 MB/s and 1,000 records/s. Senders keep them and try again, so "
        "one bad minute is a burst and three of five are too few shards.",
        "page", "stream-capacity"),
    Row("stream-age", "promises", _STREAM_LAG, limits.stream_age_ms, "ms",
        "Half of the stream's retention; at the whole of it records are gone for good.",
        "page", "stream-behind", breaching=3, of=3, expression=_SLOWEST),
    Row("worker-silent", "promises",
        {"running": of.tasks("RunningTaskCount", "Average", "worker"),
         "batches": ours(telemetry.PROCESS_BATCHES)}, 1, "(1: silent)",
        "Workers run and process nothing. Each shard gets a tick every second, so a worker that is well has "
        "batches even when no reading comes. Five minutes outlast a restart.",
        "page", "worker-silent", breaching=5, of=5, stops=("worker",),
        expression="IF(running >= 1, IF(FILL(batches, 0) < 1, 1, 0), 0)"),
    Row("backup-not-made", "promises", of.backups("NumberOfBackupJobsCompleted"), 1, "jobs/h",
        "No backup of this store was completed in 26 hours: the daily one starts at 03:00 UTC and has two hours' "
        "play. Each store has its own alarm, or the backup of one would speak for the other. A new platform has it "
        "until its first night.",
        "ticket", "backup", compare="<", breaching=26, of=26, period_s=HOUR_S, missing="breaching"),
    Row("rotation-overdue", "promises", _SECRET_AGE, limits.secret_age_days, "days",
        "A secret is older than its rotation's rhythm and the two days in which Secrets Manager tries again, or for "
        "three hours nothing said how old it is. A new platform has this alarm until its first figure, within an hour.",
        "ticket", "rotation", compare=">", breaching=3, of=3, period_s=HOUR_S, missing="breaching"),
    Row("certificate-expires", "promises",
        of.one("AWS/CertificateManager", "DaysToExpiry", "CertificateArn", "certificate_arn", "Minimum"), 30, "days",
        "ACM renews 60 days before the end: at 30 it has failed for a month. An expired certificate has no "
        "metric, so the alarm keeps its state.",
        "ticket", "certificate", compare="<=", breaching=1, of=1, period_s=DAY_S, missing="ignore"),
    # --- edge: from the integrator to the API --------------------------------------------------------
    Row("gateway-errors", "edge", of.gateway("5XXError", "Average"), 0.01, "of the requests",
        "One request in a hundred fails on our side: the error budget of 99 %. The average of this count is "
        "the rate.",
        "page", "edge-errors", stops=("api",)),
    Row("gateway-refuses", "edge", of.gateway("4XXError", "Average"), 0.5, "of the requests",
        "Every other request is refused: a client with an expired key, or a new version that refuses what the "
        "old one took. A client of ours errs now and then, not for a quarter of an hour.",
        "ticket", "edge-errors", breaching=3, of=3, period_s=300),
    Row("gateway-slow", "edge", of.gateway("Latency", "p99"), 10_000, "ms",
        "A third of the 29 s after which API Gateway gives up on an answer.",
        "ticket", "edge-slow", breaching=3, of=3, period_s=300),
    Row("firewall-blocks", "edge", of.firewall("BlockedRequests"), limits.blocked_requests, "requests in 5 min",
        "A tenth of what the edge lets through at its throttle: an attack, or a rule that hits our own senders.",
        "ticket", "firewall", breaching=2, of=3, period_s=300),
    Row("balancer-errors", "edge", of.load_balancer("HTTPCode_ELB_5XX_Count", "Sum"), 10, "responses/min",
        "The load balancer itself answers 5xx: no target, or one that hung up. A deployment costs a few, so ten "
        "a minute in three of five.",
        "page", "targets"),
    Row("target-errors", "edge", of.targets("HTTPCode_Target_5XX_Count", "Sum"), 10, "responses/min",
        "A version answers 5xx. Ten a minute are 1 % of 17 requests/s, and a canary's tenth of the larger throttles "
        "is 50 and more.",
        "page", "targets", breaching=2, of=3, stops=("api", "dashboard")),
    Row("target-slow", "edge", of.targets("TargetResponseTime", "p99"), 5, "s",
        "A year's history takes 0.2 s at the 99th of 100 where it was measured (docs/performance.md): at 25 times "
        "that a store struggles.",
        "ticket", "edge-slow", breaching=3, of=3, period_s=300, only=("api-blue", "api-green")),
    Row("targets-unhealthy", "edge", of.targets("UnHealthyHostCount", "Maximum"), 1, "tasks",
        "A task fails its health check for ten minutes: ECS has replaced it by then, unless the new one fails too.",
        "ticket", "targets", breaching=10, of=10),
    Row("api-unreachable", "edge",
        {"blue": of.targets("HealthyHostCount", "Maximum", "api-blue"),
         "green": of.targets("HealthyHostCount", "Maximum", "api-green")}, 1, "tasks",
        "Neither colour has a healthy task: nobody is answered. Three minutes: a target leaves after half a one.",
        "page", "targets", compare="<", breaching=3, of=3, expression="FILL(blue, 0) + FILL(green, 0)"),
    Row("dashboard-unreachable", "edge",
        {"blue": of.targets("HealthyHostCount", "Maximum", "dashboard-blue"),
         "green": of.targets("HealthyHostCount", "Maximum", "dashboard-green")}, 1, "tasks",
        "Neither colour has a healthy task: people see no page, and the flow goes on without them.",
        "ticket", "targets", compare="<", breaching=3, of=3, expression="FILL(blue, 0) + FILL(green, 0)"),
    Row("inner-balancer-unreachable", "edge", of.network_target("HealthyHostCount", "Maximum"), 1, "targets",
        "The network load balancer finds the other one unhealthy: the edge reaches nothing.",
        "page", "targets", compare="<", breaching=3, of=3, missing="breaching"),
    Row("inner-balancer-ports", "edge", of.network_load_balancer("PortAllocationErrorCount", "Sum"), 1, "errors/min",
        "No port was left for a connection to a target: connections fail until some end.",
        "ticket", "network"),
    Row("door-without-stream", "edge",
        ours(telemetry.INGEST_REQUESTS_REFUSED, reason="stream_unavailable"), 1, "requests/min",
        "The door answers 503 because the stream takes nothing: senders keep their readings and come again.",
        "page", "stream-capacity"),
    # --- stream --------------------------------------------------------------------------------------
    Row("stream-behind", "stream", _STREAM_LAG, 60_000, "ms",
        "The slowest shard is a minute behind for five minutes: scaling doubled the workers at the first of them, "
        "and it was not enough.",
        "ticket", "stream-behind", breaching=5, of=5, expression=_SLOWEST, stops=("worker",)),
    Row("stream-full", "stream", of.kinesis("IncomingBytes", "Sum"), limits.stream_bytes_per_min, "bytes/min",
        "Four fifths of what all shards take: more shards are wanted before senders are refused.",
        "ticket", "stream-capacity", breaching=5, of=5),
    Row("shard-hot",
        "stream", Series("AWS/Kinesis", "IncomingBytes", {"StreamName": Of("stream_name")}, "Sum", _HOTTEST_SHARD),
        limits.shard_bytes_in(300), "bytes in 5 min",
        "Four fifths of the 1 MB/s that a shard takes: one source outgrows its shard, however empty the others are.",
        "ticket", "stream-capacity", breaching=3, of=3, period_s=300),
    Row("leases-write-throttled", "stream", of.leases("WriteThrottleEvents"), 1, "events/min",
        "Workers cannot renew their leases: they lose shards to each other. On demand this is a hot partition.",
        "ticket", "leases"),
    Row("leases-read-throttled", "stream", of.leases("ReadThrottleEvents"), 1, "events/min",
        "Workers cannot see who holds which shard.",
        "ticket", "leases"),
    # --- process -------------------------------------------------------------------------------------
    Row("tasks-too-few", "process",
        {"wanted": of.tasks("DesiredTaskCount", "Average"), "running": of.tasks("RunningTaskCount", "Average")},
        1, "tasks missing",
        "Fewer tasks run than should, for a quarter of an hour: a task starts in three minutes, five with its "
        "image. No figure at all is no task at all.",
        "page", "tasks", breaching=15, of=15, missing="breaching", only=("worker", "api"),
        expression="wanted - FILL(running, 0)"),
    Row("dashboard-tasks-too-few", "process",
        {"wanted": of.tasks("DesiredTaskCount", "Average", "dashboard"),
         "running": of.tasks("RunningTaskCount", "Average", "dashboard")}, 1, "tasks missing",
        "As `tasks-too-few`; without the dashboard the flow goes on.",
        "ticket", "tasks", breaching=15, of=15, missing="breaching", expression="wanted - FILL(running, 0)"),
    Row("processor-full", "process", of.ecs("CPUUtilization", "Average"), 85, "%",
        "Scaling adds tasks long before: they are at their ceiling, or one shard is more than a task can do.",
        "ticket", "task-size", breaching=3, of=3, period_s=300),
    Row("memory-full", "process", of.ecs("MemoryUtilization", "Maximum"), 90, "%",
        "At 100 % the task is killed. A worker with four shards takes 305 MB of the least that one is given, 1 GiB.",
        "ticket", "task-size", breaching=3, of=3, period_s=300),
    Row("store-away", "process", ours(telemetry.SINK_RETRIES, sink=Of("sinks")), 1, "retries/min",
        "A store refuses writes for ten minutes without a pause: a failover takes one or two. Nothing is lost until "
        "the stream's retention ends.",
        "page", "store-away", breaching=10, of=10, stops=("worker",)),
    Row("fast-path-lost", "process", ours(telemetry.SINK_LOSSES, sink="redis"), 1, "writes/min",
        "Live values were given up: people see old ones. The readings themselves are in the store.",
        "ticket", "store-away", breaching=5, of=5),
    # --- stores --------------------------------------------------------------------------------------
    Row("database-processor-full", "stores", of.database("CPUUtilization", "Average"), 85, "%",
        "Commits wait for a processor: latency follows.",
        "ticket", "database", breaching=3, of=3, period_s=300),
    Row("database-memory-low", "stores", of.database("FreeableMemory", "Minimum"),
        limits.database_free_memory_bytes, "bytes",
        "A twentieth of the class's memory. Aurora keeps three quarters for its buffers; without the rest, sessions "
        "are killed.",
        "ticket", "database", compare="<", breaching=3, of=3, period_s=300),
    Row("database-connections", "stores", of.database("DatabaseConnections", "Maximum"),
        limits.database_connections, "connections",
        "Four fifths of `max_connections`: the next deployment, which runs two generations, would be refused.",
        "ticket", "database", breaching=3, of=3, period_s=300),
    Row("database-deadlocks", "stores", of.database("Deadlocks", "Average"), 0.01, "/s",
        "Writers lock in the same order, so there is none: three in five minutes are a mistake in a release.",
        "ticket", "database", breaching=1, of=1, period_s=300),
    Row("database-disk-low", "stores", of.database("FreeLocalStorage", "Minimum"),
        limits.database_local_bytes, "bytes",
        "A tenth of the instance's local disk, which is about twice its memory: sorts fail when it is full.",
        "ticket", "database", compare="<", breaching=3, of=3, period_s=300),
    Row("database-wraparound", "stores", of.database("MaximumUsedTransactionIDs", "Maximum"), 1e9, "transactions",
        "Half of the 2.1 thousand million after which PostgreSQL stops; autovacuum begins at 200 million.",
        "page", "database", breaching=1, of=1, period_s=QUARTER_H_S),
    Row("database-readers-behind", "stores", of.database_cluster("AuroraReplicaLagMaximum", "Maximum"), 2_000, "ms",
        "Readers share the writer's storage and are 20 ms behind; at two seconds queries answer with old rows.",
        "ticket", "database"),
    Row("database-volume-full", "stores", of.database_cluster("VolumeBytesUsed", "Maximum"),
        limits.NEAR * 128 * 2**40, "bytes",
        "Four fifths of the 128 TiB that an Aurora volume grows to: retention does not delete.",
        "ticket", "database", breaching=1, of=1, period_s=HOUR_S),
    Row("cache-processor-full", "stores", of.cache("EngineCPUUtilization", "Average"), 80, "%",
        "The engine has one thread for commands: live values come late.",
        "ticket", "cache", breaching=3, of=3, period_s=300),
    Row("cache-memory-full", "stores", of.cache("DatabaseMemoryUsagePercentage", "Maximum"), 80, "%",
        "Nothing is evicted by policy, so a full store refuses writes; failover and snapshots need a reserve too.",
        "page", "cache", breaching=3, of=3, period_s=300),
    Row("cache-evicts", "stores", of.cache("Evictions", "Sum"), 1, "keys/min",
        "The policy is `noeviction`: an eviction means that somebody changed it, and a lost fence looks like a lost "
        "store.",
        "ticket", "cache", breaching=1, of=1),
    Row("cache-replica-behind", "stores", of.cache("ReplicationLag", "Maximum"), 1, "s",
        "What a failover would lose; it is published again, but people see a gap.",
        "ticket", "cache"),
    Row("cache-sign-in-fails", "stores", of.cache("AuthenticationFailures", "Sum"), 5, "failures in 5 min",
        "Tasks sign in with tokens of 15 minutes; a token that ran out costs one failure and one new try.",
        "ticket", "cache", breaching=2, of=3, period_s=300),
    Row("shared-storage-busy", "stores",
        of.one("AWS/EFS", "PercentIOLimit", "FileSystemId", "file_system_id", "Maximum"), 80, "%",
        "Of the operations that a general-purpose file system takes. Elastic throughput has no burst credits.",
        "ticket", "shared-storage", breaching=3, of=3, period_s=300),
    Row("archive-copy-fails", "stores", of.archive_copy("OperationsFailedReplication"), 1, "files in 15 min",
        "A file of the archive has no second copy: S3 has given it up, and does not come back to it by itself.",
        "ticket", "archive-copy", breaching=1, of=1, period_s=QUARTER_H_S),
    # --- what the rest stands on, and the watch itself ----------------------------------------------
    Row("way-out-of-ports", "watch",
        of.one("AWS/NATGateway", "ErrorPortAllocation", "NatGatewayId", "nat_gateways", "Sum"), 1, "errors/min",
        "A NAT gateway has 55,000 connections to one destination and none left: calls to AWS fail.",
        "ticket", "network"),
    Row("function-fails", "watch", of.one("AWS/Lambda", "Errors", "FunctionName", "functions", "Sum"), 1,
        "errors in 5 min",
        "Rotation runs once a month: each failure counts. The old value works until a later step.",
        "ticket", "rotation", breaching=1, of=1, period_s=300),
    Row("function-throttled", "watch", of.one("AWS/Lambda", "Throttles", "FunctionName", "functions", "Sum"), 1,
        "calls in 5 min",
        "The account's concurrency is used up by something else.",
        "ticket", "rotation", breaching=1, of=1, period_s=300),
    Row("page-not-sent", "watch",
        Series("AWS/SNS", "NumberOfNotificationsFailed", {"TopicName": Of("topics", "page")}, "Sum"), 1,
        "messages in 5 min", "Somebody was not woken. The other topic tells.",
        "ticket", "notifications", breaching=1, of=1, period_s=300),
    Row("ticket-not-sent", "watch",
        Series("AWS/SNS", "NumberOfNotificationsFailed", {"TopicName": Of("topics", "ticket")}, "Sum"), 1,
        "messages in 5 min", "A ticket reached nobody, and a ticket about it would not either: so it pages.",
        "page", "notifications", breaching=1, of=1, period_s=300),
    Row("event-not-delivered", "watch",
        of.one("AWS/Events", "FailedInvocations", "RuleName", "event_rules", "Sum"), 1, "events in 5 min",
        "An event reached no topic for good: the topic's or its key's policy.",
        "ticket", "notifications", breaching=1, of=1, period_s=300),
    Row("letters-dead", "watch",
        of.one("AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", "dead_letter_queues", "Maximum"), 1,
        "messages",
        "What could not be delivered lies here for 14 days: a failed deployment or backup that nobody heard of.",
        "ticket", "notifications", breaching=1, of=1, period_s=300),
    Row("metrics-refused", "watch",
        of.one("AWS/Logs", "EMFValidationErrors", "LogGroupName", "collector_log_group", "Sum"), 1,
        "lines in 15 min",
        "CloudWatch refused metrics of ours: alarms on them are blind.",
        "ticket", "notifications", breaching=1, of=1, period_s=QUARTER_H_S),
)  # fmt: skip
