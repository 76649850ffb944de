"""The archive: what S3 keeps, for how long, and that nobody shortens it."""

from __future__ import annotations

from typing import Any

import pytest

from millrace import names
from millrace_infra.settings import load
from millrace_infra.settings.environment import RETENTION_DAYS_MIN
from tests.infra.conftest import FOLDER, SUFFIX
from tests.infra.program import Program
from tests.infra.stores.conftest import Alone

BUCKETS = ("archive/files", "archive/copy", "archive/access-log")
CRITICAL = (names.ARCHIVE_CRITICAL, names.ARCHIVE_QUARANTINE)


def archive(stack: Any, environment: Any, keys: Any) -> object:
    from millrace_infra.sinks.archive import Archive

    return Archive(stack, "archive", environment=environment, key=keys["archive"])


def writer(stack: Any, environment: Any, keys: Any) -> None:
    from millrace_infra.policy import Role, trust

    made = archive(stack, environment, keys)
    document = trust("ecs-tasks.amazonaws.com", account_id="123456789012")
    role = Role(stack, "worker", names=environment.names, name="worker", trust_policy=document)
    role.allow("archive", *made.write())  # type: ignore[attr-defined]


def rules(program: Program, bucket: str) -> dict[str, dict[str, Any]]:
    """Prefix -> the rule that decides its end."""
    found = program.at(f"{bucket}/life-cycle")["rule"]
    return {one["filter"][0]["prefix"]: one for one in found if "days" in one["expiration"][0]}


def buckets(program: Program) -> list[str]:
    paths = [resource.path for resource in program.of("aws_s3_bucket")]
    return [one for one in BUCKETS if f"{one}/bucket" in paths]


@pytest.mark.requirement("S-20")
@pytest.mark.parametrize("prefix", CRITICAL)
def test_no_critical_file_is_deleted_before_seven_years(platform: Program, prefix: str) -> None:
    assert load(platform.environment, SUFFIX, folder=FOLDER).settings.critical_days >= RETENTION_DAYS_MIN
    for bucket in buckets(platform)[:-1]:
        assert rules(platform, bucket)[prefix]["expiration"][0]["days"] >= RETENTION_DAYS_MIN


@pytest.mark.requirement("S-20")
@pytest.mark.parametrize("prefix", CRITICAL)
def test_a_critical_file_that_was_overwritten_is_kept_as_long_or_locked(
    platform: Program, prefix: str
) -> None:
    locked = {lock["bucket"]: lock["rule"] for lock in platform.of("aws_s3_bucket_object_lock_configuration")}
    for bucket in buckets(platform)[:-1]:
        noncurrent = rules(platform, bucket)[prefix]["noncurrent_version_expiration"][0]["noncurrent_days"]
        name = platform.at(f"{bucket}/life-cycle")["bucket"]
        retention = locked[name]["default_retention"]["days"] if name in locked else 0
        assert max(noncurrent, retention) >= RETENTION_DAYS_MIN


@pytest.mark.requirement("S-20")
def test_critical_days_lengthen_and_never_shorten(alone: Alone) -> None:
    program = alone(archive, critical_days=4000, standard_days=90)
    assert rules(program, "files")["critical/"]["expiration"] == [{"days": 4000}]
    assert rules(program, "files")["standard/"]["expiration"] == [{"days": 90}]


@pytest.mark.requirement("S-20")
def test_critical_days_lengthen_the_lock_of_both_copies_too(alone: Alone) -> None:
    """A life cycle that waits longer than the lock keeps nothing from being deleted by hand."""
    program = alone(archive, critical_days=4000, profile="records", second_archive_copy=True)
    locked = program.of("aws_s3_bucket_object_lock_configuration")
    locks = {one.path: one["rule"]["default_retention"] for one in locked}
    assert locks == {f"archive/{one}/lock": {"mode": "GOVERNANCE", "days": 4000} for one in ("files", "copy")}


@pytest.mark.requirement("S-18")
def test_history_is_never_in_a_tier_that_answers_after_hours(platform: Program) -> None:
    tiers = {
        tier["storage_class"]
        for rule in rules(platform, "archive/files").values()
        for tier in rule["transition"]
    }
    assert tiers == {"STANDARD_IA", "GLACIER_IR"}


@pytest.mark.requirement("S-04")
def test_records_are_locked_and_everything_else_is_free_to_go(platform: Program) -> None:
    records = load(platform.environment, SUFFIX, folder=FOLDER).settings.profile == "records"
    assert platform.at("archive/files/bucket")["object_lock_enabled"] is records
    assert platform.at("archive/files/bucket")["force_destroy"] is True
    locks = platform.of("aws_s3_bucket_object_lock_configuration")
    assert bool(locks) is records
    for lock in locks:
        assert lock["rule"]["default_retention"] == {"mode": "GOVERNANCE", "days": RETENTION_DAYS_MIN}


