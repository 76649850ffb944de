"""The operational store: zones, TLS, backups, and a master password that is in no file of ours."""

from __future__ import annotations

import json
from fnmatch import fnmatchcase
from typing import Any

import pytest

from millrace import names
from millrace_infra.settings import load
from tests.infra.conftest import FOLDER, SUFFIX
from tests.infra.program import Program, Resource
from tests.infra.stores.conftest import Alone, Isolated


def migrate(stack: Any, environment: Any, keys: Any) -> None:
    from millrace_infra.policy import Role, trust
    from millrace_infra.secrets import ExistingSecrets
    from millrace_infra.sinks.aurora import Aurora

    network: Any = Isolated()
    secrets = ExistingSecrets(stack, "secrets", environment=environment)
    made = Aurora(
        stack, "aurora", environment=environment, key=keys["database"], network=network, secrets=secrets,
        log_key=keys["logs"],
    )  # fmt: skip
    document = trust("ecs-tasks.amazonaws.com", account_id="123456789012")
    role = Role(stack, "migrate", names=environment.names, name="migrate", trust_policy=document)
    role.allow("aurora", made.connect(names.DATABASE_MIGRATE))


def cluster(program: Program) -> Resource:
    (found,) = program.of("aws_rds_cluster")
    return found


def parameters(program: Program) -> dict[str, str]:
    (group,) = program.of("aws_rds_cluster_parameter_group")
    assert program.follow(cluster(program)["db_cluster_parameter_group_name"]) == group
    return {one["name"]: one["value"] for one in group["parameter"]}


@pytest.mark.requirement("S-07")
def test_writer_and_readers_are_in_different_zones(platform: Program) -> None:
    settings = load(platform.environment, SUFFIX, folder=FOLDER).settings
    instances = platform.of("aws_rds_cluster_instance")
    assert len(instances) == 1 + settings.database.readers
    zones = {one["availability_zone"] for one in instances}
    assert len(zones) == min(len(instances), len(settings.zone_ids))
    known = {f"${{{one.address}.name}}": one["zone_id"] for one in platform.data("aws_availability_zone")}
    assert zones <= set(known)
    assert set(known.values()) == set(settings.zone_ids)


@pytest.mark.requirement("S-07")
def test_a_failover_goes_to_the_readers_in_turn(platform: Program) -> None:
    tiers = [one["promotion_tier"] for one in platform.of("aws_rds_cluster_instance")]
    assert tiers == sorted(set(tiers))
    assert tiers[0] == 0


@pytest.mark.requirement("S-12")
def test_a_connection_in_clear_or_in_old_tls_is_refused(platform: Program) -> None:
    assert parameters(platform)["rds.force_ssl"] == "1"
    assert parameters(platform)["ssl_min_protocol_version"] == "TLSv1.2"


@pytest.mark.requirement("S-11")
def test_the_log_never_holds_a_rotated_password(platform: Program) -> None:
    """ALTER ROLE … PASSWORD is DDL: with `ddl`, `mod` or `all` it would be logged as it was sent."""
    assert parameters(platform)["log_statement"] == "none"


@pytest.mark.requirement("S-07")
def test_what_postgresql_logs_is_ours_to_key_and_to_end(platform: Program) -> None:
    found = cluster(platform)
    assert found["enabled_cloudwatch_logs_exports"] == ["postgresql"]
    group = platform.at("aurora/log")
    assert group["name"] == f"/aws/rds/cluster/{found['cluster_identifier']}/postgresql"
    assert platform.follow(group["kms_key_id"]) == platform.at("keys/logs/key")
    assert group["retention_in_days"] > 0
    assert group.address in found["depends_on"]


@pytest.mark.requirement("S-12")
def test_the_logs_key_lets_cloudwatch_use_it_for_the_databases_group(platform: Program) -> None:
    """CloudWatch refuses a group whose name the key's policy does not know."""
    settings = load(platform.environment, SUFFIX, folder=FOLDER).settings
    name = platform.at("aurora/log")["name"]
    address = f"arn:aws:logs:{settings.region}:{settings.account_id}:log-group:{name}"
    context = "kms:EncryptionContext:aws:logs:arn"
    patterns: list[str] = []
    for one in platform.at("keys/logs/key").statements():
        value = one.get("Condition", {}).get("ArnLike", {}).get(context, [])
        patterns += [value] if isinstance(value, str) else value
    assert any(fnmatchcase(address, pattern) for pattern in patterns)


