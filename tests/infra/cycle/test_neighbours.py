"""Two suffixes of one environment side by side, and what becomes of the one that stays when its settings change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.infra.cycle import forgotten
from tests.infra.cycle.command_line import Said
from tests.infra.cycle.deployment import Aws, Deployment, secrets_of
from tests.infra.cycle.differences import Difference, differences
from tests.infra.cycle.docker_double import release
from tests.infra.cycle.inventory import inventory

LATER: dict[str, Any] = {
    "stream.retention_h": 48,
    "log_days": 60,
    "standard_days": 180,
    "database.backup_days": 14,
}
"""Settings of `dev` after an upgrade: each touches a store or its logs."""
STORES = (
    "aws_dynamodb_table", "aws_efs_file_system", "aws_elasticache_replication_group", "aws_kinesis_stream",
    "aws_kms_key", "aws_rds_cluster", "aws_rds_cluster_instance", "aws_s3_bucket", "aws_backup_vault",
)  # fmt: skip


SERVICES = ("worker", "api", "dashboard")
"""As `deploy` takes them."""
ROTATED = 3
"""Secrets that the first deployment rotates, and later ones leave to their own rhythm."""


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.requirement("S-03")
@pytest.mark.requirement("S-19")
def test_one_suffix_destroyed_leaves_the_other_whole_and_an_upgrade_moves_its_services_and_replaces_no_store(
    aws: Aws, settings: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    kept, gone = (
        Deployment(aws, "dev", suffix, folder=tmp_path_factory.mktemp(suffix), settings=settings)
        for suffix in ("stays", "goes")
    )
    for deployment in (kept, gone):
        aws.prepare(deployment.environment, secrets_of(deployment.environment))
        deployment.synthesize()
    kept.deploy()
    before = inventory(aws, kept.environment.region)
    gone.deploy()
    gone.destroy()
    assert before <= inventory(aws, kept.environment.region)
    _, plan = kept.plan()
    assert forgotten.unexplained(differences(plan)) == []
    found, second = upgraded(kept, tmp_path_factory.mktemp("later"))
    changed = [one for one in found if one.address.split(".")[0] in STORES]
    assert {one.address.split(".")[0] for one in changed} >= {"aws_kinesis_stream", "aws_rds_cluster"}
    assert [one for one in changed if not one.in_place] == []
    assert moves(second) == [f"{service}: moving to millrace-{service}-stays:2" for service in SERVICES]
    assert len([line for line in second.lines if " was rotated on " in line]) == ROTATED
    # within the hour: CodeDeploy refuses a second deployment of a group, until the wait of the first is ended
    release(kept.command_line.bin, "3")
    assert moves(kept.deploy()) == [
        f"{service}: moving to millrace-{service}-stays:3" for service in SERVICES
    ]
    assert moves(kept.deploy()) == []
    kept.destroy()


def moves(said: Said) -> list[str]:
    """Services whose traffic was moved, in their order."""
    return [line for line in said.lines if ": moving to " in line]


def upgraded(deployment: Deployment, later: Path) -> tuple[set[Difference], Said]:
    """From the settings and images that are deployed to later ones: what changed, once it was applied."""
    content = deployment.environment.settings.model_dump(mode="json", exclude_defaults=True)
    for dotted, value in LATER.items():
        *parents, last = dotted.split(".")
        place = content
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = value
    (later / "dev.yaml").write_text(yaml.safe_dump(content))
    deployment.with_settings(later)
    release(deployment.command_line.bin, "2")
    _, plan = deployment.plan()
    return differences(plan), deployment.deploy()
