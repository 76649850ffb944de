"""Checks of this machine and data folder: what was found, whether it will do, what to do where it will
not.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from millrace.errors import MillraceError
from millrace.local import durability, endpoints, folder, ports
from millrace.local.addresses import Addresses
from millrace.local.binaries import postgres_programs, valkey_program
from millrace.settings import Settings

SYNC_PROBES = 50
SYNC_SLOW_MS = 20.0  # at 50 ms per append the door's latency alone would eat the promise


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the report. `advice` is empty where nothing is to be done."""

    name: str
    ok: bool
    found: str
    advice: str = ""


def examine(settings: Settings) -> Iterator[Check]:
    """Every check in turn; none changes anything, none raises."""
    for name, check in _CHECKS.items():
        try:
            done = check(settings)
            yield replace(done, advice="") if done.ok else done
        except MillraceError as error:
            found, _, advice = str(error).splitlines()[0].partition(". ")
            yield Check(name, False, found, advice.rstrip(".") or "see the message")
        except OSError as error:
            yield Check(
                name,
                False,
                str(error),
                "mend what the system says, or choose another folder with MILLRACE_HOME",
            )
    if endpoints.find(settings.home) is not None:
        yield from _running(settings)


def _python(settings: Settings) -> Check:
    found = f"Python {sys.version.split()[0]}, {os.cpu_count()} cores"
    return Check("python", (3, 11) <= sys.version_info[:2] < (3, 14), found, "use Python 3.11 to 3.13")


def _binaries(settings: Settings) -> Check:
    programs = [postgres_programs() / "postgres", valkey_program()]
    said = [_version([str(program), "--version"]) for program in programs]
    return Check(
        "servers", all(said), ", ".join(said) or "they do not run", "install again: make clean, make run"
    )


def _version(command: list[str]) -> str:
    """`postgres (PostgreSQL) 18.4`; of Valkey's line what comes before its build."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    first = done.stdout.splitlines()[0] if done.returncode == 0 and done.stdout else ""
    return first.partition(" sha=")[0].strip()


def _folder(settings: Settings) -> Check:
    home = settings.home.absolute()
    identity = folder.read_identity(home)
    folder.require_writable(home)
    if identity is None:
        return Check("data folder", True, f"{home} is not there yet, and can be made")
    pid = folder.running_pid(home)
    use = f"in use by pid {pid}" if pid else "not in use"
    return Check("data folder", True, f"{home}: {identity.shards} shards, {use}, can be written")


def _disk(settings: Settings) -> Check:
    usage = shutil.disk_usage(folder.existing(settings.home))
    bound = f"the folder may take {settings.disk_max_bytes / 1e9:.1f} GB"
    found = f"{usage.free / 1e9:.1f} GB free of {usage.total / 1e9:.1f} GB, {bound}"
    enough = usage.free > settings.disk_free_min_bytes + 2**30
    advice = "free some space: below MILLRACE_DISK_FREE_MIN ingest answers 429 (disk_nearly_full)"
    return Check("disk", enough, found, "" if enough else advice)


def _sync(settings: Settings) -> Check:
    """An append is acknowledged after a sync, so its time is the floor of every latency."""
    probe = folder.existing(settings.home) / f".millrace-probe-{os.getpid()}"
    times_ms = []
    handle = os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        for _ in range(SYNC_PROBES):
            os.write(handle, b"x" * 4096)
            started = time.perf_counter()
            os.fsync(handle)
            times_ms.append((time.perf_counter() - started) * 1e3)
    finally:
        os.close(handle)
        probe.unlink()
    median, worst = statistics.median(times_ms), max(times_ms)
    advice = (
        ""
        if median < SYNC_SLOW_MS
        else "put the data folder on a local SSD: every acknowledged frame waits for a sync"
    )
    return Check(
        "sync", median < SYNC_SLOW_MS, f"fsync of 4 KiB: median {median:.2f} ms, worst {worst:.2f} ms", advice
    )


def _ports(settings: Settings) -> Check:
    if endpoints.find(settings.home) is not None:
        return Check("ports", True, "held by the running platform")
    taken = {setting: ports.why_taken(*where) for setting, where in ports.wanted(settings).items()}
    bad = [f"{setting}: {why}" for setting, why in taken.items() if why]
    found = (
        ", ".join(bad) or ", ".join(str(port) for _, port in ports.wanted(settings).values()) + " are free"
    )
    return Check("ports", not bad, found, "" if not bad else "name free ones with these settings")


def _running(settings: Settings) -> Iterator[Check]:
    """The servers' own words about their durability."""
    found = endpoints.need(settings.home)
    try:
        promises = durability.promises(Addresses(found.postgres_url, found.stream_url, found.cache_url))
    except MillraceError as error:
        yield Check(
            "durability",
            False,
            str(error),
            "look into the logs folder; the supervisor starts dead servers again",
        )
        return
    for promise in promises:
        advice = "" if promise.kept else f"set it to {promise.wanted}"
        yield Check(f"{promise.server} {promise.name}", promise.kept, promise.found, advice)


_CHECKS: dict[str, Callable[[Settings], Check]] = {
    "python": _python,
    "servers": _binaries,
    "data folder": _folder,
    "disk": _disk,
    "sync": _sync,
    "ports": _ports,
}
