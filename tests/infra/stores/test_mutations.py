"""The tests of the stores can fail: each rule is broken once, in the JSON, and its test must notice."""

# ruff: noqa: E501 (a row of the table is a line)

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import valkey

from tests.infra.breaking import NOTICED, Body, Change, also, broken, first, policy, put, without
from tests.infra.conftest import SUFFIX, Synthesize
from tests.infra.program import Program
from tests.infra.stores import (
    test_archive,
    test_aurora,
    test_backup,
    test_encryption,
    test_redis,
    test_secrets,
    test_shared_storage,
    test_standing,
    test_stream,
)
from tests.infra.stores.conftest import Alone
from tests.infra.stores.test_redis import server as server  # a real one, of this module's own

MODULES: tuple[ModuleType, ...] = (
    test_archive, test_aurora, test_backup, test_encryption, test_redis, test_secrets, test_shared_storage, test_stream,
    test_standing,
)  # fmt: skip
a, d, b, e, r, s, f, t, w = MODULES

ELSEWHERE = {
    "test_a_real_server_lets_a_service_do_its_work": "broken below, by other rights on the server",
    "test_a_real_server_lets_it_do_nothing_more": "broken below, by other rights on the server",
    "test_every_key_of_ours_has_the_prefix_that_the_rights_name": "broken below, by another prefix",
}
WHOLE = ""
LIFE = "archive/files/life-cycle"
STANDARD = "arn:aws:s3:::x/standard/*"


def more(*actions: str) -> Change:
    """The first statement of a policy allows these too."""
    return policy(lambda found: found[0]["Action"].extend(actions))


def reads(kind: str) -> Change:
    """A data source of that kind in the whole program."""
    return lambda whole: whole["data"].update({kind: {"x": {}}})


def of_rows(key: str, name: str, value: str) -> Change:
    """The row of that name, in a list of parameters."""

    def on(body: Body) -> None:
        next(one for one in body[key] if one["name"] == name)["value"] = value

    return on


