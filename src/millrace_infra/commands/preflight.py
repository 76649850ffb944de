"""`preflight`: is the account ready, and if not, what to do."""

from __future__ import annotations

import typer

from millrace_infra.commands.options import EnvOption, SuffixOption, chosen


def preflight(env: EnvOption = "dev", suffix: SuffixOption = "dev") -> None:
    """Check credentials, zones, quotas, secrets, certificate and the account's own stack. Exit 1 on a fault."""
    from millrace_infra.preflight import Account, examine
    from millrace_infra.session import client_of

    environment = chosen(env, suffix)
    faults = 0
    for finding in examine(Account(environment, client_of(environment))):
        faults += not finding.ok
        advice = "" if finding.ok else f"  -> {finding.advice}"
        typer.echo(f"{'ok  ' if finding.ok else 'FAIL'}  {finding.name:<38} {finding.found}{advice}")
    raise typer.Exit(1 if faults else 0)
