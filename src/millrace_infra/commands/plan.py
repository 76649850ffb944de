"""`plan`: what a deployment would change."""

from __future__ import annotations

from typing import Annotated

import typer

from millrace_infra.commands.options import EnvOption, SuffixOption, chosen


def plan(
    env: EnvOption = "dev",
    suffix: SuffixOption = "dev",
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help="end with 2 where something would change")
    ] = False,
) -> None:
    """Show what would change: of the registry, which a deployment makes first, then of the platform."""
    from millrace_infra.images import chosen_images
    from millrace_infra.preflight import TO_PLAN, Account, require
    from millrace_infra.revision import VARIABLE, commit_here
    from millrace_infra.session import client_of
    from millrace_infra.terraform_run import CHANGES, NO_CHANGES
    from millrace_infra.workspace import workspace

    place = workspace(chosen(env, suffix))
    # as `deploy` would be told: of the same commit and images, there is nothing to change
    variables = {**chosen_images(place.environment), VARIABLE: commit_here()}
    require(Account(place.environment, client_of(place.environment)), *TO_PLAN)
    place.synthesize()
    changes = False
    for name, given in ((place.registry, {}), (place.platform, variables)):
        with place.terraform(name, variables=given) as terraform:
            changes |= terraform.plan()
    raise typer.Exit(CHANGES if changes and exit_code else NO_CHANGES)