BROKEN: list[tuple[str, Change, Callable[..., None], tuple[Any, ...]]] = [
    (LIFE, put("rule.0.expiration.0.days", 365), a.test_no_critical_file_is_deleted_before_seven_years, ("critical/",)),
    ("archive/copy/life-cycle", put("rule.1.expiration.0.days", 2556), a.test_no_critical_file_is_deleted_before_seven_years, ("quarantine/",)),
    ("archive/files/lock", put("rule.default_retention.days", 365), a.test_a_critical_file_that_was_overwritten_is_kept_as_long_or_locked, ("critical/",)),
    (LIFE, put("rule.0.expiration.0.days", 2557), a.test_critical_days_lengthen_and_never_shorten, ()),
    ("archive/copy/lock", put("rule.default_retention.days", 2557), a.test_critical_days_lengthen_the_lock_of_both_copies_too, ()),
    ("backup/aurora-plan", put("rule.0.lifecycle.delete_after", 2557), b.test_who_keeps_critical_readings_for_longer_keeps_the_monthly_copies_for_as_long, ()),
    (LIFE, put("rule.0.transition.1.storage_class", "GLACIER"), a.test_history_is_never_in_a_tier_that_answers_after_hours, ()),
    ("archive/files/bucket", put("object_lock_enabled", False), a.test_records_are_locked_and_everything_else_is_free_to_go, ()),
    ("archive/files/bucket", put("force_destroy", False), a.test_records_are_locked_and_everything_else_is_free_to_go, ()),
    ("archive/copy/lock", put("rule.default_retention.mode", "COMPLIANCE"), a.test_records_are_locked_and_everything_else_is_free_to_go, ()),
    ("worker/may-archive", more("s3:DeleteObject"), a.test_a_writer_adds_files_deletes_none_and_shortens_standard_ones_alone, ("ephemeral", False)),
    ("worker/may-archive", policy(lambda found: found.append({"Action": ["s3:PutObjectRetention"], "Resource": [STANDARD.replace("standard", "critical")]})), a.test_a_writer_adds_files_deletes_none_and_shortens_standard_ones_alone, ("records", True)),
    ("worker/may-archive", policy(lambda found: found.append({"Action": ["s3:PutObjectRetention"], "Resource": [STANDARD]})), a.test_a_writer_adds_files_deletes_none_and_shortens_standard_ones_alone, ("ephemeral", False)),
    ("archive/files/policy", policy(first("Action", ["s3:GetObject"])), a.test_every_bucket_refuses_to_talk_in_clear_or_in_old_tls, ("aws:SecureTransport",)),
    ("archive/access-log/policy", policy(lambda found: found.pop(1)), a.test_every_bucket_refuses_to_talk_in_clear_or_in_old_tls, ("s3:TlsVersion",)),
    ("archive/copy/policy", policy(lambda found: found[-1]["Condition"].pop("Null")), a.test_a_file_under_another_key_than_ours_is_refused_and_one_that_asks_for_none_gets_ours, ()),
    ("archive/files/policy", policy(lambda found: found[-1].update(Effect="Allow")), a.test_a_file_under_another_key_than_ours_is_refused_and_one_that_asks_for_none_gets_ours, ()),
    ("archive/files/versioning", put("versioning_configuration.status", "Suspended"), a.test_every_bucket_has_versions_no_public_access_and_no_acls, ("versioning",)),
    ("archive/access-log/public-access", put("block_public_policy", False), a.test_every_bucket_has_versions_no_public_access_and_no_acls, ("public-access",)),
    ("archive/copy/ownership", put("rule.object_ownership", "ObjectWriter"), a.test_every_bucket_has_versions_no_public_access_and_no_acls, ("ownership",)),
    ("archive/logging", put("target_prefix", "elsewhere/"), a.test_who_reads_the_archive_is_logged_and_only_s3_writes_the_log, ()),
    ("archive/access-log/policy", policy(lambda found: found[-1].update(Principal="*")), a.test_who_reads_the_archive_is_logged_and_only_s3_writes_the_log, ()),
    ("archive/replication", put("rule.0.delete_marker_replication.status", "Enabled"), a.test_the_second_copy_forgets_nothing_that_the_original_forgets, ()),
    ("archive/copy-role/may-copy", more("s3:ReplicateDelete"), a.test_the_second_copy_forgets_nothing_that_the_original_forgets, ()),
    (WHOLE, without("aws_s3_bucket_replication_configuration"), a.test_the_second_copy_is_made_where_the_settings_ask_for_it, ()),
    ("aurora/instance-1", put("availability_zone", "${data.aws_availability_zone.x.name}"), d.test_writer_and_readers_are_in_different_zones, ()),
    ("aurora/instance-1", lambda body: body.update(availability_zone="us-east-1a"), d.test_writer_and_readers_are_in_different_zones, ()),
    (WHOLE, lambda j: j["resource"]["aws_rds_cluster_instance"].popitem(), d.test_writer_and_readers_are_in_different_zones, ()),
    ("aurora/instance-1", put("promotion_tier", 0), d.test_a_failover_goes_to_the_readers_in_turn, ()),
    ("aurora/parameters", of_rows("parameter", "ssl_min_protocol_version", "TLSv1"), d.test_a_connection_in_clear_or_in_old_tls_is_refused, ()),
    ("aurora/parameters", of_rows("parameter", "rds.force_ssl", "0"), d.test_a_connection_in_clear_or_in_old_tls_is_refused, ()),
    ("aurora/parameters", of_rows("parameter", "log_statement", "ddl"), d.test_the_log_never_holds_a_rotated_password, ()),
    ("aurora/cluster", put("depends_on", []), d.test_what_postgresql_logs_is_ours_to_key_and_to_end, ()),
    ("aurora/log", put("name", "/aws/rds/cluster/other/postgresql"), d.test_the_logs_key_lets_cloudwatch_use_it_for_the_databases_group, ()),
    ("aurora/instance-0", put("monitoring_interval", 0), d.test_instances_are_watched_second_by_second_under_our_key, ()),
    ("aurora/instance-2", put("publicly_accessible", True), d.test_instances_are_watched_second_by_second_under_our_key, ()),
    ("aurora/monitor/may-metrics", policy(first("Resource", ["*"])), d.test_the_monitoring_role_writes_to_its_one_group, ()),
    ("aurora/cluster", put("backup_retention_period", 7), d.test_automated_backups_go_back_35_days_unless_the_settings_say_less, ()),
    ("aurora/cluster", put("delete_automated_backups", False), d.test_the_cluster_leaves_nothing_behind, ()),
    ("aurora/cluster", put("master_password_wo", "hunter2"), d.test_the_master_password_is_write_only_and_comes_from_the_existing_secret, ()),
    ("aurora/cluster", put("manage_master_user_password", True), d.test_the_master_password_is_write_only_and_comes_from_the_existing_secret, ()),
    (WHOLE, also("aws_secretsmanager_secret_version", {}), d.test_no_version_of_a_secret_is_read_into_the_state, ()),
    ("aurora/cluster", put("iam_database_authentication_enabled", False), d.test_iam_users_of_the_database_are_let_in_by_name, ()),
    ("aurora/cluster", put("preferred_maintenance_window", "wed:03:00-wed:04:00"), d.test_backup_maintenance_and_the_vaults_jobs_keep_out_of_each_others_way, ()),
    ("backup/aurora-plan", put("rule.0.schedule", "cron(0 5 1 * ? *)"), d.test_backup_maintenance_and_the_vaults_jobs_keep_out_of_each_others_way, ()),
    ("migrate/may-aurora", policy(first("Resource", ["arn:aws:rds-db:eu-central-1:123456789012:dbuser:*/*"])), d.test_a_role_that_connects_is_let_in_as_one_user_of_one_cluster, ()),
    ("backup/aurora-plan", put("rule.0.lifecycle.delete_after", 365), b.test_aurora_is_kept_monthly_for_seven_years_weekly_for_90_days_daily_for_35, ()),
    ("backup/shared-storage-plan", put("rule.0.lifecycle.delete_after", 7), b.test_shared_storage_is_kept_daily_for_35_days, ()),
    ("backup/aurora-plan", put("rule.0.lifecycle.cold_storage_after", 30), b.test_no_tier_is_cold_since_aurora_has_none, ()),
    ("backup/aurora-selection", put("resources", ["*"]), b.test_a_store_is_selected_by_its_address, ("aurora", "aws_rds_cluster")),
    ("backup/aurora-plan", put("rule.1.lifecycle.delete_after", 60), b.test_what_each_tier_brings_back_is_written_down_as_the_program_keeps_it, ()),
    ("aurora/cluster", put("backup_retention_period", 14), b.test_what_each_tier_brings_back_is_written_down_as_the_program_keeps_it, ()),
    (LIFE, put("rule.2.noncurrent_version_expiration.0.noncurrent_days", 7), b.test_what_each_tier_brings_back_is_written_down_as_the_program_keeps_it, ()),
    ("archive/files/lock", put("rule.default_retention.days", 365), b.test_what_each_tier_brings_back_is_written_down_as_the_program_keeps_it, ()),
    ("stream/leases", put("point_in_time_recovery.enabled", False), b.test_what_each_tier_brings_back_is_written_down_as_the_program_keeps_it, ()),
    ("backup/vault", put("force_destroy", False), b.test_the_vault_can_be_destroyed_and_records_are_guarded, ()),
    ("backup/guard", more("backup:DeleteBackupVaultAccessPolicy"), b.test_the_vault_can_be_destroyed_and_records_are_guarded, ()),
    (WHOLE, without("aws_backup_vault_policy"), b.test_the_vault_can_be_destroyed_and_records_are_guarded, ()),
    ("backup/role/may-vault", policy(first("Action", ["rds:DeleteDBCluster"])), b.test_the_backup_role_touches_the_two_stores_and_deletes_its_own_snapshots_alone, ()),
    ("backup/role/may-aurora", more("rds:RestoreDBClusterFromSnapshot"), b.test_the_backup_role_touches_the_two_stores_and_deletes_its_own_snapshots_alone, ()),
    ("backup/role/may-keys", policy(first("Resource", ["*"])), b.test_the_backup_role_uses_the_keys_of_vault_and_stores_through_their_services, ()),
    ("stream/stream", put("kms_key_id", "alias/aws/kinesis"), e.test_every_store_and_log_is_under_a_customer_key, ()),
    ("shared-storage/system", put("encrypted", False), e.test_encryption_is_switched_on_where_a_key_alone_does_nothing, ()),
    ("stream/leases", put("server_side_encryption.enabled", False), e.test_encryption_is_switched_on_where_a_key_alone_does_nothing, ()),
    ("archive/files/encryption", put("rule.0.apply_server_side_encryption_by_default.sse_algorithm", "AES256"), e.test_every_bucket_is_under_a_customer_key_but_the_listed_ones, ()),
    (WHOLE, also("aws_s3_bucket", {"bucket": "bare"}), e.test_every_bucket_is_under_a_customer_key_but_the_listed_ones, ()),
    (WHOLE, also("aws_memorydb_cluster", {"tags": {"data-class": "critical"}}), e.test_whatever_says_that_it_holds_data_is_in_this_table, ()),
    ("redis/store", put("kms_key_id", "${aws_kms_key.keys_database_key_1.arn}"), e.test_one_key_never_serves_two_stores, ()),
    ("redis/store", put("multi_az_enabled", False), r.test_a_zone_may_be_lost, ()),
    ("redis/store", put("num_cache_clusters", 1), r.test_a_zone_may_be_lost, ()),
    ("redis/store", put("transit_encryption_mode", "preferred"), r.test_the_store_is_encrypted_and_takes_tls_alone, ()),
    ("redis/user-api", put("authentication_mode", {"type": "password"}), r.test_people_sign_in_by_iam_and_their_name_is_their_id, ()),
    ("redis/user-api", put("user_id", "other"), r.test_people_sign_in_by_iam_and_their_name_is_their_id, ()),
    ("redis/user-default", put("access_string", "on ~* +@all"), r.test_the_default_user_is_off_has_no_password_and_is_in_the_group, ()),
    ("redis/users", put("user_ids", []), r.test_the_default_user_is_off_has_no_password_and_is_in_the_group, ()),
    ("redis/store", put("auth_token", "x"), r.test_no_password_and_no_token_is_an_argument, ()),
    ("redis/user-worker", put("passwords", ["x"]), r.test_no_password_and_no_token_is_an_argument, ()),
    ("redis/store", put("log_delivery_configuration", []), r.test_slow_commands_and_the_engines_words_are_logged_under_our_key, ()),
    ("redis/parameters", of_rows("parameter", "maxmemory-policy", "allkeys-lru"), r.test_a_full_store_evicts_nothing, ()),
    ("redis/store", put("final_snapshot_identifier", "last"), r.test_the_store_goes_without_a_last_snapshot, ()),
    (WHOLE, lambda j: j["data"]["aws_secretsmanager_secret"].popitem(), s.test_every_secret_of_the_settings_is_found_by_its_name, ()),
    (WHOLE, lambda j: j["data"].pop("aws_secretsmanager_secret"), s.test_another_name_of_a_secret_is_a_setting, ()),
    *((WHOLE, reads(kind), s.test_no_data_source_puts_a_value_into_the_state, (kind,)) for kind in s.VALUES),
    ("worker/may-secrets", policy(lambda found: found[0]["Resource"].append("*")), s.test_a_role_reads_the_secrets_that_it_names_and_opens_no_other, ()),
    ("worker/may-secrets", policy(lambda found: found[1]["Condition"]["StringEquals"].pop("kms:EncryptionContext:SecretARN")), s.test_a_role_reads_the_secrets_that_it_names_and_opens_no_other, ()),
    (WHOLE, lambda j: j["resource"]["aws_efs_mount_target"].popitem(), f.test_every_zone_has_a_mount_target_in_its_isolated_subnet, ()),
    ("shared-storage/policy", policy(lambda found: found.pop(0)), f.test_a_client_without_tls_or_without_an_access_point_or_as_root_is_refused, ()),
    ("shared-storage/policy", policy(first("Action", ["elasticfilesystem:ClientMount"])), f.test_a_client_without_tls_or_without_an_access_point_or_as_root_is_refused, ()),
    ("shared-storage/point-api", put("posix_user.uid", 0), f.test_worker_and_api_meet_in_one_folder_as_one_unprivileged_user, ()),
    ("api/may-storage", more("elasticfilesystem:ClientWrite"), f.test_a_service_mounts_through_its_own_access_point_and_only_the_worker_writes, ("api", ["ClientMount"])),
    ("shared-storage/system", put("lifecycle_policy", []), f.test_old_files_go_to_the_cold_tier_and_come_back_when_they_are_read, ()),
    ("stream/stream", put("shard_count", 24), t.test_the_stream_has_the_shards_that_the_declared_load_takes, ()),
    ("stream/stream", put("retention_period", 24), t.test_the_stream_has_the_shards_that_the_declared_load_takes, ()),
    ("stream/stream", put("shard_count", 1), t.test_an_on_demand_stream_names_no_shards, ()),
    ("stream/stream", put("shard_level_metrics", []), t.test_every_shard_is_measured_and_encrypted_under_the_streams_key, ()),
    ("stream/stream", put("enforce_consumer_deletion", False), t.test_the_worker_has_a_fan_out_consumer_and_it_does_not_keep_the_stream_from_being_destroyed, ()),
    ("stream/leases", put("global_secondary_index.0.projection_type", "ALL"), t.test_the_lease_table_is_the_one_that_the_kcl_would_make, ()),
    ("stream/leases", put("point_in_time_recovery.enabled", False), t.test_a_lost_lease_table_can_be_brought_back, ()),
    ("stream/producers/role/may-stream", more("kinesis:GetRecords"), t.test_a_producer_may_put_on_the_stream_with_its_key_and_nothing_else, ()),
    ("stream/producers/role/may-stream", policy(lambda found: found[1].update(Resource=["*"])), t.test_a_producer_may_put_on_the_stream_with_its_key_and_nothing_else, ()),
    ("worker/may-stream", more("kinesis:RegisterStreamConsumer"), t.test_the_worker_reads_and_leases_but_makes_no_table_and_no_consumer, ()),
    ("worker/may-stream", more("dynamodb:CreateTable"), t.test_the_worker_reads_and_leases_but_makes_no_table_and_no_consumer, ()),
    ("stream/producers/role/role", policy(first("Principal", {"AWS": "*"}), "assume_role_policy"), t.test_in_the_same_account_the_named_roles_become_producers, ((t.GATEWAY,), [t.GATEWAY])),
    ("stream/producers/role/role", policy(lambda found: found[0].pop("Condition"), "assume_role_policy"), t.test_a_certificate_of_the_plants_authority_makes_a_producer, ()),
    ("stream/producers/role/role", policy(lambda found: found[0].pop("Condition"), "assume_role_policy"), t.test_a_device_that_iot_knows_makes_a_producer, ()),
    ("aurora/subnets", put("subnet_ids", ["${aws_subnet.x.id}"]), w.test_a_store_may_stand_in_the_isolated_subnet_of_every_zone, ("aws_db_subnet_group",)),
    ("redis/subnets", lambda body: body["subnet_ids"].pop(), w.test_a_store_may_stand_in_the_isolated_subnet_of_every_zone, ("aws_elasticache_subnet_group",)),
    ("redis/store", put("security_group_ids", []), w.test_a_store_stands_in_its_subnets_behind_its_own_group, ()),
    ("redis/store", put("subnet_group_name", "default"), w.test_a_store_stands_in_its_subnets_behind_its_own_group, ()),
    ("redis/store", put("port", 6380), w.test_a_store_stands_in_its_subnets_behind_its_own_group, ()),
    ("aurora/cluster", put("db_subnet_group_name", "default"), w.test_a_store_stands_in_its_subnets_behind_its_own_group, ()),
    ("shared-storage/mount-use1-az1", put("security_groups", []), w.test_a_store_stands_in_its_subnets_behind_its_own_group, ()),
    ("shared-storage/policy", put("file_system_id", "fs-other"), w.test_mounts_access_points_and_policy_are_of_the_one_file_system, ()),
    ("shared-storage/point-api", put("file_system_id", "fs-other"), w.test_mounts_access_points_and_policy_are_of_the_one_file_system, ()),
    ("shared-storage/system", put("throughput_mode", "bursting"), w.test_mounts_access_points_and_policy_are_of_the_one_file_system, ()),
    ("backup/aurora-plan", put("rule.0.target_vault_name", "Default"), w.test_every_backup_goes_to_the_vault_and_the_guard_stands_before_it, ()),
    ("backup/guard", put("backup_vault_name", "Default"), w.test_every_backup_goes_to_the_vault_and_the_guard_stands_before_it, ()),
    ("redis/store", put("engine", "redis"), w.test_the_real_time_store_is_valkey_of_the_declared_size_with_our_parameters, ()),
    ("redis/store", put("parameter_group_name", "default.valkey8"), w.test_the_real_time_store_is_valkey_of_the_declared_size_with_our_parameters, ()),
    ("redis/store", put("node_type", "cache.t4g.micro"), w.test_the_real_time_store_is_valkey_of_the_declared_size_with_our_parameters, ()),
    ("redis/users", put("engine", "valkey"), w.test_the_real_time_store_is_valkey_of_the_declared_size_with_our_parameters, ()),
    ("aurora/instance-2", put("instance_class", "db.t4g.medium"), w.test_the_database_is_aurora_of_the_declared_class, ()),
    ("stream/stream", put("stream_mode_details.stream_mode", "ON_DEMAND"), w.test_the_stream_is_provisioned_or_on_demand_as_it_was_declared, ()),
    ("keys/alarms/alias", put("target_key_id", "${aws_kms_key.keys_database_key_1.key_id}"), w.test_an_alias_leads_to_the_key_beside_it, ()),
    ("keys/alarms/alias", put("name", "alias/other"), w.test_an_alias_leads_to_the_key_beside_it, ()),
]  # fmt: skip


