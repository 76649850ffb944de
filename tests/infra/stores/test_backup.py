"""The vault: what is kept of which store for how long, and who may take it away."""

from __future__ import annotations

import re
from typing import Any

import pytest

from millrace_infra.settings import load
from millrace_infra.settings.environment import RETENTION_DAYS_MIN
from tests.infra.conftest import FOLDER, SUFFIX
from tests.infra.program import Program
from tests.infra.stores.conftest import Alone, Isolated


def tiers(program: Program, noun: str) -> dict[str, tuple[str, int]]:
    plan = program.at(f"backup/{noun}-plan")
    return {one["rule_name"]: (one["schedule"], one["lifecycle"]["delete_after"]) for one in plan["rule"]}


@pytest.mark.requirement("S-07")
def test_aurora_is_kept_monthly_for_seven_years_weekly_for_90_days_daily_for_35(platform: Program) -> None:
    assert tiers(platform, "aurora") == {
        "monthly": ("cron(0 3 1 * ? *)", RETENTION_DAYS_MIN),
        "weekly": ("cron(0 3 ? * SUN *)", 90),
        "daily": ("cron(0 3 * * ? *)", 35),
    }


def vault(stack: Any, environment: Any, keys: Any) -> None:
    from millrace_infra.backup import Backup
    from millrace_infra.secrets import ExistingSecrets
    from millrace_infra.shared_storage import SharedStorage
    from millrace_infra.sinks.aurora import Aurora

    network: Any = Isolated()
    database = Aurora(
        stack, "aurora", environment=environment, key=keys["database"], network=network,
        secrets=ExistingSecrets(stack, "secrets", environment=environment), log_key=keys["logs"],
    )  # fmt: skip
    storage = SharedStorage(stack, "storage", environment=environment, key=keys["storage"], network=network)
    Backup(stack, "backup", environment=environment, key=keys["backup"], database=database, storage=storage)


@pytest.mark.requirement("S-20")
def test_who_keeps_critical_readings_for_longer_keeps_the_monthly_copies_for_as_long(alone: Alone) -> None:
    days = {name: days for name, (_, days) in tiers(alone(vault, critical_days=4000), "aurora").items()}
    assert days == {"monthly": 4000, "weekly": 90, "daily": 35}


@pytest.mark.requirement("S-09")
def test_shared_storage_is_kept_daily_for_35_days(platform: Program) -> None:
    assert tiers(platform, "shared-storage") == {"daily": ("cron(0 3 * * ? *)", 35)}


@pytest.mark.requirement("S-07")
def test_no_tier_is_cold_since_aurora_has_none(platform: Program) -> None:
    for plan in platform.of("aws_backup_plan"):
        assert all("cold_storage_after" not in one["lifecycle"] for one in plan["rule"])
        assert all(one["completion_window"] > one["start_window"] >= 60 for one in plan["rule"])


@pytest.mark.requirement("S-07")
@pytest.mark.parametrize(
    ("noun", "store"), [("aurora", "aws_rds_cluster"), ("shared-storage", "aws_efs_file_system")]
)
def test_a_store_is_selected_by_its_address(platform: Program, noun: str, store: str) -> None:
    selection = platform.at(f"backup/{noun}-selection")
    assert [platform.follow(one) for one in selection["resources"]] == platform.of(store)
    assert platform.follow(selection["plan_id"]) == platform.at(f"backup/{noun}-plan")
    assert platform.follow(selection["iam_role_arn"]) == platform.at("backup/role/role")
    assert "selection_tag" not in selection.body


@pytest.mark.requirement("S-04")
def test_the_vault_can_be_destroyed_and_records_are_guarded(platform: Program) -> None:
    (vault,) = platform.of("aws_backup_vault")
    assert vault["force_destroy"] is True
    guards = platform.of("aws_backup_vault_policy")
    assert bool(guards) is (load(platform.environment, SUFFIX, folder=FOLDER).settings.profile == "records")
    for guard in guards:
        (denied,) = guard.statements()
        assert denied["Effect"] == "Deny"
        assert denied["Action"] == ["backup:DeleteRecoveryPoint", "backup:UpdateRecoveryPointLifecycle"]
        # the policy itself may go, or `destroy` could not
        assert not any("VaultAccessPolicy" in action for action in denied["Action"])


