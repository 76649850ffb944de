"""A server's CPU counts its processes that have ended, and those that live."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import psutil
import pytest

from benchmarks.peers.server_cpu import family_cpu_s

BURNT_S: Final = 0.3
SERVER: Final = f"""
import os, sys, time
def burn():
    while time.process_time() < {BURNT_S}: pass
child = os.fork()
if child == 0:
    burn()
    if {{stays}}: print("burnt", flush=True); time.sleep(60)
    os._exit(0)
if not {{stays}}:
    os.waitpid(child, 0)
    print("burnt", flush=True)
sys.stdin.read()
if {{stays}}: os.kill(child, 9)
"""


@contextmanager
def server(*, stays: bool) -> Iterator[psutil.Process]:
    """A process whose child has burnt BURNT_S, and has ended or stays."""
    with subprocess.Popen(
        [sys.executable, "-c", SERVER.format(stays=stays)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"burnt\n"
        yield psutil.Process(process.pid)


@pytest.mark.parametrize("stays", [True, False])
def test_cpu_of_a_child_counts_while_it_lives_and_after_it_has_ended(stays: bool) -> None:
    with server(stays=stays) as process:
        own = process.cpu_times()
        assert family_cpu_s(process) - own.user - own.system >= BURNT_S - 0.05
