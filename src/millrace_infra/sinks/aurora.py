"""The operational store: Aurora PostgreSQL, a writer and its readers, each in another zone.

| user | signs in by | is for |
|---|---|---|
| `millrace_master` | the existing secret, written into the cluster, into no state | making the others (`migrate`) |
| `millrace_owner` | never | owning every object; the others take its role |
| `millrace_a`, `millrace_b` | password, rotated in turn | the services |
| `millrace_migrate`, `millrace_readonly` | IAM | migrations; people who look |

A PostgreSQL user with `rds_iam` takes no password: one user, one way. After a failover a connection may reach a
reader (SQLSTATE 25006): the services drop it and connect again.
"""

from __future__ import annotations

from typing import Final

from millrace import names as words
from millrace_infra.network import Network
from millrace_infra.policy import Role, Statement, trust
from millrace_infra.secrets import ExistingSecrets
from millrace_infra.security import Key
from millrace_infra.settings import Environment
from millrace_infra.sinks.aurora_parameters import parameters
from millrace_infra.terraform import (
    CloudwatchLogGroup,
    Construct,
    DataAwsAvailabilityZone,
    DbSubnetGroup,
    RdsCluster,
    RdsClusterInstance,
    TerraformStack,
)

ENGINE: Final = "aurora-postgresql"
VERSION: Final = "16"
"""The major version that the data plane is tested with. AWS chooses the minor one: a pinned minor version is
withdrawn after about a year, and then an old settings file could no longer be deployed."""
PORT: Final = words.DATABASE_PORT
MONITORING_S: Final = 60
"""Enhanced monitoring's coarsest grain: the finer ones cost log storage, and Performance Insights has seconds."""
MASTER_PASSWORD_VERSION: Final = 1
"""Terraform cannot see that a write-only value has changed: raise this after the master's secret was changed."""
BACKUP_WINDOW: Final = "01:00-02:00"
MAINTENANCE_WINDOW: Final = "wed:05:00-wed:06:00"
"""Away from AWS Backup's jobs, which start at 03:00 (`backup.py`): two snapshots at a time refuse each other."""


class Aurora(Construct):
    """The cluster of one suffix. `log_key` encrypts what PostgreSQL logs; its own key encrypts the rest."""

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        environment: Environment,
        key: Key,
        network: Network,
        secrets: ExistingSecrets,
        log_key: Key,
    ) -> None:
        super().__init__(scope, id)
        self.key = key
        self._environment = environment
        self._name = environment.names.of("aurora", "database")
        self._log_group = _log_group(self, environment, self._name, log_key)
        self._cluster = self._make_cluster(network, _master_password(self, secrets))
        self._monitor = _monitor(self, environment)
        zones = _zones(self, environment)
        for number in range(1 + environment.settings.database.readers):
            self._make_instance(number, zones[number % len(zones)])

    @property
    def endpoint(self) -> str:
        """The writer's name; it follows a failover."""
        return self._cluster.endpoint

    @property
    def reader_endpoint(self) -> str:
        return self._cluster.reader_endpoint

    @property
    def cluster_identifier(self) -> str:
        return self._cluster.cluster_identifier

    @property
    def cluster_arn(self) -> str:
        return self._cluster.arn

    def connect(self, user: str) -> Statement:
        """Sign in as that IAM user of the database."""
        region, account = self._environment.region, self._environment.settings.account_id
        resource = f"arn:aws:rds-db:{region}:{account}:dbuser:{self._cluster.cluster_resource_id}/{user}"
        return Statement(("rds-db:connect",), (resource,))

    def environment(self, user: str = "") -> dict[str, str]:
        """Where the store is; with `user`, the IAM user that the task is there (others find theirs in the secret)."""
        found = {
            words.ENV_DATABASE_HOST: self.endpoint,
            words.ENV_DATABASE_READER_HOST: self.reader_endpoint,
            words.ENV_DATABASE_NAME: words.DATABASE,
            words.ENV_DATABASE_CA_FILE: words.DATABASE_CA_FILE,
        }
        return found | ({words.ENV_DATABASE_USER: user} if user else {})

    def _make_cluster(self, network: Network, master_password: str) -> RdsCluster:
        return RdsCluster(
            self,
            "cluster",
            cluster_identifier=self._name,
            engine=ENGINE,
            engine_version=VERSION,
            port=PORT,
            database_name=words.DATABASE,
            master_username=words.DATABASE_MASTER,
            master_password_wo=master_password,
            master_password_wo_version=MASTER_PASSWORD_VERSION,
            iam_database_authentication_enabled=True,
            db_cluster_parameter_group_name=parameters(self, self._environment.names, f"{ENGINE}{VERSION}"),
            db_subnet_group_name=self._subnets(network),
            vpc_security_group_ids=[network.security_group("aurora")],
            storage_encrypted=True,
            kms_key_id=self.key.arn,
            backup_retention_period=self._environment.settings.database.backup_days,
            preferred_backup_window=BACKUP_WINDOW,
            preferred_maintenance_window=MAINTENANCE_WINDOW,
            copy_tags_to_snapshot=True,
            enabled_cloudwatch_logs_exports=["postgresql"],
            skip_final_snapshot=True,
            delete_automated_backups=True,
            deletion_protection=False,
            apply_immediately=True,
            tags={"Name": self._name, "data-class": "critical"},
            depends_on=[self._log_group],  # RDS would make the group itself: without a key, without an end
        )

    def _make_instance(self, number: int, zone: str) -> RdsClusterInstance:
        size = self._environment.settings.database
        name = self._environment.names.of(f"aurora-{number}", "database")
        return RdsClusterInstance(
            self,
            f"instance-{number}",
            identifier=name,
            cluster_identifier=self.cluster_identifier,
            engine=ENGINE,
            instance_class=size.instance_class,
            availability_zone=zone,
            promotion_tier=number,
            publicly_accessible=False,
            performance_insights_enabled=True,
            performance_insights_kms_key_id=self.key.arn,
            performance_insights_retention_period=size.insights_days,
            monitoring_interval=MONITORING_S,
            monitoring_role_arn=self._monitor.arn,
            auto_minor_version_upgrade=True,
            copy_tags_to_snapshot=True,
            apply_immediately=True,
            tags={"Name": name, "data-class": "critical"},
            depends_on=self._monitor.policies,
        )

    def _subnets(self, network: Network) -> str:
        return DbSubnetGroup(
            self,
            "subnets",
            name=self._name,
            subnet_ids=network.isolated_subnet_ids,
            tags={"Name": self._name},
        ).name


