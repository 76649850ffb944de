"""Every bucket of every stack, the state's too, has all the parts that close it, and each part is that bucket's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.infra.breaking import NOTICED, Change, broken, put
from tests.infra.breaking import policy as of_policy
from tests.infra.program import Program, Resource
from tests.infra.proofs.conftest import Stacks

PARTS = ("versioning", "server_side_encryption_configuration", "ownership_controls", "public_access_block", "policy",
         "lifecycle_configuration")  # fmt: skip
OF_ANY = "aws_s3_bucket_"
SWITCHES = ("block_public_acls", "block_public_policy", "ignore_public_acls", "restrict_public_buckets")
INSECURE = ({"Bool": {"aws:SecureTransport": "false"}}, {"NumericLessThan": {"s3:TlsVersion": "1.2"}})


def buckets(stack: Program) -> Iterator[tuple[Resource, dict[str, Resource]]]:
    """Each bucket, and its parts by kind."""
    for bucket in stack.of("aws_s3_bucket"):
        yield bucket, {
            kind: one for kind in PARTS for one in stack.of(OF_ANY + kind) if stack.follow(one["bucket"]) == bucket
        }


@pytest.mark.requirement("S-12")
def test_every_bucket_has_each_part_and_a_part_is_of_the_bucket_beside_it(stack: Program) -> None:
    for bucket, parts in buckets(stack):
        assert set(parts) == set(PARTS), bucket.path
        for one in parts.values():
            assert one.path.rpartition("/")[0] == bucket.path.rpartition("/")[0], one.path


@pytest.mark.requirement("S-12")
def test_no_bucket_is_open_or_speaks_in_clear(stack: Program) -> None:
    for bucket, parts in buckets(stack):
        assert all(parts["public_access_block"][switch] is True for switch in SWITCHES), bucket.path
        assert parts["ownership_controls"]["rule"]["object_ownership"] == "BucketOwnerEnforced"
        assert parts["versioning"]["versioning_configuration"]["status"] == "Enabled"
        arn = f"arn:aws:s3:::{bucket['bucket']}"
        for insecure in INSECURE:
            (denied,) = (one for one in parts["policy"].statements() if one.get("Condition") == insecure)
            assert (denied["Effect"], denied["Principal"], denied["Action"]) == ("Deny", {"AWS": "*"}, ["s3:*"])
            assert denied["Resource"] == [arn, f"{arn}/*"]


@pytest.mark.requirement("S-20")
def test_every_rule_of_a_life_cycle_is_on_and_what_nobody_finished_goes(stack: Program) -> None:
    for bucket, parts in buckets(stack):
        rules = parts["lifecycle_configuration"]["rule"]
        assert all(rule["status"] == "Enabled" for rule in rules), bucket.path
        (leftovers,) = (rule for rule in rules if "abort_incomplete_multipart_upload" in rule)
        assert leftovers["abort_incomplete_multipart_upload"] == [{"days_after_initiation": 7}]
        assert leftovers["filter"] == [{"prefix": ""}]
        assert leftovers["expiration"] == [{"expired_object_delete_marker": True}]


@pytest.mark.requirement("S-20")
def test_no_file_is_to_turn_colder_on_the_day_on_which_it_goes(stack: Program) -> None:
    """S3 refuses a rule whose end is not after its transitions, half way through a deployment."""
    for _, parts in buckets(stack):
        for rule in parts["lifecycle_configuration"]["rule"]:
            days = [one["days"] for one in rule.get("transition", ())]
            assert days == sorted(set(days))
            assert not days or max(days) < rule["expiration"][0]["days"]


WHOLE, CLOSED, LIFE, COLDER = (
    test_every_bucket_has_each_part_and_a_part_is_of_the_bucket_beside_it, test_no_bucket_is_open_or_speaks_in_clear,
    test_every_rule_of_a_life_cycle_is_on_and_what_nobody_finished_goes,
    test_no_file_is_to_turn_colder_on_the_day_on_which_it_goes,
)  # fmt: skip
BROKEN: list[tuple[str, str, Change, Callable[[Program], None]]] = [
    ("account", "state/public-access", put("bucket", "another"), WHOLE),
    ("account", "state/policy", put("bucket", "another"), WHOLE),
    ("platform", "archive/files/encryption", put("bucket", "another"), WHOLE),
    ("account", "state/public-access", put("restrict_public_buckets", False), CLOSED),
    ("account", "state/ownership", put("rule.object_ownership", "ObjectWriter"), CLOSED),
    ("account", "state/policy", of_policy(lambda found: found.pop(0)), CLOSED),
    ("platform", "archive/files/policy", of_policy(lambda found: found[1].update(Resource=["x"])), CLOSED),
    ("account", "state/life-cycle", put("rule.0.status", "Disabled"), LIFE),
    ("platform", "archive/copy/life-cycle", put("rule.3.filter.0.prefix", "standard/"), LIFE),
    ("platform", "archive/files/life-cycle", put("rule.2.expiration.0.days", 30), COLDER),
]


@pytest.mark.parametrize(("kind", "path", "change", "promise"), BROKEN)
def test_a_broken_bucket_is_noticed(stacks: Stacks, kind: str, path: str, change: Change, promise: Any) -> None:
    whole = stacks("us-east-1", kind)
    promise(whole)
    with pytest.raises(NOTICED):
        promise(broken(whole, path, change))
