"""AWS as the verbs call it: one client per service, in the environment's region."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from millrace.errors import SettingError
from millrace_infra.settings import Environment


def client_of(environment: Environment) -> Callable[[str], Any]:
    """Service -> client. Endpoint and credentials come from the usual places (AWS_PROFILE, AWS_ENDPOINT_URL).

    SettingError for a profile that is not there: nothing was asked yet, and nothing made.
    """
    import boto3  # type: ignore[import-untyped, unused-ignore]
    from botocore.config import Config  # type: ignore[import-untyped, unused-ignore]
    from botocore.exceptions import ProfileNotFound  # type: ignore[import-untyped, unused-ignore]

    try:
        session = boto3.Session(region_name=environment.region)
    except ProfileNotFound as error:
        want = "one of `aws configure list-profiles`, or unset"
        raise SettingError("AWS_PROFILE", got=error.kwargs["profile"], want=want) from None
    config = Config(retries={"max_attempts": 5, "mode": "standard"}, connect_timeout=5, read_timeout=60)

    @cache
    def client(service: str) -> Any:
        return session.client(service, config=config)

    return client
