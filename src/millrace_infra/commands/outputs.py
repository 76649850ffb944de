"""`outputs`: what a deployment made, by flat name."""

from __future__ import annotations

import typer

from millrace.errors import SettingError
from millrace_infra.commands.options import EnvOption, SuffixOption, chosen


def outputs(env: EnvOption = "dev", suffix: SuffixOption = "dev") -> None:
    """Write cfn-outputs/flat-outputs.json (flat name -> value) from the state, and print it."""
    from millrace_infra.preflight import TO_READ_A_DEPLOYMENT, Account, require
    from millrace_infra.session import client_of
    from millrace_infra.workspace import workspace, write_outputs

    place = workspace(chosen(env, suffix))
    require(Account(place.environment, client_of(place.environment)), *TO_READ_A_DEPLOYMENT)
    place.synthesize()
    with place.terraform(place.platform, shown=False) as terraform:
        found = terraform.outputs()
    if not found:
        want = "one that is deployed (make deploy): the state has no outputs, and no file was written"
        raise SettingError("ENVIRONMENT_SUFFIX", got=suffix, want=want)
    typer.echo(write_outputs(found).read_text(), nl=False)