@pytest.mark.requirement("S-13")
def test_the_backup_role_touches_the_two_stores_and_deletes_its_own_snapshots_alone(
    platform: Program,
) -> None:
    granted: list[dict[str, Any]] = [
        statement
        for resource in platform.of("aws_iam_role_policy")
        if resource.path.startswith("backup/role/")
        for statement in resource.statements()
    ]
    for one in granted:
        deletes = [action for action in one["Action"] if "Delete" in action or "Modify" in action]
        if deletes:
            assert all(arn.endswith(":cluster-snapshot:awsbackup:*") for arn in one["Resource"])
    everywhere = [action for one in granted if "*" in one["Resource"] for action in one["Action"]]
    assert everywhere == ["tag:GetResources"]
    assert not any("Restore" in action for one in granted for action in one["Action"])


@pytest.mark.requirement("S-12")
def test_the_backup_role_uses_the_keys_of_vault_and_stores_through_their_services(platform: Program) -> None:
    used = platform.at("backup/role/may-keys").statements()
    wanted = [platform.at(f"keys/{noun}/key") for noun in ("backup", "database", "storage")]
    for one in used:
        assert [platform.follow(arn) for arn in one["Resource"]] == wanted
        if one["Action"] != ["kms:DescribeKey"]:
            assert "kms:ViaService" in one["Condition"]["StringEquals"]
        if "kms:CreateGrant" in one["Action"]:
            assert one["Condition"]["Bool"] == {"kms:GrantIsForAWSResource": "true"}


def told_days(what: str) -> list[int]:
    """Days in the row of docs/restore.md that begins so, or goes on so."""
    page = (FOLDER.parent / "docs" / "restore.md").read_text(encoding="utf-8")
    (row,) = [line for line in page.splitlines() if line.startswith("|") and what in line]
    return [int(days) for days in re.findall(r"\b(\d+) days", row)]


def noncurrent_days(program: Program, data_class: str) -> int:
    rules = {one["id"]: one for one in program.at("archive/files/life-cycle")["rule"]}
    (version,) = rules[data_class]["noncurrent_version_expiration"]
    return int(version["noncurrent_days"])


def locked_days(program: Program) -> int:
    """A locked version outlives the life cycle's rule; where nothing is locked, the rule alone keeps it."""
    locks = [one for one in program.of("aws_s3_bucket_object_lock_configuration") if one.path == "archive/files/lock"]
    return int(locks[0]["rule"]["default_retention"]["days"]) if locks else 0


@pytest.mark.requirement("S-07")
def test_what_each_tier_brings_back_is_written_down_as_the_program_keeps_it(platform: Program) -> None:
    """Whoever has lost something reads that page: a day too many there is a promise that nothing keeps."""
    (cluster,) = platform.of("aws_rds_cluster")
    assert told_days("| rows, by a mistake |") == [cluster["backup_retention_period"]]
    assert told_days("the vault, daily |") == [tiers(platform, "aurora")["daily"][1]]
    assert told_days("the vault, weekly |") == [tiers(platform, "aurora")["weekly"][1]]
    assert told_days("the vault, monthly |") == [tiers(platform, "aurora")["monthly"][1]]
    assert told_days("| shared storage |") == [tiers(platform, "shared-storage")["daily"][1]]
    assert told_days("| a file of `critical/` |") == [max(noncurrent_days(platform, "critical"), locked_days(platform))]
    assert told_days("| a file of `standard/` |") == [noncurrent_days(platform, "standard")]
    (table,) = platform.of("aws_dynamodb_table")
    assert table["point_in_time_recovery"] == {"enabled": True}
    assert told_days("| the stream's leases |") == [35]  # DynamoDB's own
