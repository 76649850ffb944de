"""What is done to the real-time store in the middle of a run: `stall` stops it for 0.4 s, `kill` kills it."""

from __future__ import annotations

import signal
import threading
import time
from typing import Final

import psutil

from benchmarks.pipeline.machine import kind_of

HURTS: Final = ("stall", "kill")
STALL_S: Final = 0.4


def real_time_store(root: int) -> psutil.Process:
    """The one of the platform under `root`; SystemExit if there is none."""
    for process in psutil.Process(root).children(recursive=True):
        if kind_of(process) == "cache":
            return process
    raise SystemExit(f"found no real-time store under process {root}, wanted a platform with its own")


def hurt_later(what: str, root: int, after_s: float) -> None:
    """Do it once, on a thread, after so many seconds; nothing where `what` is empty."""
    if what:
        threading.Thread(target=_hurt, args=(what, real_time_store(root), after_s), daemon=True).start()


def _hurt(what: str, store: psutil.Process, after_s: float) -> None:
    time.sleep(after_s)
    if what == "kill":
        store.kill()
        return
    store.send_signal(signal.SIGSTOP)
    time.sleep(STALL_S)
    store.send_signal(signal.SIGCONT)
