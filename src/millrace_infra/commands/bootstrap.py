"""`bootstrap`: the account's own stack, once per account and region."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Final

import typer

from millrace.errors import SettingError
from millrace.names import PROJECT
from millrace_infra.commands.options import EnvOption, SuffixOption, chosen

if TYPE_CHECKING:
    from millrace_infra.settings import Environment
    from millrace_infra.terraform_run import Terraform
    from millrace_infra.workspace import Workspace

ACCOUNT: Final = f"{PROJECT}-account"
_OVERRIDE: Final = "bootstrap_override.tf.json"


def bootstrap(env: EnvOption = "dev", suffix: SuffixOption = "dev") -> None:
    """Make what exists once per account and region (the state's bucket and key among it), adopting what is there.

    Safe to repeat. The state starts beside the program and moves into its bucket as soon as that is there.
    """
    from millrace_infra.preflight import Account, check_credentials
    from millrace_infra.session import client_of
    from millrace_infra.workspace import workspace

    environment = chosen(env, suffix)
    place = workspace(environment)
    found = check_credentials(Account(environment, client_of(environment)))
    if not found.ok:
        raise SettingError("credentials", got=found.found, want=found.advice)
    if ACCOUNT not in place.synthesize():
        raise SettingError(ACCOUNT, got="no such stack in the program", want="the account's own stack")
    if _state_is_there(environment):
        with place.terraform(ACCOUNT) as terraform:
            terraform.apply()
        return
    _first_time(place, environment)


def _state_is_there(environment: Environment) -> bool:
    from millrace_infra.preflight import bucket_is_there
    from millrace_infra.session import client_of
    from millrace_infra.stack import state_bucket

    if environment.settings.state.kind != "s3":
        return True
    s3 = client_of(environment)("s3")
    bucket = state_bucket(environment)
    if not bucket_is_there(s3, bucket):
        return False
    return bool(s3.list_objects_v2(Bucket=bucket, Prefix=f"{ACCOUNT}/terraform.tfstate").get("KeyCount"))


def _first_time(place: Workspace, environment: Environment) -> None:
    override = place.folder / "stacks" / ACCOUNT / _OVERRIDE
    override.write_text(json.dumps({"terraform": {"backend": {"local": {"path": f"{ACCOUNT}.tfstate"}}}}))
    try:
        with place.terraform(ACCOUNT) as terraform:
            _adopt(environment, terraform)
            terraform.apply()
    finally:
        override.unlink()
    with place.terraform(ACCOUNT, migrate_state=True):
        typer.echo(f"the account's state now lies in its bucket; {_kept(place)} may be deleted")


def _kept(place: Workspace) -> Path:
    return place.folder / "stacks" / ACCOUNT / f"{ACCOUNT}.tfstate"


def _adopt(environment: Environment, terraform: Terraform) -> None:
    from millrace_infra.account import adoptable  # type: ignore[import-untyped, unused-ignore]

    known = set(terraform.addresses())
    for address, import_id in adoptable(environment):
        if address not in known and terraform.adopt(address, import_id):
            typer.echo(f"adopted {address}: {import_id}")
