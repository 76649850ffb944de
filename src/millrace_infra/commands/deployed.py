"""`deployed`: which commit and which images are deployed, for who may have to go back to them."""

from __future__ import annotations

import typer

from millrace_infra.commands.options import EnvOption, SuffixOption, chosen


def deployed(env: EnvOption = "dev", suffix: SuffixOption = "dev") -> None:
    """Print commit=… and image_…=…, a line each, from the state; nothing where nothing is deployed."""
    from millrace_infra.preflight import TO_READ_A_DEPLOYMENT, Account, require
    from millrace_infra.revision import lines
    from millrace_infra.session import client_of
    from millrace_infra.workspace import workspace

    place = workspace(chosen(env, suffix))
    require(Account(place.environment, client_of(place.environment)), *TO_READ_A_DEPLOYMENT)
    place.synthesize()
    with place.terraform(place.platform, shown=False) as terraform:
        for line in lines(terraform.outputs()):
            typer.echo(line)
