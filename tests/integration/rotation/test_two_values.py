"""The rotations of secrets that keep their former value: what the API signs with, and the API keys."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from millrace_rotation.api_keys import ApiKeys
from millrace_rotation.api_signing import SigningSecret
from millrace_rotation.pair import current_of, previous_of
from millrace_rotation.stages import RotationRefused, Subject
from tests.integration.rotation.conftest import token
from tests.integration.rotation.faults import STEPS, CutShort, Faults, Secret

TAGS = {"project": "millrace", "suffix": "t1", "environment": "dev"}


@dataclass
class Gateway:
    """A usage plan of the emulated API Gateway."""

    client: Any
    plan: str

    def subject(self, faults: Faults | None = None) -> ApiKeys:
        client = faults.watch(self.client) if faults else self.client
        return ApiKeys(client, usage_plan_id=self.plan, suffix="t1", tags=TAGS)

    def open_to(self) -> set[str]:
        """The values that the plan lets in."""
        joined = self.client.get_usage_plan_keys(usagePlanId=self.plan)["items"]
        keys = {key["id"]: key for key in self.client.get_api_keys(includeValues=True)["items"]}
        return {keys[one["id"]]["value"] for one in joined if one["id"] in keys}


@pytest.fixture
def gateway(aws: Callable[[str], Any]) -> Iterator[Gateway]:
    client = aws("apigateway")
    yield Gateway(client, client.create_usage_plan(name=f"integrations-{token()}")["id"])
    for key in client.get_api_keys()["items"]:
        client.delete_api_key(apiKey=key["id"])


@pytest.fixture(params=["signing", "keys"])
def subject(request: pytest.FixtureRequest, gateway: Gateway) -> Subject:
    return SigningSecret() if request.param == "signing" else gateway.subject()


@pytest.mark.requirement("S-11")
@pytest.mark.parametrize(
    ("first", "kept"),
    [
        ("typed by hand", "typed by hand"),
        ("{}", ""),
        ('{"current": "one", "for": "api"}', "one"),
        ("17", "17"),
    ],
)
def test_whatever_the_secret_holds_first_stays_good_for_one_rhythm(
    new_secret: Callable[[str], Secret], subject: Subject, first: str, kept: str
) -> None:
    secret = new_secret(first)
    secret.rotate(token(), subject)
    assert previous_of(secret.value()) == kept
    assert len(current_of(secret.value())) == 64
    assert json.loads(secret.value()).get("for", "api") == "api"


@pytest.mark.requirement("S-11")
def test_each_rotation_keeps_exactly_the_value_before(
    new_secret: Callable[[str], Secret], subject: Subject
) -> None:
    secret, given_out = new_secret("{}"), [""]
    for _ in range(4):
        secret.rotate(token(), subject)
        assert previous_of(secret.value()) == given_out[-1]
        given_out.append(current_of(secret.value()))
    assert len(set(given_out)) == 5


@pytest.mark.requirement("S-11")
def test_steps_may_be_repeated_and_come_back_late(
    new_secret: Callable[[str], Secret], subject: Subject
) -> None:
    secret, this, (create, put, test, finish) = new_secret("{}"), token(), STEPS
    secret.rotate(this, subject, (create, create, put, put, create, test, put, test, finish))
    after = secret.value()
    rng = random.Random(7)
    for _ in range(12):
        secret.step(rng.choice(STEPS), this, subject)
    assert secret.value() == after
    assert secret.current_version() == this


@pytest.mark.requirement("S-11")
def test_a_change_by_hand_in_the_middle_is_not_lost(
    new_secret: Callable[[str], Secret], subject: Subject
) -> None:
    secret, this = new_secret("{}"), token()
    secret.rotate(this, subject, STEPS[:1])
    secret.manager.put_secret_value(
        SecretId=secret.arn, ClientRequestToken=token(), SecretString='{"current": "by hand"}'
    )
    with pytest.raises(RotationRefused, match="was changed"):
        secret.rotate(this, subject, STEPS[1:])
    assert current_of(secret.value()) == "by hand"


@pytest.mark.requirement("S-11")
def test_a_rehearsal_is_no_failure(new_secret: Callable[[str], Secret], subject: Subject) -> None:
    secret, this = new_secret('{"current": "one"}'), token()
    secret.manager.put_secret_value(
        SecretId=secret.arn,
        ClientRequestToken=this,
        SecretString=secret.value(),
        VersionStages=["AWSPENDING"],
    )
    secret.step("testSecret", this, subject)


@pytest.mark.requirement("S-11")
def test_the_current_and_the_previous_key_are_let_in_and_no_older_one(
    new_secret: Callable[[str], Secret], gateway: Gateway
) -> None:
    secret, subject = new_secret("{}"), gateway.subject()
    for turn in range(4):
        secret.rotate(token(), subject)
        wanted = {current_of(secret.value()), previous_of(secret.value())} - {""}
        assert len(wanted) == min(2, turn + 1)
        assert gateway.open_to() == wanted
        assert len(gateway.client.get_api_keys()["items"]) == len(wanted)


@pytest.mark.requirement("S-11")
@pytest.mark.requirement("S-04")
def test_a_key_carries_the_tags_by_which_destroy_finds_it(
    new_secret: Callable[[str], Secret], gateway: Gateway
) -> None:
    from millrace_infra.remains import remove_api_keys
    from millrace_infra.settings import load

    secret = new_secret("{}")
    secret.rotate(token(), gateway.subject())
    secret.rotate(token(), gateway.subject())
    foreign = gateway.client.create_api_key(name="a person's", value="x" * 30)["id"]
    removed = remove_api_keys(load("dev", "t1"), lambda _: gateway.client)
    assert len(removed) == 2
    assert [key["id"] for key in gateway.client.get_api_keys()["items"]] == [foreign]


@pytest.mark.requirement("S-11")
def test_keys_of_people_and_of_other_suffixes_are_left_alone(
    new_secret: Callable[[str], Secret], gateway: Gateway
) -> None:
    others = {
        gateway.client.create_api_key(name=name, value=name * 2 + "-" * 20, tags=tags)["id"]
        for name, tags in (
            ("millrace-key-of-a-person-t1", {}),
            (f"millrace-key-{token()}-t2", {**TAGS, "suffix": "t2"}),
            ("somebody", TAGS),
        )
    }
    secret = new_secret("{}")
    for _ in range(3):
        secret.rotate(token(), gateway.subject())
    assert others < {key["id"] for key in gateway.client.get_api_keys()["items"]}


@pytest.mark.requirement("S-11")
def test_cut_short_at_any_call_both_keys_are_let_in_and_a_repetition_leaves_no_third(
    new_secret: Callable[[str], Secret], gateway: Gateway
) -> None:
    secret, counted = new_secret("{}"), Faults()
    secret.rotate(token(), gateway.subject())
    secret.rotate(token(), gateway.subject())
    run_with(secret, gateway, counted, token())
    assert len(counted.passed) > 30
    for at in range(len(counted.passed)):
        this, faults, before = token(), Faults(at), current_of(secret.value())
        try:
            run_with(secret, gateway, faults, this)
        except CutShort:
            allowed = gateway.open_to()
            assert before in allowed, f"cut short {faults.passed[-1]} at {at}"
            assert current_of(secret.value()) in allowed
            run_with(secret, gateway, faults, this)
        assert secret.current_version() == this
        assert gateway.open_to() == {current_of(secret.value()), before}
        assert len(gateway.client.get_api_keys()["items"]) == 2


def run_with(secret: Secret, gateway: Gateway, faults: Faults, this: str) -> None:
    for name in STEPS:
        secret.step(name, this, gateway.subject(faults), faults.watch(secret.manager))


@pytest.mark.requirement("S-11")
@pytest.mark.parametrize("spoil", ["off", "not joined", "gone"])
def test_a_key_that_does_not_work_never_becomes_current(
    new_secret: Callable[[str], Secret], gateway: Gateway, spoil: str
) -> None:
    secret, this = new_secret("{}"), token()
    secret.rotate(this, gateway.subject(), STEPS[:2])
    (key,) = gateway.client.get_api_keys()["items"]
    if spoil == "off":
        change = [{"op": "replace", "path": "/enabled", "value": "false"}]
        gateway.client.update_api_key(apiKey=key["id"], patchOperations=change)
    elif spoil == "gone":
        gateway.client.delete_api_key(apiKey=key["id"])
    else:
        gateway.client.delete_usage_plan_key(usagePlanId=gateway.plan, keyId=key["id"])
    with pytest.raises(RotationRefused):
        secret.step("testSecret", this, gateway.subject())
    assert secret.value() == "{}"
