"""Starts the emulator that invokes REST APIs and judges roles, in its own environment, on a loopback port of its own.

It is installed by `make second-emulator`; MINISTACK_PYTHON names another interpreter that has it.
"""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

ROOT = Path(__file__).parents[3]
PYTHON = Path(os.environ.get("MINISTACK_PYTHON", ROOT / ".tools/ministack/bin/python"))
READY_S = 120
ACCOUNT = "123456789012"
"""Of the environments' settings. The emulator takes an account's number as the key of its root."""
ROOT_KEY = {"AWS_ACCESS_KEY_ID": ACCOUNT, "AWS_SECRET_ACCESS_KEY": "of-the-emulators-root"}


def missing() -> str:
    """Why it cannot run here; empty if it can."""
    return "" if PYTHON.exists() else f"{PYTHON} is not there: make second-emulator"


@contextmanager
def ministack(*, auth: bool = False) -> Iterator[str]:
    """Its address. The socket is ours, so nothing else can take the port and nobody else can reach it.

    With `auth` each call is judged by what its signer may do; `ROOT_KEY` may do all.
    """
    told = ROOT_KEY | {"AUTH": "true"} if auth else {}
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        number = listener.fileno()
        process = subprocess.Popen(
            [str(PYTHON), "-m", "hypercorn", "ministack.app:app", "--bind", f"fd://{number}"],
            env=os.environ | told | {"IOT_MTLS_ENABLED": "0", "LOG_LEVEL": "ERROR"},
            pass_fds=[number],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        try:
            _until_ready(address, process)
            yield address
        finally:
            process.terminate()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _until_ready(address: str, process: subprocess.Popen[bytes]) -> None:
    until_s = time.monotonic() + READY_S
    while time.monotonic() < until_s:
        assert process.poll() is None, f"the emulator ended with code {process.returncode}"
        try:
            if httpx.get(f"{address}/_ministack/ready", timeout=2).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    raise AssertionError(f"the emulator is not ready within {READY_S} s")
