"""`python -m millrace_infra VERB`, one verb per file, in the order in which an engineer meets them.

Each verb loads what it needs when it is called. An error of ours or of AWS becomes one sentence and its exit code.
"""

from __future__ import annotations

import sys

import typer

from millrace.errors import MillraceError
from millrace_infra.commands.bootstrap import bootstrap
from millrace_infra.commands.deploy import deploy
from millrace_infra.commands.deployed import deployed
from millrace_infra.commands.destroy import destroy
from millrace_infra.commands.export_records import export_records
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
app.command("export-records")(export_records)
app.command("destroy")(destroy)


def main() -> int:
    try:
        app(prog_name="python -m millrace_infra", standalone_mode=True)
    except MillraceError as error:
        sys.stderr.write(f"millrace_infra: {error}\n")
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        if not _of_aws(error):
            raise
        said = str(error).partition("\n")[0]
        sys.stderr.write(
            f"millrace_infra: AWS said: {said}; what was done stays, and the same command goes on from there\n"
        )
        return 1
    return 0


def _of_aws(error: Exception) -> bool:
    """A call that AWS refused, or that never reached it: what to do is in its words, not in our stack."""
    from botocore.exceptions import BotoCoreError, ClientError  # type: ignore[import-untyped, unused-ignore]

    return isinstance(error, BotoCoreError | ClientError)
