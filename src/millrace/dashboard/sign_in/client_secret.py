"""The secret that the dashboard shows to the identity provider: out of the settings, or out of AWS Secrets Manager."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any, Final

from millrace import telemetry
from millrace.errors import MillraceError, SettingError, Unavailable
from millrace.names import ENV_SECRET_DASHBOARD_OIDC
from millrace.settings import Settings

READ_AGAIN_S = 300.0
TIMEOUT_S: Final = 5
KEY: Final = "client_secret"
log = telemetry.logger(__name__)


class ClientSecret:
    """`value` is read at the start, which fails without it, and every few minutes again: after an exchange of the
    secret nobody has to start the dashboard anew."""

    def __init__(self, read: Callable[[], str]) -> None:
        self._read = read
        self._value = read()

    def value(self) -> str:
        return self._value

    async def keep_fresh(self) -> None:
        """Until cancelled. What cannot be read now stays as it was."""
        while True:
            await asyncio.sleep(READ_AGAIN_S)
            try:
                self._value = await asyncio.to_thread(self._read)
            except MillraceError as error:
                log.warning("client_secret_not_read", error=str(error))


def reader_of(settings: Settings) -> Callable[[], str]:
    """How the secret is read, as the settings say."""
    if settings.oidc_client_secret:
        return lambda: settings.oidc_client_secret
    return lambda: _from_secrets_manager(settings.secret_dashboard_oidc_arn)


def _from_secrets_manager(arn: str) -> str:
    """SettingError: it has another form; Unavailable: it cannot be read now, or by us."""
    text = _text_of(arn)
    try:
        value = json.loads(text)[KEY]
    except (ValueError, KeyError, TypeError, IndexError):
        value = None
    if not isinstance(value, str) or not value:
        raise SettingError(
            ENV_SECRET_DASHBOARD_OIDC, got=arn, want=f"a secret that is JSON with a text `{KEY}`"
        )
    return value


def _text_of(arn: str) -> str:
    try:
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError, ClientError
    except ImportError:
        raise SettingError(
            ENV_SECRET_DASHBOARD_OIDC, got=arn, want="the package boto3 to read it with"
        ) from None

    bounded = Config(connect_timeout=TIMEOUT_S, read_timeout=TIMEOUT_S, retries={"total_max_attempts": 3})
    try:
        manager: Any = boto3.client("secretsmanager", config=bounded)
        return str(manager.get_secret_value(SecretId=arn).get("SecretString", ""))
    except (BotoCoreError, ClientError) as error:
        raise Unavailable(f"{ENV_SECRET_DASHBOARD_OIDC}: {arn} cannot be read: {error}") from None
