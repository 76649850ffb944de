"""`millrace doctor`: is this machine fit, and if not, what to do."""

from __future__ import annotations

import typer

from millrace.cli.platform import HomeOption, JsonOption, print_json, settings_of


def doctor(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Check whether this machine is fit, and say what to do.

    Python, servers, data folder, disk, ports and sync times. It changes nothing. Exit 1 on a fault.
    """
    from dataclasses import asdict

    from millrace.local.doctor import examine

    checks = []
    for check in examine(settings_of(home)):
        checks.append(check)
        if not as_json:
            advice = f"  -> {check.advice}" if check.advice and not check.ok else ""
            typer.echo(f"{'ok  ' if check.ok else 'FAIL'}  {check.name:<28} {check.found}{advice}")
    if as_json:
        print_json([asdict(check) for check in checks])
    raise typer.Exit(0 if all(check.ok for check in checks) else 1)
