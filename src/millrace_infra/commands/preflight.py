"""`preflight`: is the account ready, and if not, what to do."""

from __future__ import annotations

import typer

from millrace_infra.commands.options import EnvOption, SuffixOption, chosen


def preflight(env: EnvOption = "dev", suffix: SuffixOption = "dev") -> None:
    """Check credentials, zones, quotas, secrets, certificate and the account's own stack. Exit 2 on a fault."""
    from millrace_infra.preflight import Account, NotReady, examine, sentence
    from millrace_infra.session import client_of

    environment = chosen(env, suffix)
    faults = []
    for finding in examine(Account(environment, client_of(environment))):
        if finding.ok:
            typer.echo(f"ok    {finding.name:<38} {finding.found}")
        else:
            faults.append(sentence(finding))
    if faults:
        raise NotReady("\n".join(faults))
