"""`destroy`: remove an environment, and say what is left of it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from millrace.errors import SettingError
from millrace_infra.commands.options import EnvOption, SuffixOption, chosen
from millrace_infra.settings import Environment

if TYPE_CHECKING:
    from millrace_infra.remains import Left

_ANY_IMAGE: Final = "none@sha256:" + "0" * 64
"""Terraform asks for the images even to destroy; nothing is made of them."""


def destroy(
    env: EnvOption = "dev",
    suffix: SuffixOption = "dev",
    export: Annotated[
        Path | None,
        typer.Option(help="for an environment of records: a copy of its archive, which is verified first"),
    ] = None,
    current_only: Annotated[
        bool, typer.Option("--current-only", help="what was overwritten or deleted goes without a copy")
    ] = False,
    abandon_records: Annotated[
        bool, typer.Option("--abandon-records", help="destroy records of which there is no copy")
    ] = False,
    typed: Annotated[
        str, typer.Option("--confirm", help="the suffix once more, instead of typing it when asked")
    ] = "",
) -> None:
    """Destroy an environment in one command. Ends with what is left, and with what stays because others need it.

    Left are keys that AWS deletes in a week, each with its day: exit 1 if anything else is left.
    """
    from millrace_infra.images import NAMES
    from millrace_infra.preflight import TO_DESTROY, Account, require
    from millrace_infra.remains import remove_api_keys, remove_what_terraform_leaves, settled, shared
    from millrace_infra.session import client_of
    from millrace_infra.workspace import workspace

    environment = chosen(env, suffix)
    guard(environment, export=export, abandon=abandon_records, typed=typed, environ=os.environ)
    place = workspace(environment)
    client = client_of(environment)
    # before the first thing goes: neither another account's keys nor another environment's records
    require(Account(environment, client), *TO_DESTROY)
    if export is not None and environment.settings.profile == "records":
        verify_copy(environment, export, client("s3"), former=not current_only)
    stacks = place.synthesize()
    remove_api_keys(environment, client)
    for name in (place.platform, place.registry):
        if name in stacks:
            images = {f"image_{image}": _ANY_IMAGE for image in NAMES} if name == place.platform else {}
            with place.terraform(name, variables=images) as terraform:
                terraform.destroy()
    remove_what_terraform_leaves(environment, client)
    left = settled(environment, client)
    for line in closing(left, shared(environment, client)):
        typer.echo(line)
    raise typer.Exit(1 if any(not one.until for one in left) else 0)


def closing(left: Sequence[Left], kept: Sequence[tuple[str, str]]) -> Iterator[str]:
    """What is left of the suffix, and what the account has once."""
    for one in left:
        yield f"left: {one.arn}" + (
            f", deleted by AWS on {one.until}" if one.until else ", which should be gone"
        )
    for what, why in kept:
        yield f"stays with the account: {what} ({why})"


def guard(
    environment: Environment, *, export: Path | None, abandon: bool, typed: str, environ: Mapping[str, str]
) -> None:
    """An environment of records goes only by a person's hand, with a copy of its archive or none on purpose."""
    if environment.settings.profile != "records":
        return
    if environ.get("CI"):
        raise SettingError("profile", got="records", want="ephemeral: CI destroys no environment of records")
    if export is None and not abandon:
        raise SettingError("--export", got="", want="a copy of the archive to verify, or --abandon-records")
    if not typed and sys.stdin.isatty():
        typed = typer.prompt(
            f"This removes records. Type the suffix ({environment.suffix}) to go on", default=""
        )
    if typed != environment.suffix:
        raise SettingError(
            "--confirm", got=typed, want=f"the suffix, {environment.suffix}: nothing was destroyed"
        )


def verify_copy(environment: Environment, export: Path, s3: Any, *, former: bool) -> None:
    """Refuse unless the copy holds every object of the archive as the archive does, and every former version."""
    from millrace_infra.records_export import FORMER, faults

    found = list(islice(faults(s3, environment.names.in_world("archive"), export, former=former), 10))
    if not found:
        return
    want = "a whole copy of the archive, as `make export-records` writes it"
    if all(fault.startswith(FORMER) for fault in found):
        want += " (--current-only lets what was overwritten or deleted go without one)"
    raise SettingError("--export", got="; ".join(found), want=f"{want}: nothing was destroyed")