@pytest.fixture(scope="module")
def whole(synthesize: Synthesize) -> Program:
    """The environment that has all there is: records, a second copy, two readers."""
    return synthesize("us-east-1")[f"millrace-{SUFFIX}"]


@pytest.mark.parametrize(
    ("path", "change", "promise", "rest"),
    BROKEN,
    ids=[f"{at}-{row[0] or 'whole'}" for at, row in enumerate(BROKEN)],
)
def test_a_broken_rule_is_noticed(
    whole: Program,
    alone: Alone,
    path: str,
    change: Change,
    promise: Callable[..., None],
    rest: tuple[Any, ...],
) -> None:
    if "alone" in inspect.signature(promise).parameters:
        promise(alone, *rest)
        with pytest.raises(NOTICED):
            promise(lambda *made, **changes: broken(alone(*made, **changes), path, change), *rest)
        return
    promise(whole, *rest)
    with pytest.raises(NOTICED):
        promise(broken(whole, path, change), *rest)


def test_every_promise_of_the_stores_is_broken_once() -> None:
    promises = {name for module in MODULES for name in vars(module) if name.startswith("test_")}
    assert promises == {row[2].__name__ for row in BROKEN} | set(ELSEWHERE)


def test_a_right_too_many_or_too_few_on_the_server_is_noticed(server: valkey.Valkey) -> None:
    call = ("api", "SET", r.PARTY, "x")
    r.test_a_real_server_lets_it_do_nothing_more(server, call)
    server.execute_command("ACL", "SETUSER", "api", "+set")
    with pytest.raises(AssertionError):
        r.test_a_real_server_lets_it_do_nothing_more(server, call)
    r.test_a_real_server_lets_a_service_do_its_work(server, ("worker", "GET", r.PARTY))
    server.execute_command("ACL", "SETUSER", "worker", "-get")
    with pytest.raises(AssertionError):
        r.test_a_real_server_lets_a_service_do_its_work(server, ("worker", "GET", r.PARTY))


def test_a_key_outside_of_the_prefix_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(r.names, "live_key", lambda shard: f"elsewhere:{shard}")
    with pytest.raises(AssertionError):
        r.test_every_key_of_ours_has_the_prefix_that_the_rights_name()
