"""`export-records`: a whole copy of an archive, before its environment goes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from millrace.errors import SettingError
from millrace_infra.commands.options import EnvOption, SuffixOption, chosen


def export_records(
    env: EnvOption = "dev",
    suffix: SuffixOption = "dev",
    to: Annotated[str, typer.Option(help="a folder; what is whole in it is not fetched again")] = "",
) -> None:
    """Write every file of the archive into a folder, with what was overwritten or deleted, for `destroy --export`."""
    from millrace_infra.preflight import TO_READ_A_DEPLOYMENT, Account, require
    from millrace_infra.records_export import FORMER, save
    from millrace_infra.session import client_of

    environment = chosen(env, suffix)
    if not to:
        raise SettingError("--to", got=to, want="a folder for the copy, on a disk that outlives the environment")
    client = client_of(environment)
    require(Account(environment, client), *TO_READ_A_DEPLOYMENT)
    try:
        count, fetched = save(client("s3"), environment.names.in_world("archive"), Path(to))
    except OSError as error:
        want = "a folder with room to write in; the same command goes on"
        raise SettingError("--to", got=f"{error.strerror}: {error.filename or to}", want=want) from None
    typer.echo(f"{count} versions of the archive are in {to}, the former ones under {FORMER}; {fetched} were fetched")
