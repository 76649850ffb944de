"""Log groups: ours, made before what writes to them, under our key and for as long as the settings say.

A group that a service makes for itself has no key and no end.
"""

from __future__ import annotations

from typing import Final

from millrace.names import PROJECT
from millrace_infra.security import Key
from millrace_infra.settings import Environment
from millrace_infra.terraform import CloudwatchLogGroup, Construct

PRESCRIBED: Final = {"waf": f"aws-waf-logs-{PROJECT}"}
"""WAF writes only to groups whose name begins so. Source: AWS WAF, sending web ACL traffic logs."""


class Logs(Construct):
    """The group of each noun: `logs.group("worker")`, named `/millrace/worker-{suffix}`."""

    def __init__(self, scope: Construct, id: str, *, environment: Environment, key: Key) -> None:
        super().__init__(scope, id)
        self._environment = environment
        self._key = key
        self._groups: dict[str, CloudwatchLogGroup] = {}

    def group(self, noun: str) -> CloudwatchLogGroup:
        """Made at the first call. Its key's policy knows it by the suffix at the end of its name."""
        return self.prescribed(
            noun, f"{PRESCRIBED.get(noun, f'/{PROJECT}/{noun}')}-{self._environment.suffix}"
        )

    def prescribed(self, noun: str, name: str) -> CloudwatchLogGroup:
        """The group that a service writes to under a name of its own, and would make for itself."""
        if noun not in self._groups:
            self._groups[noun] = CloudwatchLogGroup(
                self,
                noun,
                name=name,
                kms_key_id=self._key.arn,
                retention_in_days=self._environment.settings.log_days,
                skip_destroy=False,
                tags={"Name": name, "data-class": "standard"},
            )
        return self._groups[noun]
