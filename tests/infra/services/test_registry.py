"""The image registry: what is in it does not change, and does not stay for ever."""

from __future__ import annotations

import json

import pytest

from tests.infra.conftest import ENVIRONMENTS, SUFFIX, Synthesize
from tests.infra.program import Program


@pytest.fixture(params=ENVIRONMENTS)
def registry(request: pytest.FixtureRequest, synthesize: Synthesize) -> Program:
    return synthesize(request.param)[f"millrace-registry-{SUFFIX}"]


def test_there_is_a_repository_for_every_image_that_a_task_runs(registry: Program) -> None:
    names = {repository["name"] for repository in registry.of("aws_ecr_repository")}
    assert names == {f"millrace-{image}-{SUFFIX}" for image in ("worker", "api", "dashboard", "collector")}


def test_a_tag_never_moves_and_a_push_is_scanned(registry: Program) -> None:
    for repository in registry.of("aws_ecr_repository"):
        assert repository["image_tag_mutability"] == "IMMUTABLE"
        assert repository["image_scanning_configuration"] == {"scan_on_push": True}


@pytest.mark.requirement("S-12")
def test_images_are_under_a_customer_key(registry: Program) -> None:
    for repository in registry.of("aws_ecr_repository"):
        (encryption,) = repository["encryption_configuration"]
        assert encryption["encryption_type"] == "KMS"
        key = registry.follow(encryption["kms_key"])
        assert key is not None
        assert key.type == "aws_kms_key"


@pytest.mark.requirement("S-04")
def test_a_registry_is_destroyed_with_its_images(registry: Program) -> None:
    assert all(repository["force_delete"] is True for repository in registry.of("aws_ecr_repository"))


def test_old_images_and_rests_go(registry: Program) -> None:
    policies = registry.of("aws_ecr_lifecycle_policy")
    assert len(policies) == 4
    for policy in policies:
        rests, old = (rule["selection"] for rule in json.loads(policy["policy"])["rules"])
        assert rests["tagStatus"] == "untagged"
        # the revision that runs is not among them, if there are at least as many as a week's deployments
        assert old["countNumber"] >= 20


@pytest.mark.requirement("S-03")
def test_the_registry_shares_no_name_with_the_platform(synthesize: Synthesize) -> None:
    stacks = synthesize("dev")
    aliases = [
        {alias["name"] for alias in stacks[name].of("aws_kms_alias")}
        for name in (f"millrace-registry-{SUFFIX}", f"millrace-{SUFFIX}")
    ]
    assert not aliases[0] & aliases[1]
