"""`python -m millrace_infra VERB`, one verb per file, in the order in which an engineer meets them.

Each verb loads what it needs when it is called. An error of ours becomes one sentence and its exit code.
"""

from __future__ import annotations

import sys

import typer

from millrace.errors import MillraceError
from millrace_infra.commands.bootstrap import bootstrap
from millrace_infra.commands.deploy import deploy
from millrace_infra.commands.deployed import deployed
from millrace_infra.commands.destroy import destroy
from millrace_infra.commands.outputs import outputs
from millrace_infra.commands.plan import plan
from millrace_infra.commands.preflight import preflight
from millrace_infra.commands.synth import synth

app = typer.Typer(
    name="millrace_infra",
    help="Millrace on AWS. Each verb takes the environment (a file of environments/) and the suffix.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.command("bootstrap")(bootstrap)
app.command("synth")(synth)
app.command("preflight")(preflight)
app.command("plan")(plan)
app.command("deploy")(deploy)
app.command("outputs")(outputs)
app.command("deployed")(deployed)
app.command("destroy")(destroy)


def main() -> int:
    try:
        app(prog_name="python -m millrace_infra", standalone_mode=True)
    except MillraceError as error:
        sys.stderr.write(f"millrace_infra: {error}\n")
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    return 0
