"""Where the stores stand, who may knock, and that what belongs to a store is that store's."""

from __future__ import annotations

import pytest

from millrace_infra.settings import Settings, load
from tests.infra.conftest import FOLDER, SUFFIX
from tests.infra.program import Program, Resource


def settings(program: Program) -> Settings:
    return load(program.environment, SUFFIX, folder=FOLDER).settings


def only(program: Program, kind: str) -> Resource:
    (found,) = program.of(kind)
    return found


def behind(program: Program, values: list[str]) -> list[str]:
    """Parties of the flow table, by the security groups that stand there."""
    groups = [program.follow(value) for value in values]
    assert all(group is not None and group.type == "aws_security_group" for group in groups)
    return [group.path.rpartition("/")[2] for group in groups if group is not None]


@pytest.mark.requirement("S-14")
@pytest.mark.requirement("S-02")
@pytest.mark.parametrize("kind", ["aws_db_subnet_group", "aws_elasticache_subnet_group"])
def test_a_store_may_stand_in_the_isolated_subnet_of_every_zone(platform: Program, kind: str) -> None:
    """With a subnet missing, a failover has one zone less to go to, and nobody is told."""
    subnets = [platform.follow(one) for one in only(platform, kind)["subnet_ids"]]
    zones = [
        one["availability_zone_id"]
        for one in subnets
        if one is not None and one["tags"]["tier"] == "isolated"
    ]
    assert sorted(zones) == sorted(settings(platform).zone_ids)


@pytest.mark.requirement("S-14")
def test_a_store_stands_in_its_subnets_behind_its_own_group(platform: Program) -> None:
    """The packet walker knows the groups; here they are on the stores."""
    cluster, cache = only(platform, "aws_rds_cluster"), only(platform, "aws_elasticache_replication_group")
    assert behind(platform, cluster["vpc_security_group_ids"]) == ["aurora"]
    assert behind(platform, cache["security_group_ids"]) == ["redis"]
    assert platform.follow(cluster["db_subnet_group_name"]) == only(platform, "aws_db_subnet_group")
    assert platform.follow(cache["subnet_group_name"]) == only(platform, "aws_elasticache_subnet_group")
    for mount in platform.of("aws_efs_mount_target"):
        assert behind(platform, mount["security_groups"]) == ["efs"]
    assert (cluster["port"], cache["port"]) == (5432, 6379)


@pytest.mark.requirement("S-09")
def test_mounts_access_points_and_policy_are_of_the_one_file_system(platform: Program) -> None:
    system = only(platform, "aws_efs_file_system")
    assert system["throughput_mode"] == "elastic"
    for one in platform.of("aws_efs_mount_target", "aws_efs_access_point", "aws_efs_file_system_policy"):
        assert platform.follow(one["file_system_id"]) == system, one.path


@pytest.mark.requirement("S-07")
def test_every_backup_goes_to_the_vault_and_the_guard_stands_before_it(platform: Program) -> None:
    vault = only(platform, "aws_backup_vault")
    targets = [rule["target_vault_name"] for plan in platform.of("aws_backup_plan") for rule in plan["rule"]]
    guards = [guard["backup_vault_name"] for guard in platform.of("aws_backup_vault_policy")]
    assert len(targets) == 4
    assert all(platform.follow(name) == vault for name in [*targets, *guards])


@pytest.mark.requirement("S-08")
def test_the_real_time_store_is_valkey_of_the_declared_size_with_our_parameters(platform: Program) -> None:
    cache, parameters = (
        only(platform, f"aws_elasticache_{kind}_group") for kind in ("replication", "parameter")
    )
    assert (cache["engine"], cache["engine_version"], parameters["family"]) == ("valkey", "8.0", "valkey8")
    assert platform.follow(cache["parameter_group_name"]) == parameters
    assert cache["node_type"] == settings(platform).cache.node_type
    # a group of the engine `valkey` would refuse the user `default`, which has no password
    users = platform.of("aws_elasticache_user", "aws_elasticache_user_group")
    assert {one["engine"] for one in users} == {"redis"}


@pytest.mark.requirement("S-07")
def test_the_database_is_aurora_of_the_declared_class(platform: Program) -> None:
    cluster = only(platform, "aws_rds_cluster")
    assert (cluster["engine"], cluster["engine_version"]) == ("aurora-postgresql", "16")
    for one in platform.of("aws_rds_cluster_instance"):
        assert platform.follow(one["cluster_identifier"]) == cluster
        assert (one["engine"], one["instance_class"]) == (
            cluster["engine"],
            settings(platform).database.instance_class,
        )


@pytest.mark.requirement("S-05")
def test_the_stream_is_provisioned_or_on_demand_as_it_was_declared(platform: Program) -> None:
    mode = only(platform, "aws_kinesis_stream")["stream_mode_details"]["stream_mode"]
    assert mode == settings(platform).stream.mode.upper()


@pytest.mark.requirement("S-12")
def test_an_alias_leads_to_the_key_beside_it(platform: Program) -> None:
    """Who finds a key by its name (an operator, the state's bucket) must not find another."""
    for alias in platform.of("aws_kms_alias"):
        key = platform.follow(alias["target_key_id"])
        assert key is not None
        assert key.path.rpartition("/")[0] == alias.path.rpartition("/")[0]
        assert alias["name"] == f"alias/{key['tags']['Name']}"
