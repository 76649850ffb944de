"""`millrace reset`: delete the data folder, after asking."""

from __future__ import annotations

from typing import Annotated

import typer

from millrace.cli.platform import HomeOption, settings_of


def reset(
    home: HomeOption = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Delete the data folder, after asking.

    With all readings, history and settings in it. Refuses while the platform runs.
    """
    from millrace.local import folder
    from millrace.local.child import end_stale

    path = settings_of(home).home.absolute()
    if not path.exists():
        typer.echo(f"{path} does not exist; nothing to delete.")
        return
    folder.require_removable(path)
    if not yes:
        typer.confirm(f"Delete {path} with all readings, history and settings in it?", abort=True)
    end_stale(path)
    folder.remove(path)
    typer.echo(f"{path} is deleted.")
