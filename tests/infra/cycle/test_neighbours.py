"""Two suffixes of one environment side by side, and what becomes of the one that stays when its settings change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.infra.cycle import forgotten
from tests.infra.cycle.deployment import Aws, Deployment, secrets_of
from tests.infra.cycle.differences import Difference, differences
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


@pytest.mark.long
@pytest.mark.timeout(1500)
@pytest.mark.requirement("S-03")
@pytest.mark.requirement("S-19")
def test_one_suffix_destroyed_leaves_the_other_whole_and_an_upgrade_replaces_no_store_of_it(
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
    changed = {
        one for one in upgraded(kept, tmp_path_factory.mktemp("later")) if one.address.split(".")[0] in STORES
    }
    assert {one.address.split(".")[0] for one in changed} >= {"aws_kinesis_stream", "aws_rds_cluster"}
    assert [one for one in changed if not one.in_place] == []
    kept.destroy()


def upgraded(deployment: Deployment, later: Path) -> set[Difference]:
    """From the settings that are deployed to later ones: what changed, once it was applied."""
    content = deployment.environment.settings.model_dump(mode="json", exclude_defaults=True)
    for dotted, value in LATER.items():
        *parents, last = dotted.split(".")
        place = content
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = value
    (later / "dev.yaml").write_text(yaml.safe_dump(content))
    deployment.with_settings(later)
    _, plan = deployment.plan()
    deployment.deploy()
    return differences(plan)
