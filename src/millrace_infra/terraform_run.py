"""Running Terraform on one synthesized stack."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from millrace.errors import MillraceError, SettingError
from millrace_infra.terraform_mirror import configured

NO_CHANGES: Final = 0
CHANGES: Final = 2
"""Exit codes of `plan -detailed-exitcode`."""
LOCK_WAIT: Final = "60s"
"""Another run may hold the state: a plan takes seconds, a deployment does not."""


class TerraformFailed(MillraceError):
    """Terraform ended with an error; what it said is in the message, or on the screen."""


@dataclass(frozen=True)
class Terraform:
    """Terraform in a stack's folder. `environ` is complete: credentials, configuration, variables.

    `shown`: its output goes to the screen; otherwise it is kept for the error message.
    """

    folder: Path
    environ: Mapping[str, str] = field(repr=False)
    shown: bool = True

    def init(self, backend: Mapping[str, str] | None = None, *, migrate_state: bool = False) -> None:
        """`migrate_state`: move the state from where it was to where the program now says it is."""
        given = [f"-backend-config={key}={value}" for key, value in (backend or {}).items()]
        moved = ["-migrate-state", "-force-copy"] if migrate_state else []
        self._run("init", "-input=false", *moved, *given, quiet=True)

    def plan(self, *, out: Path | None = None, destroy: bool = False) -> bool:
        """Whether anything would change."""
        options = [f"-out={out}"] if out else []
        options += ["-destroy"] if destroy else []
        done = self._run(
            "plan",
            "-input=false",
            f"-lock-timeout={LOCK_WAIT}",
            "-detailed-exitcode",
            *options,
            accept=(0, CHANGES),
        )
        return done.returncode == CHANGES

    def apply(self, plan: Path | None = None) -> None:
        what = [str(plan)] if plan else ["-auto-approve"]
        self._run("apply", "-input=false", f"-lock-timeout={LOCK_WAIT}", *what)

    def destroy(self) -> None:
        self._run("destroy", "-input=false", f"-lock-timeout={LOCK_WAIT}", "-auto-approve")

    def outputs(self) -> dict[str, Any]:
        """Output name -> value, the sensitive left out: there is none, and none may leave the state here."""
        found = json.loads(self._run("output", "-json", quiet=True).stdout)
        return {name: one["value"] for name, one in found.items() if not one["sensitive"]}

    def planned(self, plan: Path) -> dict[str, Any]:
        """A plan as Terraform describes it in JSON."""
        return dict(json.loads(self._run("show", "-json", str(plan), quiet=True).stdout))

    def addresses(self) -> list[str]:
        """Every resource in the state."""
        return self._run("state", "list", quiet=True).stdout.split()

    def state(self) -> str:
        """The state itself, as text."""
        return self._run("state", "pull", quiet=True).stdout

    def _run(
        self, verb: str, *options: str, quiet: bool = False, accept: Sequence[int] = (0,)
    ) -> subprocess.CompletedProcess[str]:
        command = [terraform(self.environ), verb, *([] if verb == "state" else ["-no-color"]), *options]
        captured = quiet or not self.shown
        done = _wait(command, self.folder, {**quiet_provider(self.environ), **_ALWAYS}, captured=captured)
        if done.returncode not in accept:
            said = f":\n{(done.stderr or done.stdout).strip()}" if captured else "; what it said is above"
            raise TerraformFailed(
                f"terraform {verb} in {self.folder.name} ended with code {done.returncode}{said}"
            )
        return done


_ALWAYS: Final = {"TF_IN_AUTOMATION": "1", "TF_INPUT": "0", "CHECKPOINT_DISABLE": "1"}


_LOG: Final = "TF_LOG"
_LOG_CORE: Final = "TF_LOG_CORE"
_LOG_PROVIDER: Final = "TF_LOG_PROVIDER"
_SAYS_NO_REQUESTS: Final = ("INFO", "WARN", "ERROR", "OFF")


def quiet_provider(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment with the provider's log at INFO at most, and Terraform's own as it was asked for.

    At DEBUG the provider writes each request down, and with CreateDBCluster the master's password. Its own variables
    (`TF_LOG_PROVIDER_AWS` and the SDK's) would go round the limit. Source: seen on the emulator; Terraform's manual,
    debugging.
    """
    kept = {name: value for name, value in environ.items() if not _of_provider(name)}
    asked = environ.get(_LOG, "")
    if asked:
        kept.setdefault(_LOG_CORE, asked)
    if level := environ.get(_LOG_PROVIDER, asked):
        kept[_LOG_PROVIDER] = level if level.upper() in _SAYS_NO_REQUESTS else "INFO"
    return kept


def _of_provider(name: str) -> bool:
    return name == _LOG or name.startswith((_LOG_PROVIDER, "TF_LOG_SDK", "TF_LOG_AWS"))


VERSION_MIN: Final = "1.11"
"""The first with write-only arguments, without which the master's password would be in the state."""
_WANTED: Final = f"Terraform {VERSION_MIN} or later"


def terraform(environ: Mapping[str, str] = os.environ) -> str:
    """Terraform's program, or the sentence that says how to get it."""
    found = shutil.which("terraform", path=environ.get("PATH"))
    if found is None:
        raise SettingError("terraform", got="nothing of that name on PATH", want=_WANTED)
    return found


def need_terraform(environ: Mapping[str, str] = os.environ) -> None:
    """SettingError where there is none, or one too old: it would find out after the registry is made."""
    program = terraform(environ)
    command = [program, "version", "-json"]
    try:
        done = subprocess.run(command, env={**environ, **_ALWAYS}, capture_output=True, text=True, check=False)
        version = str(json.loads(done.stdout)["terraform_version"])
        is_old = _numbers(version) < _numbers(VERSION_MIN)
    except (OSError, ValueError, KeyError):
        raise SettingError(program, got="no answer to which version it is", want=_WANTED) from None
    if is_old:
        raise SettingError(program, got=version, want=_WANTED)


def _numbers(version: str) -> tuple[int, ...]:
    """Of `1.12.0-rc1`: 1 and 12."""
    return tuple(int(part) for part in version.split(".")[:2])


def _wait(
    command: Sequence[str], folder: Path, environ: Mapping[str, str], *, captured: bool
) -> subprocess.CompletedProcess[str]:
    """Like subprocess.run, but Ctrl-C is Terraform's to handle: killed, it would leave its state locked."""
    pipe = subprocess.PIPE if captured else None
    with _interrupts_ignored():
        process = subprocess.Popen(command, cwd=folder, env=environ, stdout=pipe, stderr=pipe, text=True)
        out, err = process.communicate()
    return subprocess.CompletedProcess(command, process.returncode, out or "", err or "")


@contextmanager
def _interrupts_ignored() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield  # signals are the main thread's
        return
    # a handler and not SIG_IGN: the child would inherit that
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def provider_version(folder: Path) -> str:
    """The AWS provider's version that a synthesized stack asks for."""
    program = json.loads((folder / "cdk.tf.json").read_text())
    return str(program["terraform"]["required_providers"]["aws"]["version"])


@contextmanager
def stack(
    folder: Path, environ: Mapping[str, str] = os.environ, *, shown: bool = True
) -> Iterator[Terraform]:
    """Terraform for the stack that lies synthesized in `folder`."""
    with configured(provider_version(folder), environ) as complete:
        yield Terraform(folder, complete, shown)
