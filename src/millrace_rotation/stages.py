"""The law of a rotation, the same for each secret: four steps, any of which may be repeated or cut short.

| step | does | a repetition |
|---|---|---|
| createSecret | puts the next value beside the current one, as AWSPENDING | finds it there and leaves it |
| setSecret | makes the next value work where it is used | does so again, to the same end |
| testSecret | uses the next value as a task would | uses it again |
| finishSecret | makes it AWSCURRENT, then removes what nobody uses | finds it current, and removes again |

The current value works until the end of finishSecret and beyond, whatever fails before: no step touches it.
Only finishSecret moves AWSCURRENT, and only to a value that the steps before have proven.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Final, Protocol

CURRENT: Final = "AWSCURRENT"
PENDING: Final = "AWSPENDING"

log = logging.getLogger(__name__)
log.setLevel(logging.INFO)


class RotationRefused(Exception):
    """This rotation cannot go on, now or at all; its text says why. It never holds a value."""


class Subject(Protocol):
    """What is rotated. `version` is the id of the pending value, the same in each step and each repetition."""

    def next_value(self, current: str) -> str:
        """The value after this one, not yet known to anybody."""

    def put_in_force(self, pending: str, current: str, version: str) -> None:
        """Make the pending value work beside the current one."""

    def test(self, pending: str, current: str, version: str) -> None:
        """Use the pending value; raises where it does not work."""

    def tidy(self, kept: frozenset[str]) -> None:
        """Remove what belongs to no version of these, once the pending value is the current one."""


def run(event: Mapping[str, str], *, manager: Any, secret_arn: str, subject: Subject) -> None:
    """One step, as Secrets Manager's event names it. `manager` is a client of boto3's."""
    step, version = event["Step"], event["ClientRequestToken"]
    if event["SecretId"] != secret_arn:
        raise RotationRefused(f"{event['SecretId']} is not the secret that this function rotates")
    if step not in _STEPS:
        raise RotationRefused(f"{step} is no step of a rotation; there are {', '.join(_STEPS)}")
    _STEPS[step](_Rotation(manager, secret_arn, subject), version)
    log.info("%s of version %s: done", step, version)


class _Rotation:
    """The steps of one secret."""

    def __init__(self, manager: Any, secret_arn: str, subject: Subject) -> None:
        self._manager = manager
        self._arn = secret_arn
        self._subject = subject

    def create(self, version: str) -> None:
        labels = self._versions().get(version)
        if labels is not None and CURRENT in labels:
            return
        if labels is not None and PENDING not in labels:
            raise RotationRefused(f"version {version} is not pending any more: start a new rotation")
        if labels is not None and self._value(version) is not None:
            return
        value = self._subject.next_value(self._current())
        self._manager.put_secret_value(
            SecretId=self._arn, ClientRequestToken=version, SecretString=value, VersionStages=[PENDING]
        )

    def put_in_force(self, version: str) -> None:
        if not self._is_current(version):
            self._subject.put_in_force(self._wanted(version), self._current(), version)

    def test(self, version: str) -> None:
        if self._is_current(version):
            return
        pending, current = self._wanted(version), self._current()
        if pending == current:
            # With rotate_immediately off, Secrets Manager calls this step alone when a rotation is configured,
            # on a version that it removes again. The database may have no users yet: there is nothing to test.
            log.info("a rehearsal: the pending value is the current one")
            return
        self._subject.test(pending, current, version)

    def finish(self, version: str) -> None:
        versions = self._versions()
        if CURRENT not in versions.get(version, ()):
            self._wanted(version)
            (former,) = (one for one, labels in versions.items() if CURRENT in labels)
            self._manager.update_secret_version_stage(
                SecretId=self._arn, VersionStage=CURRENT, MoveToVersionId=version, RemoveFromVersionId=former
            )
        self._subject.tidy(frozenset(one for one, labels in self._versions().items() if labels))

    def _versions(self) -> dict[str, list[str]]:
        """Version -> its labels; one without a label is on its way out. A pending one may have no value yet."""
        found: dict[str, list[str]] = self._manager.describe_secret(SecretId=self._arn)["VersionIdsToStages"]
        return found

    def _is_current(self, version: str) -> bool:
        return CURRENT in self._versions().get(version, ())

    def _current(self) -> str:
        return str(self._manager.get_secret_value(SecretId=self._arn, VersionStage=CURRENT)["SecretString"])

    def _value(self, version: str) -> str | None:
        try:
            found = self._manager.get_secret_value(SecretId=self._arn, VersionId=version)
        except self._manager.exceptions.ResourceNotFoundException:
            return None
        return str(found["SecretString"])

    def _wanted(self, version: str) -> str:
        """The pending value."""
        if PENDING in self._versions().get(version, ()) and (value := self._value(version)) is not None:
            return value
        raise RotationRefused(f"version {version} is not pending: createSecret comes first")


_STEPS: Final = {
    "createSecret": _Rotation.create,
    "setSecret": _Rotation.put_in_force,
    "testSecret": _Rotation.test,
    "finishSecret": _Rotation.finish,
}
