"""`bootstrap`: the account's own stack, once per account and region."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import typer

from millrace.errors import SettingError
from millrace.names import PROJECT
from millrace_infra.commands.options import EnvOption, SuffixOption, chosen

if TYPE_CHECKING:
    from millrace_infra.settings import Environment
    from millrace_infra.workspace import Workspace

ACCOUNT: Final = f"{PROJECT}-account"
_BESIDE: Final = "bootstrap_override.tf.json"
"""As long as there is no bucket, the state lies beside the program."""
_ADOPTED: Final = "adopted.tf.json"


def bootstrap(env: EnvOption = "dev", suffix: SuffixOption = "dev") -> None:
    """Make what exists once per account and region (the state's bucket and key among it), adopting what is there.

    Safe to repeat. The state starts beside the program and moves into its bucket as soon as that is there.
    """
    from millrace_infra.preflight import Account, NotReady, check_credentials, sentence
    from millrace_infra.session import client_of
    from millrace_infra.workspace import account_workspace

    environment = chosen(env, suffix)
    place = account_workspace(environment)
    client = client_of(environment)
    found = check_credentials(Account(environment, client))
    if not found.ok:
        raise NotReady(sentence(found))
    if ACCOUNT not in place.synthesize():
        raise SettingError(ACCOUNT, got="no such stack in the program", want="the account's own stack")
    with _adopting(place, environment, client):
        if _state_is_there(environment, client("s3")):
            _apply(place)
        else:
            _first_time(place)


def _state_is_there(environment: Environment, s3: Any) -> bool:
    from millrace_infra.preflight import bucket_is_there
    from millrace_infra.stack import state_bucket

    if environment.settings.state.kind != "s3":
        return True
    bucket = state_bucket(environment)
    if not bucket_is_there(s3, bucket):
        return False
    return bool(s3.list_objects_v2(Bucket=bucket, Prefix=f"{ACCOUNT}/terraform.tfstate").get("KeyCount"))


def _apply(place: Workspace) -> None:
    with place.terraform(ACCOUNT) as terraform:
        terraform.apply()


def _first_time(place: Workspace) -> None:
    beside = {"terraform": {"backend": {"local": {"path": f"{ACCOUNT}.tfstate"}}}}
    with _written(_stack(place) / _BESIDE, beside):
        _apply(place)
    with place.terraform(ACCOUNT, migrate_state=True):
        kept = _stack(place) / f"{ACCOUNT}.tfstate"
        typer.echo(f"the account's state now lies in its bucket; {kept} may be deleted")


@contextmanager
def _adopting(place: Workspace, environment: Environment, client: Callable[[str], Any]) -> Iterator[None]:
    """What is there already comes into the state with the next apply; what is in the state stays as it is.

    Asked for at each run: a service that somebody used since the last one has its role by now.
    """
    from millrace_infra.account import adoptable
    from millrace_infra.adopted import found_by_name

    program = json.loads((_stack(place) / "cdk.tf.json").read_text())
    there = {address: arn for address, arn in adoptable(environment) if _is_there(client("iam"), arn)}
    there |= found_by_name(program["resource"], environment, client)
    for address, arn in there.items():
        typer.echo(f"is there, and is adopted or ours: {address}: {arn}")
    imports = [{"to": address, "id": arn} for address, arn in there.items()]
    with _written(_stack(place) / _ADOPTED, {"import": imports}):
        yield


def _is_there(iam: Any, arn: str) -> bool:
    try:
        if ":oidc-provider/" in arn:
            iam.get_open_id_connect_provider(OpenIDConnectProviderArn=arn)
        else:
            iam.get_role(RoleName=arn.rpartition("/")[2])
    except iam.exceptions.NoSuchEntityException:
        return False
    return True


def _stack(place: Workspace) -> Path:
    return place.folder / "stacks" / ACCOUNT


@contextmanager
def _written(file: Path, content: Mapping[str, Any]) -> Iterator[None]:
    """A part of the program that is there for one run."""
    file.write_text(json.dumps(content))
    try:
        yield
    finally:
        file.unlink()
