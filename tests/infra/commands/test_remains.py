"""What Terraform cannot remove, destroy removes; what is left is listed with its date."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from millrace_infra.records_export import faults
from millrace_infra.remains import remaining, remove_api_keys, remove_what_terraform_leaves
from millrace_infra.settings import Environment

Clients = Callable[[str], Any]
pytestmark = pytest.mark.requirement("S-04")


def test_keys_of_the_rotation_go_and_a_neighbours_stay(environment: Environment, client: Clients) -> None:
    gateway = client("apigateway")
    for name, suffix in (("ours", "t1"), ("theirs", "t2")):
        gateway.create_api_key(name=name, enabled=True, tags={"project": "millrace", "suffix": suffix})
    assert remove_api_keys(environment, client) == ["ours"]
    assert [key["name"] for key in gateway.get_api_keys()["items"]] == ["theirs"]


def test_late_log_groups_and_former_revisions_go_and_a_neighbours_stay(
    environment: Environment, client: Clients
) -> None:
    logs, ecs = client("logs"), client("ecs")
    for suffix in ("t1", "t2"):
        logs.create_log_group(logGroupName=f"/millrace/api-{suffix}")
        for _ in range(2):
            container = {"name": "api", "image": "i", "memory": 512}
            ecs.register_task_definition(family=f"millrace-api-{suffix}", containerDefinitions=[container])
    remove_what_terraform_leaves(environment, client)
    assert [one["logGroupName"] for one in logs.describe_log_groups()["logGroups"]] == ["/millrace/api-t2"]
    kept = [arn.rpartition("/")[2] for arn in ecs.list_task_definitions()["taskDefinitionArns"]]
    assert kept == ["millrace-api-t2:1", "millrace-api-t2:2"]


def test_what_is_left_is_named_and_a_key_with_the_day_on_which_it_goes(
    environment: Environment, client: Clients
) -> None:
    kms, sqs = client("kms"), client("sqs")
    tags = {"project": "millrace", "suffix": "t1", "environment": "dev"}
    listed = [{"TagKey": key, "TagValue": value} for key, value in tags.items()]
    key = kms.create_key(Tags=listed)["KeyMetadata"]["KeyId"]
    kms.schedule_key_deletion(KeyId=key, PendingWindowInDays=7)
    sqs.create_queue(QueueName="forgotten", tags=tags)
    sqs.create_queue(QueueName="neighbours", tags=tags | {"suffix": "t2"})
    left = {one.arn.rpartition(":")[2]: one.until for one in remaining(environment, client)}
    assert set(left) == {f"key/{key}", "forgotten"}
    assert left[f"key/{key}"].startswith("20")
    assert left["forgotten"] == ""


@pytest.mark.requirement("S-20")
def test_a_copy_of_the_archive_is_whole_or_its_faults_are_named(client: Clients, tmp_path: Path) -> None:
    s3 = client("s3")
    s3.create_bucket(Bucket="archive", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    for key, body in {"critical/a": b"one", "critical/b": b"two", "critical/c": b"three"}.items():
        s3.put_object(Bucket="archive", Key=key, Body=body, ChecksumAlgorithm="SHA256")
        (tmp_path / key).parent.mkdir(exist_ok=True)
        (tmp_path / key).write_bytes(body)
    assert list(faults(s3, "archive", tmp_path)) == []
    (tmp_path / "critical/a").unlink()
    (tmp_path / "critical/b").write_bytes(b"longer")
    (tmp_path / "critical/c").write_bytes(b"eerht")
    assert [one.partition(":")[0] for one in faults(s3, "archive", tmp_path)] == [
        "critical/a", "critical/b", "critical/c",
    ]  # fmt: skip
