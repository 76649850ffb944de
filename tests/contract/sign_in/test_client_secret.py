"""The secret that the page shows to the identity provider, out of a real answer of AWS Secrets Manager's interface."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import boto3
import pytest
from moto.server import ThreadedMotoServer

from millrace.dashboard.sign_in import client_secret
from millrace.dashboard.sign_in.client_secret import ClientSecret, reader_of
from millrace.errors import SettingError, Unavailable
from millrace.settings import load

ARN = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:millrace/dashboard-oidc"
KNOWN = {
    "MILLRACE_OIDC_ISSUER": "https://login.example.com",
    "MILLRACE_OIDC_CLIENT_ID": "page",
}
ROOT = Path(__file__).parents[3]


@pytest.fixture
def manager(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Address of an emulated Secrets Manager, which the programs of this test ask."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}", "AWS_DEFAULT_REGION": "eu-central-1",
        "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    yield f"http://{host}:{port}"
    server.stop()


def held(value: str) -> str:
    """Address of a secret with that value."""
    made = boto3.client("secretsmanager").create_secret(
        Name=f"millrace/{uuid4().hex}/dashboard-oidc", SecretString=value
    )
    return str(made["ARN"])


def read(arn: str) -> str:
    return reader_of(load({**KNOWN, "MILLRACE_SECRET_DASHBOARD_OIDC_ARN": arn}))()


@pytest.mark.requirement("S-11")
def test_the_value_is_read_by_its_address(manager: str) -> None:
    assert read(held('{"client_secret": "what-the-provider-knows"}')) == "what-the-provider-knows"


@pytest.mark.parametrize(
    "value", ["plain", "[]", "{}", '{"client_secret": ""}', '{"client_secret": 7}', '"x"']
)
def test_a_secret_of_another_form_is_said_without_its_value(manager: str, value: str) -> None:
    arn = held(value)
    with pytest.raises(SettingError, match="a secret that is JSON with a text `client_secret`") as said:
        read(arn)
    assert arn in str(said.value)
    assert value not in str(said.value).replace(arn, "") or value in ("[]", "{}")


def test_a_secret_that_is_not_there_is_said_by_its_address(manager: str) -> None:
    with pytest.raises(Unavailable, match=ARN):
        read(ARN)


def test_a_machine_without_a_region_is_said_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_DEFAULT_REGION", "AWS_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    with pytest.raises(Unavailable, match="cannot be read: You must specify a region"):
        read(ARN)


@pytest.mark.requirement("S-11")
def test_an_exchanged_secret_is_read_and_what_cannot_be_read_stays(
    manager: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_secret, "READ_AGAIN_S", 0.01)
    arn = held('{"client_secret": "first"}')
    secret = ClientSecret(reader_of(load({**KNOWN, "MILLRACE_SECRET_DASHBOARD_OIDC_ARN": arn})))

    def put(value: str) -> None:
        boto3.client("secretsmanager").put_secret_value(SecretId=arn, SecretString=value)

    async def story() -> None:
        keeping = asyncio.create_task(secret.keep_fresh())
        put('{"client_secret": "second"}')
        while secret.value() != "second":  # the whole test has an end
            await asyncio.sleep(0.02)
        put("damaged")
        await asyncio.sleep(0.3)
        assert (secret.value(), keeping.done()) == ("second", False)
        keeping.cancel()

    asyncio.run(story())


def test_a_page_that_cannot_read_its_secret_ends_with_a_sentence(manager: str) -> None:
    told = {**KNOWN, "MILLRACE_SECRET_DASHBOARD_OIDC_ARN": ARN, "PYTHONPATH": str(ROOT / "src")}
    ended = subprocess.run(
        [sys.executable, "-m", "millrace.dashboard"],
        env={**os.environ, **told}, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert ended.returncode == 1
    assert (
        ended.stderr.strip()
        .splitlines()[-1]
        .startswith(f"millrace dashboard: MILLRACE_SECRET_DASHBOARD_OIDC_ARN: {ARN} cannot be read")
    )
    assert "Traceback" not in ended.stderr
