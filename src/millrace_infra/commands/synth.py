"""`synth`: write the program that Terraform runs."""

from __future__ import annotations

import typer

from millrace_infra.commands.options import EnvOption, SuffixOption, chosen


def synth(env: EnvOption = "dev", suffix: SuffixOption = "dev") -> None:
    """Write the Terraform program of an environment and name its stacks. Touches no cloud."""
    from millrace_infra.workspace import FOLDER, Workspace

    environment = chosen(env, suffix)
    place = Workspace(environment, FOLDER / f"{environment.name}-{environment.suffix}")
    for stack in place.synthesize():
        typer.echo(place.folder / "stacks" / stack / "cdk.tf.json")
