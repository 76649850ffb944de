"""Everything that takes tags has them: the common ones from the provider, a name of its own beside."""

from __future__ import annotations

import pytest

from tests.infra.conftest import SUFFIX
from tests.infra.program import Program
from tests.infra.proofs.provider import TAGGABLE

COMMON = {"project", "environment", "owner", "cost-centre", "data-class"}
WITHOUT_A_NAME = {
    "aws_appautoscaling_target": "known by its service's name",
    "aws_iam_service_linked_role": "AWS names it, and tags on it would be the account's",
}
UNTAGGED = {"aws_autoscaling_group"}
"""Kinds that default tags do not reach; none may be used."""


@pytest.mark.requirement("S-03")
def test_the_provider_tags_everything(suffixed: Program) -> None:
    (provider,) = suffixed.json["provider"]["aws"]
    (default,) = provider["default_tags"]
    assert set(default["tags"]) == {*COMMON, "suffix"}
    assert default["tags"]["suffix"] == SUFFIX
    assert all(default["tags"].values())
    assert not {resource.type for resource in suffixed} & UNTAGGED


@pytest.mark.requirement("S-03")
def test_what_takes_tags_has_a_name_among_them(stack: Program) -> None:
    for resource in stack:
        if resource.type in TAGGABLE and resource.type not in WITHOUT_A_NAME:
            tags = resource.get("tags") or {}
            assert tags.get("Name"), resource.path


@pytest.mark.requirement("S-03")
def test_no_resource_overrides_a_common_tag_but_the_class_of_its_data(stack: Program) -> None:
    for resource in stack:
        tags = resource.get("tags")
        if isinstance(tags, dict):
            assert not set(tags) & (COMMON - {"data-class"}), resource.path
            assert tags.get("data-class", "standard") in ("critical", "standard"), resource.path


@pytest.mark.requirement("S-03")
def test_the_account_s_stack_is_tagged_for_no_suffix(stack: Program) -> None:
    tags = stack.json["provider"]["aws"][0]["default_tags"][0]["tags"]
    assert ("suffix" in tags) == (stack.name != "millrace-account")
