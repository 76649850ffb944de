"""The command line: `millrace VERB`. One verb per file, listed here in the order in which a newcomer meets
them.

Each verb imports what it needs when it is called, so that `millrace --help` answers at once.
"""

from __future__ import annotations

import sys

import typer

from millrace.cli import bench, doctor, model, rejects, replay, reset, send, simulate, stats, up, verify
from millrace.errors import MillraceError

app = typer.Typer(
    name="millrace",
    help="A manufacturing data platform: every reading accounted for, abnormal found within half a second."
    "\n\n"
    "Start with `millrace up --simulate`, then open the page whose address it prints. "
    "The data folder is ./.millrace, or the one that MILLRACE_HOME names; docs/settings.md lists every "
    "setting.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.command("up")(up.up)
app.command("simulate")(simulate.simulate)
app.command("send")(send.send)
app.command("model")(model.model)
app.command("replay")(replay.replay)
app.command("stats")(stats.stats)
app.command("verify")(verify.verify)
app.command("rejects")(rejects.rejects)
app.command("doctor")(doctor.doctor)
app.command("bench")(bench.bench)
app.command("reset")(reset.reset)


def main() -> None:
    """What the `millrace` program runs: our errors become one sentence and an exit code, never a
    traceback.
    """
    try:
        app(prog_name="millrace")
    except MillraceError as error:
        sys.stderr.write(f"millrace: {error}\n")
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
