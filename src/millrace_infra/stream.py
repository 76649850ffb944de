"""The stream: Kinesis, the table in which the workers lease its shards, and who may put frames on it.

A shard takes 1 MB/s or 1,000 records/s and gives 2 MB/s to all that poll it together; a registered fan-out
consumer has 2 MB/s of its own and hears of a record after about 70 ms, where polling starts at 200 ms. The
worker, which owes a critical sensor its 500 ms, is that consumer. Source: Kinesis Data Streams quotas.
"""

from __future__ import annotations

from typing import Final

from millrace import names as words
from millrace_infra.policy import Statement
from millrace_infra.producers import Producers
from millrace_infra.security import Key
from millrace_infra.settings import Environment
from millrace_infra.terraform import (
    Construct,
    DynamodbTable,
    DynamodbTableAttribute,
    DynamodbTableGlobalSecondaryIndex,
    DynamodbTablePointInTimeRecovery,
    DynamodbTableServerSideEncryption,
    KinesisStream,
    KinesisStreamConsumer,
    KinesisStreamStreamModeDetails,
)

SHARD_METRICS: Final = (
    "IncomingBytes", "IncomingRecords", "IteratorAgeMilliseconds", "OutgoingBytes", "OutgoingRecords",
    "ReadProvisionedThroughputExceeded", "WriteProvisionedThroughputExceeded",
)  # fmt: skip
"""All that Kinesis has: a source that outgrows its shard shows in the shard's figures, not in the stream's."""

LEASE_KEY: Final = "leaseKey"
LEASE_OWNER: Final = "leaseOwner"
LEASE_INDEX: Final = "LeaseOwnerToLeaseKeyIndex"
"""Names that the KCL fixes. Where the index is missing it makes it, which takes UpdateTable: so it is here.
Source: amazon-kinesis-client, DynamoDBLeaseRefresher (key schema, projection KEYS_ONLY).
"""


class Stream(Construct):
    """The data stream of one suffix. `producers` are gateways that put frames on it themselves."""

    def __init__(self, scope: Construct, id: str, *, environment: Environment, key: Key) -> None:
        super().__init__(scope, id)
        self._key = key
        self._stream = _stream(self, environment, key)
        self._consumer = KinesisStreamConsumer(
            self, "consumer", name=environment.names.of("worker", "stream"), stream_arn=self.arn
        )
        self._leases = _lease_table(self, environment, key)
        self.producers = Producers(self, "producers", environment=environment)
        self.producers.role.allow("stream", *self._put("kinesis:PutRecord", "kinesis:PutRecords"))

    @property
    def name(self) -> str:
        return self._stream.name

    @property
    def arn(self) -> str:
        return self._stream.arn

    @property
    def consumer_name(self) -> str:
        return self._consumer.name

    @property
    def consumer_arn(self) -> str:
        return self._consumer.arn

    @property
    def lease_table_name(self) -> str:
        return self._leases.name

    def read(self) -> list[Statement]:
        """For the worker: fan-out, and polling for the time until a subscription stands."""
        return [
            Statement(
                (
                    "kinesis:DescribeStream",
                    "kinesis:DescribeStreamSummary",
                    "kinesis:GetRecords",
                    "kinesis:GetShardIterator",
                    "kinesis:ListShards",
                ),
                (self.arn,),
            ),
            # the consumer is registered here: the worker may not register another
            Statement(("kinesis:DescribeStreamConsumer", "kinesis:SubscribeToShard"), (self.consumer_arn,)),
            self._key.use("Decrypt"),
        ]

    def put(self) -> list[Statement]:
        """For our ingest: frames, and a tick to each open shard, which it has to list."""
        return self._put(
            "kinesis:DescribeStreamSummary", "kinesis:ListShards", "kinesis:PutRecord", "kinesis:PutRecords"
        )

    def leases(self) -> list[Statement]:
        """For the worker: rows of the one lease table, never the table itself."""
        arn = self._leases.arn
        rows = ("DeleteItem", "DescribeTable", "GetItem", "PutItem", "Scan", "UpdateItem")
        return [
            Statement(tuple(f"dynamodb:{action}" for action in rows), (arn,)),
            Statement(("dynamodb:Query",), (f"{arn}/index/{LEASE_INDEX}",)),
            # DynamoDB opens the table's key with the caller's rights
            self._key.use("Decrypt"),
        ]

    def environment(self) -> dict[str, str]:
        """What a task must know of the stream; the lease table is the worker's."""
        return {
            words.ENV_STREAM_NAME: self.name,
            words.ENV_STREAM_CONSUMER_ARN: self.consumer_arn,
            words.ENV_LEASE_TABLE: self.lease_table_name,
        }

    def _put(self, *actions: str) -> list[Statement]:
        # a writer needs a data key and never the means to decrypt what others wrote
        return [Statement(actions, (self.arn,)), self._key.use("GenerateDataKey")]


def _stream(scope: Construct, environment: Environment, key: Key) -> KinesisStream:
    size = environment.settings.stream
    provisioned = size.mode == "provisioned"
    name = environment.names.of("stream", "stream")
    return KinesisStream(
        scope,
        "stream",
        name=name,
        # settings refuse fewer shards than the declared load takes; on demand, Kinesis counts them itself
        shard_count=size.shards if provisioned else None,
        stream_mode_details=KinesisStreamStreamModeDetails(
            stream_mode="PROVISIONED" if provisioned else "ON_DEMAND"
        ),
        retention_period=size.retention_h,
        shard_level_metrics=list(SHARD_METRICS),
        encryption_type="KMS",
        kms_key_id=key.arn,
        # a stream with a registered consumer is not deleted otherwise
        enforce_consumer_deletion=True,
        tags={"Name": name, "data-class": "critical"},
    )


def _lease_table(scope: Construct, environment: Environment, key: Key) -> DynamodbTable:
    """The KCL's one table: leases, and by `migrateAllEntitiesToLeaseTable` also its workers' own rows.

    On demand: a lease is renewed every few seconds by each worker, and a restart takes all at once.
    """
    name = environment.names.of("leases")
    return DynamodbTable(
        scope,
        "leases",
        name=name,
        billing_mode="PAY_PER_REQUEST",
        hash_key=LEASE_KEY,
        attribute=[
            DynamodbTableAttribute(name=LEASE_KEY, type="S"),
            DynamodbTableAttribute(name=LEASE_OWNER, type="S"),
        ],
        global_secondary_index=[
            DynamodbTableGlobalSecondaryIndex(
                name=LEASE_INDEX, hash_key=LEASE_OWNER, range_key=LEASE_KEY, projection_type="KEYS_ONLY"
            )
        ],
        server_side_encryption=DynamodbTableServerSideEncryption(enabled=True, kms_key_arn=key.arn),
        # a lost checkpoint costs a replay of the whole retention; a point in time costs 0.20 USD/GB-month
        point_in_time_recovery=DynamodbTablePointInTimeRecovery(enabled=True),
        deletion_protection_enabled=False,
        tags={"Name": name, "data-class": "critical"},
    )
