"""`make run` as a newcomer types it: its command out of the Makefile, the whole platform with page and plant."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.simulation.real_platform import free_port, outside_pytest, until

ROOT = Path(__file__).parents[3]
WAIT_S = 180.0  # a cold start compiles kernels
STOP_S = 120.0
PUMP = "acme/lyon/utilities/line-1/pump-01/vibration-de"
FIGURES = re.compile(
    r"^(?P<rate>[\d.]*[1-9][\d.]*k?)/s · lag \d+ m?s · visible p50 \d+ m?s p99 \d+ m?s · durable p99 \d+ m?s · "
    r"stored (?P<stored>[\d.]+[kMG]?) · rejected (?P<rejected>\d+) · disk \d+\.\d GB, (?P<hours>\d+) h left$"
)


def command_of_make_run() -> str:
    """The line that `make run` ends with; set-up before it is not what this test is about."""
    told = subprocess.run(
        ["make", "--dry-run", "--no-print-directory", "run"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return told.stdout.splitlines()[-1]


class Run:
    """One `make run` in a terminal, read line by line."""

    def __init__(self, home: Path, ports: tuple[int, int]) -> None:
        environ = {
            **outside_pytest(),
            "MILLRACE_HOME": str(home),
            "MILLRACE_API_PORT": str(ports[0]),
            "MILLRACE_DASHBOARD_PORT": str(ports[1]),
            "MILLRACE_DISK_FREE_MIN": "128MiB",
        }
        self.home = home
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            ["/bin/bash", "-eu", "-o", "pipefail", "-c", command_of_make_run()],
            cwd=ROOT, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            start_new_session=True,
        )  # fmt: skip
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        self.lines.extend(line.rstrip("\n") for line in self.process.stdout)

    def line(self, wanted: Callable[[str], Any], what: str) -> Any:
        """What `wanted` makes of the first line of which it makes anything."""
        until = time.monotonic() + WAIT_S
        while time.monotonic() < until:
            if found := next(filter(None, map(wanted, self.lines)), None):
                return found
            assert self.process.poll() is None, "\n".join(self.lines)
            time.sleep(0.2)
        raise AssertionError(f"{what} was not printed within {WAIT_S:.0f} s:\n" + "\n".join(self.lines))

    def address(self, name: str) -> str:
        return str(self.line(re.compile(rf"^  {name} +(\S+)").match, name)[1])

    def interrupt(self) -> int:
        """Ctrl-C, as a terminal sends it: to the whole foreground group; the exit code."""
        os.killpg(self.process.pid, signal.SIGINT)
        code = self.process.wait(STOP_S)
        self._reader.join(STOP_S)  # the last line may still be on its way
        return code


def processes_of(home: Path) -> list[str]:
    """Everything that still runs on a data folder."""
    found = []
    for process in psutil.process_iter(["cmdline", "environ", "status"]):
        said = " ".join(
            [*(process.info["cmdline"] or []), (process.info["environ"] or {}).get("MILLRACE_HOME", "")]
        )
        if str(home) in said and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(said)
    return found


@pytest.mark.long
@pytest.mark.requirement("B-01")
def test_make_run_shows_figures_page_and_token_stops_clean_and_goes_on(tmp_path: Path) -> None:
    home, ports = tmp_path / "home", (free_port(), free_port())
    run = Run(home, ports)
    try:
        token = run.address("token")
        assert run.address("page") == f"http://127.0.0.1:{ports[1]}/?token={token}"
        assert run.address("api") == f"http://127.0.0.1:{ports[0]}/v1"
        assert httpx.get(run.address("page"), follow_redirects=True, timeout=STOP_S).status_code == 200
        figures = run.line(lambda line: FIGURES.match(line.strip()), "a status line with every figure")
        assert figures["rejected"] == "0"
        api = httpx.Client(
            base_url=f"http://127.0.0.1:{ports[0]}",
            headers={"Authorization": f"Bearer {token}"},
            timeout=STOP_S,
        )
        until(lambda: api.get("/v1/stats").json()["live"]["tags"] >= 10_000, WAIT_S, "every tag of the plant")
        before = api.get(f"/v1/tags/{PUMP}/latest").json()
        assert before["value"] is not None
        assert len(processes_of(home)) > 5
        assert run.interrupt() == 0
        assert run.lines[-1] == "stopped; `millrace up` goes on from here"
        assert processes_of(home) == []

        run = Run(home, ports)
        assert run.address("token") == token
        past = {"agg": "raw", "to": before["ts_us"] + 1}

        def kept() -> bool:
            answer = api.get(f"/v1/tags/{PUMP}/history", params=past)
            return answer.status_code == 200 and answer.json()["ts_us"][-1:] == [before["ts_us"]]

        until(kept, WAIT_S, "the reading from before")
        assert run.interrupt() == 0
        assert processes_of(home) == []
    finally:
        if run.process.poll() is None:
            run.process.kill()
