"""The command line as an engineer calls it: a process of its own, in a folder with the environments, signed in."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import yaml

from tests.infra.cycle import docker_double
from tests.infra.emulator.server import CREDENTIALS, ROOT

NOT_OURS: Final = ("AWS_REGION", "AWS_PROFILE", "ENV", "ENVIRONMENT_SUFFIX", "CI")
"""What the machine that tests may have set, and a verb would obey."""
BY_PATH: Final = "above_all_others_override.tf.json"
"""Terraform reads overrides by their names, and the later wins: `bootstrap` has one of its own."""


@dataclass(frozen=True)
class Said:
    """How a verb ended."""

    verb: str
    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


@dataclass(frozen=True)
class CommandLine:
    """`python -m millrace_infra VERB` of one environment and suffix, with the emulator at `address`."""

    address: str
    name: str
    suffix: str
    folder: Path
    said: list[Said] = field(default_factory=list)

    @property
    def environ(self) -> dict[str, str]:
        """Docker's double stands first on the path: docs/emulators.md names it."""
        there = {key: value for key, value in os.environ.items() if key not in NOT_OURS}
        path = os.pathsep.join((str(docker_double.install(self.bin)), there["PATH"]))
        images = docker_double.images(self.bin)
        ours = {"PATH": path, "PYTHONPATH": str(ROOT / "src"), "AWS_ENDPOINT_URL": self.address}
        return {**there, **CREDENTIALS, **images, **ours}

    @property
    def bin(self) -> Path:
        return self.folder / "bin"

    @property
    def stacks(self) -> Path:
        return self.folder / "cdktf.out" / f"{self.name}-{self.suffix}" / "stacks"

    @property
    def account(self) -> Path:
        """Where `bootstrap` works: one place for all environments and suffixes of a region."""
        settings = yaml.safe_load((self.folder / "environments" / f"{self.name}.yaml").read_text())
        place = f"account-{settings['account_id']}-{settings['region']}"
        return self.folder / "cdktf.out" / place / "stacks" / "millrace-account"

    def settle(self, settings: Path) -> None:
        """The environments, in a repository with a commit: `deployed` names it."""
        shutil.copytree(settings, self.folder / "environments", dirs_exist_ok=True)
        me = ("-c", "user.name=test", "-c", "user.email=test@example.com")
        commit = ("commit", "--quiet", "--allow-empty", "--message", "a program")
        for command in (("init", "--quiet"), (*me, *commit)):
            subprocess.run(["git", *command], cwd=self.folder, check=True)

    def commit(self) -> str:
        command = ["git", "rev-parse", "HEAD"]
        return subprocess.run(
            command, cwd=self.folder, check=True, capture_output=True, text=True
        ).stdout.strip()

    def __call__(self, verb: str, *options: str, environ: Mapping[str, str] | None = None) -> Said:
        done = subprocess.run(
            [sys.executable, "-m", "millrace_infra", verb, "--env", self.name, "--suffix", self.suffix, *options],
            cwd=self.folder, env={**self.environ, **(environ or {})}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        self.said.append(Said(verb, done.returncode, done.stdout, done.stderr))
        return self.said[-1]

    def synthesize(self) -> None:
        """The emulator serves buckets by path; on AWS that style is on its way out, so only the test writes it."""
        ended(self("synth"))
        for program in self.stacks.glob("*/cdk.tf.json"):
            override = {
                "provider": {"aws": [{"s3_use_path_style": True}]},
                "terraform": {"backend": _by_path(json.loads(program.read_text())["terraform"]["backend"])},
            }
            places = [program.parent, *([self.account] if program.parent.name == self.account.name else [])]
            for place in places:
                place.mkdir(parents=True, exist_ok=True)
                (place / BY_PATH).write_text(json.dumps(override))


def _by_path(backend: Mapping[str, Mapping[str, object]]) -> dict[str, dict[str, object]]:
    """An override replaces a back end as a whole."""
    return {
        kind: {**content, **({"use_path_style": True} if kind == "s3" else {})}
        for kind, content in backend.items()
    }


def ended(said: Said, *codes: int) -> Said:
    """AssertionError with what the verb said, unless it ended with one of these codes; 0 if none is given."""
    assert said.code in (codes or (0,)), (
        f"{said.verb} ended with {said.code}:\n{said.out[-4000:]}\n{said.err[-4000:]}"
    )
    return said
