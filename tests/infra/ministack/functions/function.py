"""Runs a rotation's function as Lambda would: its zip, its variables, its role, a Python of its own.

Not in the emulator's Lambda, whose Python has no boto3 and knows no authority that would vouch for our PostgreSQL.
"""

from __future__ import annotations

import importlib.util
import io
import json
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from millrace_infra import function_build
from tests.infra.ministack.roles.account import REGION, Account
from tests.infra.ministack.roles.probes import ROLES

RUN = """
import importlib, json, sys
sys.path[:0] = sys.argv[1:3]
module, _, name = sys.argv[3].rpartition(".")
getattr(importlib.import_module(module), name)(json.load(sys.stdin), None)
"""
OF_THE_RUNTIME = ("boto3", "botocore", "s3transfer", "jmespath", "dateutil", "urllib3", "six")
STEP_S_MAX = 60
"""As the functions' own time-out."""


class StepFailed(Exception):
    """The function ended with an exception; its text."""


def runtime(folder: Path) -> Path:
    """What Lambda's Python brings along, and nothing else of ours."""
    folder.mkdir()
    for name in OF_THE_RUNTIME:
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.origin is not None
        origin = Path(spec.origin)
        found = origin.parent if origin.name == "__init__.py" else origin
        (folder / found.name).symlink_to(found)
    return folder


@dataclass
class Function:
    """One function of the program. `authority`: a file with who vouches for the database, which RDS's runtime has."""

    account: Account
    noun: str
    code: Path
    runtime: Path
    authority: Path
    role: str = ""
    changed: Mapping[str, str | None] = field(default_factory=dict)
    """Variables that a test sets otherwise, or takes away (None)."""

    def __post_init__(self) -> None:
        content = function_build.build(self.noun.replace("-", "_"))
        assert self._synthesized["source_code_hash"] == function_build.source_code_hash(content)
        zipfile.ZipFile(io.BytesIO(content)).extractall(self.code)
        self._key = self._signed_as(self.role or f"rotate-{self.noun}")

    @property
    def _synthesized(self) -> Mapping[str, object]:
        return self.account.program.at(f"rotation/{self.noun}/function").body

    @property
    def variables(self) -> dict[str, str]:
        """As synthesized, each reference followed."""
        told = self.account.program.at(f"rotation/{self.noun}/function")["environment"]["variables"]
        return {name: self.account.resolve(value) for name, value in told.items()}

    def step(self, name: str, token: str) -> None:
        event = {"Step": name, "ClientRequestToken": token, "SecretId": self.secret_arn}
        done = subprocess.run(
            [
                sys.executable,
                "-I",
                "-S",
                "-c",
                RUN,
                self.code,
                self.runtime,
                str(self._synthesized["handler"]),
            ],
            input=json.dumps(event),
            env=self._environment(),
            capture_output=True,
            text=True,
            timeout=STEP_S_MAX,
            cwd=self.code,
        )
        if done.returncode:
            raise StepFailed(done.stderr)

    @property
    def secret_arn(self) -> str:
        return self.account.found(f"secrets/{self.noun}", "arn")

    def _environment(self) -> dict[str, str]:
        """Its own variables, and what Lambda adds: region and credentials; no path, no home."""
        lambdas = {"AWS_REGION": REGION, "AWS_DEFAULT_REGION": REGION, "SSL_CERT_FILE": str(self.authority)}
        wanted = self.variables | self.changed
        return {name: value for name, value in wanted.items() if value is not None} | {
            **lambdas, **self._key, "AWS_ENDPOINT_URL": self.account.address,
        }  # fmt: skip

    def _signed_as(self, role: str) -> dict[str, str]:
        name = self.account.program.at(f"{ROLES[role]}/role")["name"]
        self.account.let_the_account_take(name)
        return {key.upper(): value for key, value in self.account.take(name).items()}