@pytest.mark.requirement("S-07")
def test_instances_are_watched_second_by_second_under_our_key(platform: Program) -> None:
    days = load(platform.environment, SUFFIX, folder=FOLDER).settings.database.insights_days
    for one in platform.of("aws_rds_cluster_instance"):
        assert one["performance_insights_enabled"] is True
        assert one["performance_insights_retention_period"] == days
        assert platform.follow(one["performance_insights_kms_key_id"]) == platform.at("keys/database/key")
        assert one["monitoring_interval"] == 60
        assert platform.follow(one["monitoring_role_arn"]) == platform.at("aurora/monitor/role")
        assert one["publicly_accessible"] is False


@pytest.mark.requirement("S-13")
def test_the_monitoring_role_writes_to_its_one_group(platform: Program) -> None:
    for one in platform.at("aurora/monitor/may-metrics").statements():
        assert all(":log-group:RDSOSMetrics:" in arn for arn in one["Resource"])


@pytest.mark.requirement("S-07")
def test_automated_backups_go_back_35_days_unless_the_settings_say_less(platform: Program) -> None:
    wanted = load(platform.environment, SUFFIX, folder=FOLDER).settings.database.backup_days
    assert cluster(platform)["backup_retention_period"] == wanted == 35


@pytest.mark.requirement("S-04")
def test_the_cluster_leaves_nothing_behind(platform: Program) -> None:
    found = cluster(platform)
    assert found["skip_final_snapshot"] is True
    assert found["delete_automated_backups"] is True
    assert found["deletion_protection"] is False


@pytest.mark.requirement("S-11")
def test_the_master_password_is_write_only_and_comes_from_the_existing_secret(platform: Program) -> None:
    (kind,) = platform.json["ephemeral"]
    ((name, block),) = platform.json["ephemeral"][kind].items()
    assert kind == "aws_secretsmanager_secret_version"
    secrets = {f"{one.type}.{one.id}": one["name"] for one in platform.data("aws_secretsmanager_secret")}
    source = block["secret_id"].removeprefix("${").removesuffix(".arn}")
    assert secrets[source] == f"millrace/{SUFFIX}/database-master"
    found = cluster(platform)
    assert (
        found["master_password_wo"] == f'${{jsondecode(ephemeral.{kind}.{name}.secret_string)["password"]}}'
    )
    assert found["master_password_wo_version"] >= 1
    assert "master_password" not in found.body
    assert "manage_master_user_password" not in found.body


@pytest.mark.requirement("S-11")
def test_no_version_of_a_secret_is_read_into_the_state(platform: Program) -> None:
    assert platform.data("aws_secretsmanager_secret_version") == []
    assert platform.of("aws_secretsmanager_secret", "aws_secretsmanager_secret_version") == []


@pytest.mark.requirement("S-13")
def test_iam_users_of_the_database_are_let_in_by_name(platform: Program) -> None:
    assert cluster(platform)["iam_database_authentication_enabled"] is True


@pytest.mark.requirement("S-07")
def test_backup_maintenance_and_the_vaults_jobs_keep_out_of_each_others_way(platform: Program) -> None:
    """AWS Backup starts within an hour of 03:00, and no job within an hour before a maintenance window."""
    found = cluster(platform)
    assert found["preferred_backup_window"] == "01:00-02:00"
    assert found["preferred_maintenance_window"].startswith("wed:05:00")
    plans = json.dumps([plan["rule"] for plan in platform.of("aws_backup_plan")])
    assert plans.count("cron(0 3 ") == plans.count("cron(")


@pytest.mark.requirement("S-13")
def test_a_role_that_connects_is_let_in_as_one_user_of_one_cluster(alone: Alone) -> None:
    (granted,) = alone(migrate).at("migrate/may-aurora").statements()
    assert granted["Action"] == ["rds-db:connect"]
    (resource,) = granted["Resource"]
    assert resource.startswith("arn:aws:rds-db:eu-central-1:123456789012:dbuser:${aws_rds_cluster.")
    assert resource.endswith(".cluster_resource_id}/millrace_migrate")
