"""Secrets Manager: a rotation that was asked for is done at once, and its function is not called.

moto calls a function that does nothing and leaves the new version pending for ever; it forgets the function where a
call does not name it again, and calls a secret rotated whose rotation was only set up. Here the new version is in
force, with the content of the one before it: the functions do their steps in tests/infra/ministack/functions and
tests/infra/rotation.
"""

from __future__ import annotations

import json
from typing import Any, Final

from moto.secretsmanager.models import FakeSecret, secretsmanager_backends

from tests.infra.emulator.dispatch import ACCOUNT_ID, Call, PassOn, answers

CURRENT: Final = "AWSCURRENT"


def _secret(call: Call) -> FakeSecret | None:
    found = secretsmanager_backends[ACCOUNT_ID][call.region].secrets.get(call["SecretId"])
    return found if isinstance(found, FakeSecret) else None


@answers("secretsmanager", "RotateSecret")
def rotate_secret(call: Call) -> dict[str, Any]:
    secret = _secret(call)
    if secret is None or not _function(call, secret):
        raise PassOn
    now = bool(call.get("RotateImmediately", True))
    before = next(one for one in secret.versions.values() if CURRENT in one["version_stages"])
    rotated = secret.last_rotation_date
    answer = json.loads(
        secretsmanager_backends[ACCOUNT_ID][call.region].rotate_secret(
            call["SecretId"], call.get("ClientRequestToken"), _function(call, secret),
            call.get("RotationRules"), now,
        )
    )  # fmt: skip
    pending = next(one for one in secret.versions.values() if "AWSPENDING" in one["version_stages"])
    if now:
        _in_force(pending, before)
    else:  # AWS tries the function on a version that it takes away again
        del secret.versions[pending["version_id"]]
        secret.last_rotation_date = rotated
    return dict(answer)


def _in_force(version: dict[str, Any], before: dict[str, Any]) -> None:
    version |= {key: before[key] for key in ("secret_string", "secret_binary") if key in before}
    before["version_stages"] = ["AWSPREVIOUS"]
    version["version_stages"] = [CURRENT]


def _function(call: Call, secret: FakeSecret) -> str:
    return str(call.get("RotationLambdaARN") or secret.rotation_lambda_arn or "")
