"""The real-time store: Valkey on ElastiCache, one shard, a replica in another zone, IAM authentication alone.

Valkey, not Redis OSS: the fence is a script on its `server` object, and the same engine runs on one machine.
It may lose everything at any time (its owners publish it again), so it has one snapshot and no backup plan.

A user's name is its id, which IAM authentication wants; a task signs a token for (store, user) that lasts 15
minutes and connects anew within 12 hours. The user `default`, which ElastiCache puts into every group, is ours:
switched off, with no command and no key. Users and group have the engine `redis`, whose groups Valkey takes too:
a group of the engine `valkey` refuses a user without password, and a password would end in the state.
Source: ElastiCache user guide, role-based access control, and authenticating with IAM.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from millrace import names as words
from millrace_infra.network import Network
from millrace_infra.observability.logs import Logs
from millrace_infra.policy import Statement
from millrace_infra.security import Key
from millrace_infra.settings import Environment
from millrace_infra.terraform import (
    Construct,
    ElasticacheParameterGroup,
    ElasticacheParameterGroupParameter,
    ElasticacheReplicationGroup,
    ElasticacheReplicationGroupLogDeliveryConfiguration,
    ElasticacheSubnetGroup,
    ElasticacheUser,
    ElasticacheUserAuthenticationMode,
    ElasticacheUserGroup,
)

ENGINE: Final = "valkey"
ENGINE_VERSION: Final = "8.0"
FAMILY: Final = "valkey8"
USER_ENGINE: Final = "redis"
PORT: Final = 6379

_OURS: Final = f"~{words.CACHE_KEY_PREFIX}*"
ACCESS: Final[Mapping[str, str]] = {
    # publishes live blobs by a script that reads the server's time
    words.SERVICE_WORKER: f"on {_OURS} -@all +@read +@write +@connection +@scripting +time -@dangerous",
    words.SERVICE_API: f"on {_OURS} -@all +@read +@connection -@dangerous",
}
"""What each service may do. Written in the order in which ElastiCache gives it back, or each plan would differ."""
NOBODY: Final = "off ~* -@all"

PARAMETERS: Final[Mapping[str, str]] = {
    # full is an error that the worker answers by keeping less; an evicted fence would look like a lost store
    "maxmemory-policy": "noeviction",
    "slowlog-log-slower-than": "10000",  # us: a fifth of what the fast path takes at its slowest
    "slowlog-max-len": "1024",
}


class Redis(Construct):
    """The real-time store of one suffix."""

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        environment: Environment,
        key: Key,
        network: Network,
        logs: Logs,
    ) -> None:
        super().__init__(scope, id)
        self._names = environment.names
        self._users = {user: self._user(user, access) for user, access in ACCESS.items()}
        group = self._group()
        name = environment.names.of("cache", "cache")
        size = environment.settings.cache
        self._store = ElasticacheReplicationGroup(
            self,
            "store",
            replication_group_id=name,
            description=f"real-time store of {environment.names.of('platform')}",
            engine=ENGINE,
            engine_version=ENGINE_VERSION,
            node_type=size.node_type,
            port=PORT,
            num_cache_clusters=1 + size.replicas,
            automatic_failover_enabled=True,
            multi_az_enabled=True,
            parameter_group_name=self._parameters(),
            subnet_group_name=self._subnets(network),
            security_group_ids=[network.security_group("redis")],
            user_group_ids=[group.user_group_id],
            transit_encryption_enabled=True,
            transit_encryption_mode="required",
            at_rest_encryption_enabled="true",
            kms_key_id=key.arn,
            log_delivery_configuration=_logs(logs),
            snapshot_retention_limit=1,
            snapshot_window="02:00-03:00",
            maintenance_window="wed:04:00-wed:05:00",
            auto_minor_version_upgrade="true",
            apply_immediately=True,
            tags={"Name": name, "data-class": "standard"},
        )

    @property
    def endpoint(self) -> str:
        """The writer's name; it follows a failover."""
        return self._store.primary_endpoint_address

    @property
    def replication_group_id(self) -> str:
        return self._store.replication_group_id

    def connect(self, user: str) -> Statement:
        """Sign in as that service's user, and as no other."""
        return Statement(("elasticache:Connect",), (self._store.arn, self._users[user].arn))

    def environment(self, user: str = "") -> dict[str, str]:
        """Where the store is and what a token is signed for; with `user`, who the task is there."""
        found = {words.ENV_CACHE_HOST: self.endpoint, words.ENV_CACHE_NAME: self.replication_group_id}
        return found | ({words.ENV_CACHE_USER: self._users[user].user_name} if user else {})

    def _user(self, user: str, access: str) -> ElasticacheUser:
        name = self._names.of(user, "cache")
        return ElasticacheUser(
            self,
            f"user-{user}",
            user_id=name,
            user_name=name,
            engine=USER_ENGINE,
            access_string=access,
            authentication_mode=ElasticacheUserAuthenticationMode(type="iam"),
            tags={"Name": name},
        )

    def _group(self) -> ElasticacheUserGroup:
        name = self._names.of("default", "cache")
        nobody = ElasticacheUser(
            self,
            "user-default",
            user_id=name,
            user_name="default",
            engine=USER_ENGINE,
            access_string=NOBODY,
            # a user that is off needs no password, and has none that could leak
            authentication_mode=ElasticacheUserAuthenticationMode(type="no-password-required"),
            tags={"Name": name},
        )
        group_name = self._names.of("cache-users", "cache")
        return ElasticacheUserGroup(
            self,
            "users",
            user_group_id=group_name,
            engine=USER_ENGINE,
            user_ids=[nobody.user_id, *(user.user_id for user in self._users.values())],
            tags={"Name": group_name},
        )

    def _parameters(self) -> str:
        name = self._names.of("cache", "cache")
        return ElasticacheParameterGroup(
            self,
            "parameters",
            name=name,
            family=FAMILY,
            parameter=[
                ElasticacheParameterGroupParameter(name=parameter, value=value)
                for parameter, value in PARAMETERS.items()
            ],
            tags={"Name": name},
        ).name

    def _subnets(self, network: Network) -> str:
        name = self._names.of("cache", "cache")
        return ElasticacheSubnetGroup(
            self, "subnets", name=name, subnet_ids=network.isolated_subnet_ids, tags={"Name": name}
        ).name


def _logs(logs: Logs) -> list[ElasticacheReplicationGroupLogDeliveryConfiguration]:
    """Slow commands and the engine's own words, each in streams of its own of one group."""
    return [
        ElasticacheReplicationGroupLogDeliveryConfiguration(
            destination=logs.group("redis").name,
            destination_type="cloudwatch-logs",
            log_format="json",
            log_type=log_type,
        )
        for log_type in ("engine-log", "slow-log")
    ]
