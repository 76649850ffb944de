"""The tests of the registry can fail: each rule is broken once, in the JSON, and its test must notice."""

# ruff: noqa: E501 (a row of the table is a line)

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.infra.breaking import NOTICED, Body, Change, broken, put, without
from tests.infra.conftest import SUFFIX, Synthesize
from tests.infra.program import Program
from tests.infra.services import test_registry as t

REGISTRY, PLATFORM = f"millrace-registry-{SUFFIX}", f"millrace-{SUFFIX}"
WHOLE = ""


def life_cycle(change: Callable[[list[Body]], None]) -> Change:
    def on(body: Body) -> None:
        found = json.loads(body["policy"])
        change(found["rules"])
        body["policy"] = json.dumps(found)

    return on


BROKEN: list[tuple[str, Change, Callable[..., None]]] = [
    (WHOLE, lambda j: j["resource"]["aws_ecr_repository"].popitem(), t.test_there_is_a_repository_for_every_image_that_a_task_runs),
    ("api", put("name", "millrace-api"), t.test_there_is_a_repository_for_every_image_that_a_task_runs),
    ("worker", put("image_tag_mutability", "MUTABLE"), t.test_a_tag_never_moves_and_a_push_is_scanned),
    ("collector", put("image_scanning_configuration.scan_on_push", False), t.test_a_tag_never_moves_and_a_push_is_scanned),
    ("worker", put("encryption_configuration.0.encryption_type", "AES256"), t.test_images_are_under_a_customer_key),
    ("worker", put("encryption_configuration.0.kms_key", "alias/aws/ecr"), t.test_images_are_under_a_customer_key),
    ("dashboard", put("force_delete", False), t.test_a_registry_is_destroyed_with_its_images),
    ("worker-life-cycle", life_cycle(lambda rules: rules[0]["selection"].update(tagStatus="any")), t.test_old_images_and_rests_go),
    ("worker-life-cycle", life_cycle(lambda rules: rules[1]["selection"].update(countNumber=3)), t.test_old_images_and_rests_go),
    (WHOLE, without("aws_ecr_lifecycle_policy"), t.test_old_images_and_rests_go),
]  # fmt: skip


@pytest.mark.parametrize(
    ("path", "change", "promise"), BROKEN, ids=[f"{at}-{row[0] or 'whole'}" for at, row in enumerate(BROKEN)]
)
def test_a_broken_rule_is_noticed(
    synthesize: Synthesize, path: str, change: Change, promise: Callable[[Program], None]
) -> None:
    whole = synthesize("eu-central-1")[REGISTRY]
    promise(whole)
    with pytest.raises(NOTICED):
        promise(broken(whole, path, change))


def test_a_key_under_the_platform_s_name_is_noticed(synthesize: Synthesize) -> None:
    def changed(environment: str) -> dict[str, Program]:
        stacks = synthesize(environment)
        theirs = stacks[PLATFORM].of("aws_kms_alias")[0]["name"]
        return {**stacks, REGISTRY: broken(stacks[REGISTRY], "keys/registry/alias", put("name", theirs))}

    t.test_the_registry_shares_no_name_with_the_platform(synthesize)
    with pytest.raises(AssertionError):
        t.test_the_registry_shares_no_name_with_the_platform(changed)


def test_every_promise_of_the_registry_is_broken_once() -> None:
    elsewhere = {"test_the_registry_shares_no_name_with_the_platform"}
    promises = {name for name in vars(t) if name.startswith("test_")}
    assert promises == {row[2].__name__ for row in BROKEN} | elsewhere
