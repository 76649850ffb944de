"""The account's own stack, made and adopted by `bootstrap` itself, each time in an account of its own."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from millrace_infra.account import adoptable
from millrace_infra.account_parts import PARTS, SERVICE_LINKED
from millrace_infra.settings import Environment, load
from millrace_infra.stack import state_bucket
from millrace_infra.terraform_run import stack
from tests.infra.conftest import FOLDER
from tests.infra.cycle.command_line import CommandLine, ended
from tests.infra.cycle.deployment import PLAN, Aws, missing, with_what_exists
from tests.infra.cycle.differences import Difference, differences
from tests.infra.emulator.server import emulator

pytestmark = [pytest.mark.long, pytest.mark.timeout(900), pytest.mark.requirement("S-04")]

STATE = "millrace-account/terraform.tfstate"
ADOPTED_BY_NAME = ("aws_iam_role", "aws_iam_policy", "aws_s3_bucket", "aws_kms_alias", "aws_kms_key")
"""What AWS makes no second one of under one name, and the keys behind their aliases."""


@dataclass(frozen=True)
class Bootstrapped:
    """An account, and who calls `bootstrap` on it."""

    aws: Aws
    environment: Environment
    command_line: CommandLine

    def client(self, service: str) -> Any:
        return self.aws.client(service, self.environment.region)

    def bootstrap(self) -> list[str]:
        return ended(self.command_line("bootstrap")).lines

    def next_plan(self) -> set[Difference]:
        with stack(self.command_line.account, self.command_line.environ, shown=False) as terraform:
            terraform.plan(out=PLAN)
            return differences(terraform.planned(PLAN))

    def addresses(self) -> list[str]:
        with stack(self.command_line.account, self.command_line.environ, shown=False) as terraform:
            return terraform.addresses()

    def of_kind(self, kind: str) -> set[str]:
        return {address for address in self.addresses() if address.startswith(f"{kind}.")}

    def missing_parts(self) -> list[str]:
        return [one for missing_of in PARTS.values() for one in missing_of(self.client)]

    def states(self) -> list[str]:
        s3 = self.client("s3")
        if state_bucket(self.environment) not in {one["Name"] for one in s3.list_buckets()["Buckets"]}:
            return []
        found = s3.list_objects_v2(Bucket=state_bucket(self.environment))
        return [one["Key"] for one in found.get("Contents", ())]


Open = Callable[..., Bootstrapped]


@pytest.fixture
def account(tmp_path: Path) -> Iterator[Open]:
    """(suffix, settings to add to dev's) -> who calls `bootstrap`; the account is the same within a test."""
    if reason := missing():
        pytest.skip(reason)
    with emulator() as address:
        aws = Aws(address)
        settings = with_what_exists(aws, FOLDER, tmp_path / "settings")

        def opened(suffix: str = "t1", **added: Any) -> Bootstrapped:
            file = settings / "dev.yaml"
            file.write_text(yaml.safe_dump(yaml.safe_load(file.read_text()) | added))
            command_line = CommandLine(address, "dev", suffix, tmp_path)
            command_line.settle(settings)
            command_line.synthesize()
            return Bootstrapped(aws, load("dev", suffix, folder=settings), command_line)

        yield opened


def test_a_fresh_account_is_made_ready_its_state_moves_into_its_bucket_and_a_second_run_changes_nothing(
    account: Open,
) -> None:
    run = account()
    assert run.missing_parts()
    first = run.bootstrap()
    assert first[-1].startswith("the account's state now lies in its bucket")
    assert run.missing_parts() == []
    assert run.states() == [STATE]
    head = run.client("s3").head_object(Bucket=state_bucket(run.environment), Key=STATE)
    assert head["ServerSideEncryption"] == "aws:kms"
    made = set(run.addresses())
    assert run.next_plan() == set()
    again = account("t2").bootstrap()
    assert "Apply complete! Resources: 0 added, 0 changed, 0 destroyed." in again
    assert set(run.addresses()) == made
    assert run.states() == [STATE]


def test_what_is_in_the_account_already_is_adopted_and_nothing_of_it_is_made_again(account: Open) -> None:
    run = account()
    iam = run.client("iam")
    for service, _ in SERVICE_LINKED.values():
        iam.create_service_linked_role(AWSServiceName=service)
    iam.create_open_id_connect_provider(
        Url=run.environment.settings.ci.issuer, ClientIDList=["sts.amazonaws.com"], ThumbprintList=["0" * 40]
    )
    roles = {one["RoleName"]: one["RoleId"] for one in iam.list_roles()["Roles"]}
    wanted = dict(adoptable(run.environment))
    said = run.bootstrap()
    assert {line.split(": ")[1] for line in said if line.startswith("is there, ")} == set(wanted)
    assert set(wanted) <= set(run.addresses())
    now = {one["RoleName"]: one["RoleId"] for one in iam.list_roles()["Roles"]}
    assert {name: now[name] for name in roles} == roles
    assert run.missing_parts() == []
    assert run.next_plan() == set()


def test_a_local_state_stays_beside_the_program_and_is_found_again_under_any_suffix(account: Open) -> None:
    run = account(state={"kind": "local"})
    run.client("iam").create_service_linked_role(AWSServiceName="ecs.amazonaws.com")
    said = run.bootstrap()
    state = run.command_line.account / "millrace-account.tfstate"
    assert set(json.loads(state.read_text())) > {"resources", "serial"}
    assert run.states() == []
    assert run.missing_parts() == []
    assert [line for line in said if "may be deleted" in line or "bucket;" in line] == [], (
        "it is the only one"
    )
    (role,) = (arn for address, arn in adoptable(run.environment) if arn.endswith("AWSServiceRoleForECS"))
    assert next(line for line in said if line.startswith("is there, ")).endswith(f": {role}")
    assert run.next_plan() == set()
    again = account("t2", state={"kind": "local"}).bootstrap()
    assert "Apply complete! Resources: 0 added, 0 changed, 0 destroyed." in again


def test_what_a_run_made_whose_state_is_lost_is_adopted_by_its_names(account: Open, tmp_path: Path) -> None:
    """As when a first run breaks off on a machine that is thrown away: everything is there, and no state of it."""
    run = account()
    run.bootstrap()
    named = {kind: run.of_kind(kind) for kind in ADOPTED_BY_NAME}
    assert all(named.values())
    run.client("s3").delete_object(Bucket=state_bucket(run.environment), Key=STATE)
    shutil.rmtree(tmp_path / "cdktf.out")
    again = account("t2")
    said = again.bootstrap()
    adopted = {line.split(": ")[1] for line in said if line.startswith("is there, ")}
    assert set().union(*named.values()) <= adopted
    assert {kind: again.of_kind(kind) for kind in ADOPTED_BY_NAME} == named
    assert again.states() == [STATE]
    assert again.next_plan() == set()
    aliases = again.client("kms").list_aliases()["Aliases"]
    keys = {one["TargetKeyId"] for one in aliases if one["AliasName"].startswith("alias/millrace-")}
    assert len(keys) == len(again.of_kind("aws_kms_key")), "a key of its own for each purpose, and no second one"