def _master_password(scope: Construct, secrets: ExistingSecrets) -> str:
    """The password out of the master's secret, read at each run and kept nowhere.

    The bindings have no ephemeral blocks: this one goes into the stack's JSON as it is.
    """
    kind, name = "aws_secretsmanager_secret_version", "database-master"
    TerraformStack.of(scope).add_override(
        f"ephemeral.{kind}.{name}", {"secret_id": secrets.arn("database_master")}
    )
    return f'${{jsondecode(ephemeral.{kind}.{name}.secret_string)["password"]}}'


def _log_group(scope: Construct, environment: Environment, cluster: str, key: Key) -> CloudwatchLogGroup:
    """Where RDS exports PostgreSQL's log to: the name is RDS's, so it is made before RDS makes it."""
    name = f"/aws/rds/cluster/{cluster}/postgresql"
    return CloudwatchLogGroup(
        scope,
        "log",
        name=name,
        kms_key_id=key.arn,
        retention_in_days=environment.settings.log_days,
        skip_destroy=False,
        tags={"Name": name, "data-class": "standard"},
    )


def _monitor(scope: Construct, environment: Environment) -> Role:
    """Lets enhanced monitoring write to the one group that RDS has for it in an account."""
    account, region = environment.settings.account_id, environment.region
    role = Role(
        scope,
        "monitor",
        names=environment.names,
        name="aurora-monitor",
        trust_policy=trust("monitoring.rds.amazonaws.com", account_id=account),
    )
    group = f"arn:aws:logs:{region}:{account}:log-group:RDSOSMetrics"
    role.allow(
        "metrics",
        Statement(("logs:CreateLogGroup", "logs:PutRetentionPolicy"), (f"{group}:*",)),
        Statement(
            ("logs:CreateLogStream", "logs:DescribeLogStreams", "logs:GetLogEvents", "logs:PutLogEvents"),
            (f"{group}:log-stream:*",),
        ),
    )
    return role


def _zones(scope: Construct, environment: Environment) -> list[str]:
    """The zones' names. The settings know them by id, since a name means another place in each account."""
    return [
        DataAwsAvailabilityZone(scope, f"zone-{zone_id}", zone_id=zone_id).name
        for zone_id in environment.settings.zone_ids
    ]