@pytest.mark.requirement("S-13")
@pytest.mark.parametrize(("profile", "locks"), [("ephemeral", False), ("records", True)])
def test_a_writer_adds_files_deletes_none_and_shortens_standard_ones_alone(
    alone: Alone, profile: str, locks: bool
) -> None:
    granted = alone(writer, profile=profile).at("worker/may-archive").statements()
    assert not any("Delete" in action or "Bypass" in action for one in granted for action in one["Action"])
    put = next(one for one in granted if "s3:PutObject" in one["Action"])
    assert [arn.split("/", 1)[1] for arn in put["Resource"]] == ["critical/*", "quarantine/*", "standard/*"]
    retention = [one for one in granted if "s3:PutObjectRetention" in one["Action"]]
    assert bool(retention) is locks
    assert all(arn.endswith("/standard/*") for one in retention for arn in one["Resource"])


@pytest.mark.requirement("S-12")
@pytest.mark.parametrize("refused", ["aws:SecureTransport", "s3:TlsVersion"])
def test_every_bucket_refuses_to_talk_in_clear_or_in_old_tls(platform: Program, refused: str) -> None:
    for bucket in buckets(platform):
        found = [
            one
            for one in platform.at(f"{bucket}/policy").statements()
            if one["Effect"] == "Deny" and refused in str(one.get("Condition"))
        ]
        assert len(found) == 1
        assert found[0]["Action"] == ["s3:*"]
        assert len(found[0]["Resource"]) == 2


@pytest.mark.requirement("S-12")
def test_a_file_under_another_key_than_ours_is_refused_and_one_that_asks_for_none_gets_ours(
    platform: Program,
) -> None:
    """Without the first condition a writer that says nothing of encryption would be refused: it names no key."""
    for bucket in buckets(platform)[:-1]:
        (one,) = (one for one in platform.at(f"{bucket}/policy").statements() if one["Action"] == ["s3:PutObject"])
        key, alias = one["Condition"].pop("StringNotEquals")["s3:x-amz-server-side-encryption-aws-kms-key-id"]
        assert one["Condition"] == {"Null": {"s3:x-amz-server-side-encryption": "false"}}
        assert one["Effect"] == "Deny"
        followed = platform.follow(key)
        assert followed is not None
        assert followed.path == "keys/archive/key"
        assert alias == platform.at("keys/archive/alias")["name"]


@pytest.mark.parametrize("part", ["versioning", "public-access", "ownership"])
def test_every_bucket_has_versions_no_public_access_and_no_acls(platform: Program, part: str) -> None:
    switches = ("block_public_acls", "block_public_policy", "ignore_public_acls", "restrict_public_buckets")
    wanted: dict[str, dict[str, Any]] = {
        "versioning": {"versioning_configuration": {"status": "Enabled"}},
        "public-access": dict.fromkeys(switches, True),
        "ownership": {"rule": {"object_ownership": "BucketOwnerEnforced"}},
    }
    for bucket in buckets(platform):
        found = platform.at(f"{bucket}/{part}").body
        assert {key: found[key] for key in wanted[part]} == wanted[part]


def test_who_reads_the_archive_is_logged_and_only_s3_writes_the_log(platform: Program) -> None:
    logging = platform.at("archive/logging")
    assert platform.follow(logging["bucket"]) == platform.at("archive/files/bucket")
    assert platform.follow(logging["target_bucket"]) == platform.at("archive/access-log/bucket")
    (allowed,) = (
        one for one in platform.at("archive/access-log/policy").statements() if one["Effect"] == "Allow"
    )
    assert allowed["Principal"] == {"Service": "logging.s3.amazonaws.com"}
    source = f"arn:aws:s3:::{platform.at('archive/files/bucket')['bucket']}"
    assert allowed["Condition"]["ArnEquals"] == {"aws:SourceArn": source}
    assert allowed["Resource"][0].endswith(f"/{logging['target_prefix']}*")


def test_the_second_copy_forgets_nothing_that_the_original_forgets(alone: Alone) -> None:
    program = alone(archive, second_archive_copy=True)
    (replication,) = program.of("aws_s3_bucket_replication_configuration")
    (rule,) = replication["rule"]
    assert rule["delete_marker_replication"] == {"status": "Disabled"}
    assert rule["source_selection_criteria"] == {"sse_kms_encrypted_objects": {"status": "Enabled"}}
    assert rule["destination"]["metrics"] == {"status": "Enabled"}, "its alarm reads them"
    assert rule["destination"]["bucket"].endswith(program.at("archive/copy/bucket")["bucket"])
    granted = program.at("archive/copy-role/may-copy").statements()
    assert not any("Delete" in action for one in granted for action in one["Action"])


def test_the_second_copy_is_made_where_the_settings_ask_for_it(platform: Program) -> None:
    wanted = load(platform.environment, SUFFIX, folder=FOLDER).settings.second_archive_copy
    assert bool(platform.of("aws_s3_bucket_replication_configuration")) is wanted
