"""Everything goes in one command: no protection, nothing kept on purpose, and what would block is told not to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.infra.program import Program

PROTECTING = (
    "deletion_protection", "deletion_protection_enabled", "enable_deletion_protection", "prevent_destroy",
    "termination_protection", "disable_api_termination",
)  # fmt: skip
RELEASED = {
    "aws_backup_vault": {"force_destroy": True},
    "aws_ecr_repository": {"force_delete": True},
    "aws_ecs_service": {"force_delete": True},
    "aws_kinesis_stream": {"enforce_consumer_deletion": True},
    "aws_kms_key": {"deletion_window_in_days": 7},
    "aws_rds_cluster": {"skip_final_snapshot": True, "delete_automated_backups": True},
    "aws_s3_bucket": {"force_destroy": True},
}
"""Kind -> what it must say, or destroying it fails or leaves something that costs."""
KEPT = {"aws_ecs_task_definition": "a rollback needs the former revision; `destroy` deregisters them all"}
"""Kinds that may say `skip_destroy`, and who removes them instead."""
COPIES = ("final_snapshot_identifier", "snapshot_identifier")


def everything(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Every key with its value, at any depth."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield name, inner
            yield from everything(inner, name)
    elif isinstance(value, list):
        for inner in value:
            yield from everything(inner, key)


@pytest.mark.requirement("S-04")
def test_nothing_is_protected_from_being_destroyed(stack: Program) -> None:
    for resource in stack:
        for key, value in everything(dict(resource.body)):
            assert key not in PROTECTING or value is False, f"{resource.path}: {key} = {value}"
            assert key not in ("retain_on_delete", "retain") or not value, f"{resource.path}: {key}"


@pytest.mark.requirement("S-04")
def test_what_would_block_a_destroy_is_told_not_to(stack: Program) -> None:
    for resource in stack.of(*RELEASED):
        for key, wanted in RELEASED[resource.type].items():
            assert resource.get(key) == wanted, f"{resource.path}: {key}"


@pytest.mark.requirement("S-04")
def test_no_copy_is_left_by_destroying(stack: Program) -> None:
    for resource in stack:
        assert not any(resource.get(key) for key in COPIES), resource.path


@pytest.mark.requirement("S-04")
def test_what_terraform_does_not_destroy_is_listed(stack: Program) -> None:
    kept = {resource.type for resource in stack if resource.get("skip_destroy")}
    assert kept == (set(KEPT) if stack.of(*KEPT) else set())


@pytest.mark.requirement("S-04")
@pytest.mark.requirement("S-20")
def test_records_are_locked_only_so_that_they_can_still_be_destroyed(stack: Program) -> None:
    """In compliance mode nobody, AWS's support included, could remove an object for seven years."""
    for lock in stack.of("aws_s3_bucket_object_lock_configuration"):
        retention = lock["rule"]["default_retention"]
        assert retention["mode"] == "GOVERNANCE", lock.path
    for vault in stack.of("aws_backup_vault_lock_configuration"):
        assert not vault.get("changeable_for_days"), vault.path
