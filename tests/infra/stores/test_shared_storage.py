"""Shared storage: in every zone, encrypted, and shut to whoever comes without TLS or an access point."""

from __future__ import annotations

from typing import Any

import pytest

from millrace_infra.settings import load
from tests.infra.conftest import FOLDER, SUFFIX
from tests.infra.program import Program
from tests.infra.stores.conftest import Alone, Isolated


def mounts(stack: Any, environment: Any, keys: Any) -> None:
    from millrace_infra.policy import Role, trust
    from millrace_infra.shared_storage import MAY, SharedStorage

    network: Any = Isolated()
    made = SharedStorage(
        stack, "shared-storage", environment=environment, key=keys["storage"], network=network
    )
    document = trust("ecs-tasks.amazonaws.com", account_id="123456789012")
    for service in MAY:
        role = Role(stack, service, names=environment.names, name=service, trust_policy=document)
        role.allow("storage", made.mount(service))


@pytest.mark.requirement("S-09")
def test_every_zone_has_a_mount_target_in_its_isolated_subnet(platform: Program) -> None:
    zones = load(platform.environment, SUFFIX, folder=FOLDER).settings.zone_ids
    targets = platform.of("aws_efs_mount_target")
    assert len({one["subnet_id"] for one in targets}) == len(targets) == len(zones)
    found = [platform.follow(one["subnet_id"]) for one in targets]
    assert all(subnet is not None and "isolated" in subnet.path for subnet in found)
    groups = {subnet["availability_zone_id"] for subnet in found if subnet is not None}
    assert groups == set(zones)


@pytest.mark.requirement("S-09")
def test_a_client_without_tls_or_without_an_access_point_or_as_root_is_refused(platform: Program) -> None:
    denied = platform.at("shared-storage/policy").statements()
    assert all(one["Effect"] == "Deny" and one["Principal"] == {"AWS": "*"} for one in denied)
    clear, direct, root = denied
    assert clear["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    assert direct["Condition"] == {"Null": {"elasticfilesystem:AccessPointArn": "true"}}
    assert "Condition" not in root
    assert root["Action"] == ["elasticfilesystem:ClientRootAccess"]
    for one in (clear, direct):
        assert {"elasticfilesystem:ClientMount", "elasticfilesystem:ClientWrite"} <= set(one["Action"])


@pytest.mark.requirement("S-09")
def test_worker_and_api_meet_in_one_folder_as_one_unprivileged_user(platform: Program) -> None:
    points = platform.of("aws_efs_access_point")
    assert sorted(one.path.rsplit("-", 1)[1] for one in points) == ["api", "worker"]
    assert {one["root_directory"]["path"] for one in points} == {"/data"}
    for one in points:
        assert one["posix_user"] == {"uid": 10001, "gid": 10001}
        owner = one["root_directory"]["creation_info"]
        assert owner == {"owner_uid": 10001, "owner_gid": 10001, "permissions": "0750"}


@pytest.mark.requirement("S-13")
@pytest.mark.parametrize(
    ("service", "actions"),
    [("worker", ["ClientMount", "ClientWrite"]), ("api", ["ClientMount"])],
)
def test_a_service_mounts_through_its_own_access_point_and_only_the_worker_writes(
    alone: Alone, service: str, actions: list[str]
) -> None:
    program = alone(mounts)
    (granted,) = program.at(f"{service}/may-storage").statements()
    assert granted["Action"] == [f"elasticfilesystem:{action}" for action in actions]
    point = program.follow(granted["Condition"]["StringEquals"]["elasticfilesystem:AccessPointArn"])
    assert point == program.at(f"point-{service}")
    assert granted["Condition"]["Bool"] == {"aws:SecureTransport": "true"}


def test_old_files_go_to_the_cold_tier_and_come_back_when_they_are_read(platform: Program) -> None:
    (system,) = platform.of("aws_efs_file_system")
    assert system["lifecycle_policy"] == [
        {"transition_to_ia": "AFTER_30_DAYS"},
        {"transition_to_primary_storage_class": "AFTER_1_ACCESS"},
    ]
