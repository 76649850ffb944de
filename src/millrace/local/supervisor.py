"""The supervisor: starts everything in order, watches it, starts again what died, stops it in reverse.

    folder -> ports -> servers -> schema -> workers, api, page, plant -> ready -> watch -> stop

It holds no data. Killed with SIGKILL it takes its children with it (`launch.py`), or the next start ends
them.
"""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from types import FrameType

from millrace import telemetry
from millrace.assets.followed_file import follow
from millrace.assets.load import load as load_model
from millrace.assets.tag import AssetModel
from millrace.errors import DataFolderError, MillraceError
from millrace.identity import claim
from millrace.local import before_folder, ports, ready
from millrace.local import endpoints as endpoints_file
from millrace.local.child import Child, end_stale
from millrace.local.deadly_record import died_of_record
from millrace.local.deaths import Deaths
from millrace.local.endpoints import Endpoints, page_to_open
from millrace.local.folder import FREE_AT_START_BYTES, IDENTITY_FILE, DataFolder
from millrace.local.processes import SIMULATOR, Role, child_of, environment, metrics_folder, roles
from millrace.local.servers import Servers
from millrace.local.status import StatsPoller, StatusLine
from millrace.names import SERVICE_API, SERVICE_DASHBOARD, SERVICE_WORKER
from millrace.process.detect.table import DETECTOR_NAMES
from millrace.schema import migrate
from millrace.settings import Settings
from millrace.shard_keeper import check_span
from millrace.sinks.postgres import Owners
from millrace.stream.valkey import ValkeyStream

READY_WAIT_S = 300.0  # the first start compiles: 22 s of CPU, minutes on a busy machine
WATCH_PACE_S = 0.1
PAGE_WAIT_S = 10.0
DISK_FULL_WAIT_S = 5.0
SERVER_BACKOFF_S = 0.5  # sessions of a killed PostgreSQL hold its memory for a moment


@dataclass
class Watched:
    """A child, how to start it again, and how often it died."""

    child: Child
    launch: Callable[[], None]
    optional: bool
    deaths: Deaths = field(default_factory=Deaths)
    restart_at_s: float | None = None
    given_up: bool = False
    answers: Callable[[], bool] | None = None  # of a server: whether it is back
    recovering: bool = False  # a server that was started again and does not answer yet
    started_s: float = field(default_factory=time.monotonic)
    of_record: Callable[[float], bool] | None = None
    """Of a worker: whether a life that long ended in a record."""


class Supervisor:
    """One run of the platform. `run()` from the main thread: it takes the signals."""

    def __init__(self, settings: Settings, *, simulate: bool, line: StatusLine | None = None) -> None:
        self._settings = settings
        self._simulate = simulate
        self._line = line or StatusLine()
        self._stop = threading.Event()
        self._watched: list[Watched] = []
        self._model: AssetModel | None = None

    def run(self) -> int:
        """Until it is told to stop; the exit code. MillraceError when it cannot start or a child is
        hopeless.
        """
        if not (self._settings.home / IDENTITY_FILE).exists():
            before_folder.require(self._settings)
        previous = {number: signal.signal(number, self._asked) for number in (signal.SIGINT, signal.SIGTERM)}
        folder = DataFolder.open(self._settings)
        try:
            return self._on(folder)
        finally:
            endpoints_file.path_of(folder.path).unlink(missing_ok=True)
            folder.close()
            for number, handler in previous.items():
                signal.signal(number, handler)

    def _on(self, folder: DataFolder) -> int:
        for name in end_stale(folder.path):
            self._line.say(f"ended {name}, left over from a killed run")
        ports.require_free(self._settings)
        self._model = self._model_of_file()
        telemetry.clear_metrics_folder(metrics_folder(folder.path))
        self._line.say(f"starting on {folder.path} …")
        servers = Servers(folder, self._settings)
        try:
            servers.start()
            migrate(servers.addresses.postgres_url)
            self._claim(folder, servers)
            endpoints = self._endpoints(folder, servers)
            endpoints_file.write(endpoints)
            self._watch_servers(servers)
            self._start_processes(folder, endpoints)
            self._wait_ready(folder, endpoints)
            self._watch(endpoints)
        finally:
            self._line.say("stopping …")
            self._stop_processes()
            servers.stop()
        self._line.say("stopped; `millrace up` goes on from here")
        return 0

    def _claim(self, folder: DataFolder, servers: Servers) -> None:
        """The stores are this folder's and of one time, or marked as this folder's if they are new.

        Looked at before anything appends: behind a new tick, a stream of an older time looks like a whole one.
        """
        addresses, settings = servers.addresses, self._settings
        stream = ValkeyStream(
            addresses.stream_url, shard_count=folder.identity.shards, bytes_max=settings.stream_bytes_max
        )
        registry = Owners(addresses.postgres_url, "supervisor", settings)
        try:
            claim(folder.identity.text, stream=stream, registry=registry)
            for row in registry.shards():
                check_span(stream, row.shard, applied=row.positions.applied, snapshot=row.positions.snapshot)
        finally:
            registry.close()
            stream.close()

    def _asked(self, number: int, frame: FrameType | None) -> None:
        if self._stop.is_set():  # asked twice: no more waiting, the next start recovers
            for watched in self._watched:
                if watched.child.pid:
                    os.kill(watched.child.pid, signal.SIGKILL)
        self._stop.set()

    # --- start ------------------------------------------------------------------------------------

    def _endpoints(self, folder: DataFolder, servers: Servers) -> Endpoints:
        settings, addresses = self._settings, servers.addresses
        folder.token(settings)
        return Endpoints(
            pid=os.getpid(),
            home=str(folder.path),
            identity=folder.identity.text,
            shards=folder.identity.shards,
            api_url=settings.api_url,
            dashboard_url=f"http://127.0.0.1:{settings.dashboard_port}" if settings.dashboard else "",
            postgres_url=addresses.postgres_url,
            stream_url=addresses.stream_url,
            cache_url=addresses.cache_url,
            token_file=str(folder.path / "token"),
        )

    def _watch_servers(self, servers: Servers) -> None:
        for server in servers.embedded:
            deaths = Deaths(backoff_s=SERVER_BACKOFF_S)
            self._watched.append(
                Watched(server.child, server.launch, optional=False, deaths=deaths, answers=server.answers)
            )

    def _start_processes(self, folder: DataFolder, endpoints: Endpoints) -> None:
        environ = environment(self._settings, endpoints, os.environ)
        for role in roles(self._settings, endpoints.shards, simulate=self._simulate):
            self._start(role, child_of(role, folder.path, environ), endpoints)

    def _start(self, role: Role, child: Child, endpoints: Endpoints) -> None:
        child.start()
        is_worker = role.service == SERVICE_WORKER
        of_record = partial(died_of_record, endpoints.postgres_url) if is_worker else None
        self._watched.append(Watched(child, child.start, role.optional, of_record=of_record))

    def _wait_ready(self, folder: DataFolder, endpoints: Endpoints) -> None:
        """Every shard owned and the API ready, children that die on the way started again; a bounded wait."""
        until = time.monotonic() + READY_WAIT_S
        while not self._stop.is_set():
            self._mend(time.monotonic())
            if self._is_ready(endpoints):
                break
            if time.monotonic() > until:
                raise MillraceError(
                    f"not ready after {READY_WAIT_S:.0f} s; the logs in {folder.logs} end "
                    f"with:\n{self._ends()}"
                )
            time.sleep(WATCH_PACE_S)
        if self._stop.is_set():
            return
        self._put_model_in_force(endpoints, folder)
        folder.announce(endpoints.dashboard_url or endpoints.api_url)
        self._write_pids(endpoints)
        self._wait_page(endpoints)
        self._say_where(endpoints)

    def _is_ready(self, endpoints: Endpoints) -> bool:
        return ready.shards_owned(endpoints.postgres_url) >= endpoints.shards and ready.answers(
            f"{endpoints.api_url}/v1/health/ready", token=endpoints.token
        )

    def _wait_page(self, endpoints: Endpoints) -> None:
        """Whoever clicks on the address finds the page. Bounded: the flow needs no page and goes on."""
        until = time.monotonic() + PAGE_WAIT_S
        while time.monotonic() < until and not self._stop.is_set():
            if not self._page_comes(endpoints) or ready.answers(endpoints.dashboard_url, below=500):
                return
            self._mend(time.monotonic())
            time.sleep(WATCH_PACE_S)

    def _page_comes(self, endpoints: Endpoints) -> bool:
        """Whether there is one to wait for: asked for, and not given up."""
        running = (
            not watched.given_up for watched in self._watched if watched.child.name == SERVICE_DASHBOARD
        )
        return bool(endpoints.dashboard_url) and any(running)

    def _model_of_file(self) -> AssetModel | None:
        """The asset model that the settings name; a mistake in it is told before anything starts."""
        file = self._settings.asset_model
        return None if file is None else load_model(file, detectors=DETECTOR_NAMES)

    def _put_model_in_force(self, endpoints: Endpoints, folder: DataFolder) -> None:
        """What changed in the file since a start last did this."""
        file, model = self._settings.asset_model, self._model
        if file is None or model is None:
            return
        stream = ValkeyStream(
            endpoints.stream_url, shard_count=endpoints.shards, bytes_max=self._settings.stream_bytes_max
        )
        try:
            followed = follow(endpoints.postgres_url, stream, folder.path, file, model)
        finally:
            stream.close()
        self._line.say(f"asset model {file}: {followed.text}")

    def _say_where(self, endpoints: Endpoints) -> None:
        if endpoints.dashboard_url and not any(watched.given_up for watched in self._watched):
            self._line.say(f"  page   {page_to_open(self._settings, endpoints)}")
        self._line.say(f"  api    {endpoints.api_url}/v1   (contract: {endpoints.api_url}/openapi.json)")
        self._line.say(f"  token  {endpoints.token}")
        self._line.say("  Ctrl-C stops it; the data stays in " + endpoints.home)

    # --- watch ------------------------------------------------------------------------------------

    def _watch(self, endpoints: Endpoints) -> None:
        poller = StatsPoller(endpoints.api_url, endpoints.token)
        poller.start()
        shown_s = bounded_s = time.monotonic()
        unwritten = False
        try:
            while not self._stop.wait(WATCH_PACE_S):
                now_s = time.monotonic()
                unwritten |= self._mend(now_s)
                if unwritten:
                    unwritten = not self._write_pids(endpoints)
                if now_s - shown_s >= 1.0:
                    shown_s = now_s
                    self._line.show(poller.latest, now_s)
                if now_s - bounded_s >= 10.0:
                    bounded_s = now_s
                    for watched in self._watched:
                        watched.child.bound_log()
        finally:
            poller.stop()

    def _mend(self, now_s: float) -> bool:
        """Start again what died, when its time has come; whether something was started."""
        started = False
        for watched in self._watched:
            if watched.child.pid or watched.given_up:
                continue
            if watched.restart_at_s is None:
                self._note_death(watched, now_s)
            elif now_s >= watched.restart_at_s and self._servers_back(watched):
                started |= self._launched(watched, now_s)
        return started

    def _launched(self, watched: Watched, now_s: float) -> bool:
        """Start it again; False while the disk is too full even for its settings."""
        try:
            watched.launch()
        except OSError as error:
            if not self._disk_full():
                raise
            watched.restart_at_s = now_s + DISK_FULL_WAIT_S
            self._line.say(
                f"{watched.child.name} cannot be started ({error}); waiting until some space is freed"
            )
            return False
        watched.restart_at_s, watched.started_s = None, now_s
        watched.recovering = watched.answers is not None
        telemetry.SUPERVISOR_RESTARTS.inc()
        return True

    def _servers_back(self, watched: Watched) -> bool:
        """A process of ours waits for the servers: started before them, it would only die of their
        absence.
        """
        if watched.answers is not None:
            return True
        for server in self._watched:
            if server.recovering and server.child.pid and server.answers is not None and server.answers():
                server.recovering = False
        return not any(
            server.answers and (server.recovering or not server.child.pid) for server in self._watched
        )

    def _note_death(self, watched: Watched, now_s: float) -> None:
        child = watched.child
        telemetry.forget_process(child.last_pid)
        if child.exit_code == DataFolderError.exit_code and not watched.optional:
            raise DataFolderError(
                f"{child.name} cannot go on, and the platform stops:\n{child.last_lines(1)}"
            )
        killed = child.exit_code in (-signal.SIGKILL, -signal.SIGTERM)
        of_record = (
            not killed and watched.of_record is not None and watched.of_record(now_s - watched.started_s)
        )
        watched.restart_at_s = watched.deaths.note(now_s, killed=killed, of_record=of_record)
        cause = ", of a record that is quarantined if it goes on" if of_record else ""
        self._line.say(f"{child.name} died ({_how(child.exit_code)}{cause}); it is started again")
        if killed or not watched.deaths.too_many(now_s):
            return
        if self._disk_full():  # the servers cannot live without space, and stopping would not make any
            watched.restart_at_s = now_s + DISK_FULL_WAIT_S
            self._line.say(f"the disk of {self._settings.home} is full; waiting until some space is freed")
        elif watched.optional:
            watched.given_up = True
            self._line.say(f"{child.name} keeps dying and stays off; the flow goes on. See {child.log}")
        else:
            raise MillraceError(
                f"{child.name} died {watched.deaths.too_many(now_s)}; the platform stops. "
                f"Its log ({child.log}) ends with:\n{child.last_lines()}"
            )

    def _disk_full(self) -> bool:
        return shutil.disk_usage(self._settings.home).free < FREE_AT_START_BYTES

    def _write_pids(self, endpoints: Endpoints) -> bool:
        """False when the disk is too full for it: to be done again."""
        pids = {watched.child.name: watched.child.pid for watched in self._watched}
        try:
            endpoints_file.write(replace(endpoints, ready=True, pids=pids))
        except OSError:
            if not self._disk_full():
                raise
            return False
        return True

    def _ends(self) -> str:
        return "\n".join(
            f"--- {watched.child.name}\n{watched.child.last_lines(5)}" for watched in self._watched
        )

    # --- stop -------------------------------------------------------------------------------------

    def _stop_processes(self) -> None:
        """The plant and the page first, then the door, then the workers, all of one kind at once; bounded."""
        for services in ({SIMULATOR, SERVICE_DASHBOARD}, {SERVICE_API}, {SERVICE_WORKER}):
            group = [
                watched.child for watched in self._watched if watched.child.name.split("-")[0] in services
            ]
            for child in group:
                child.ask()
            for child in group:
                if not child.stop():
                    self._line.say(f"{child.name} did not stop in time and was killed; nothing is lost")


def _how(code: int | None) -> str:
    if code is not None and code < 0:
        return signal.Signals(-code).name
    return f"exit code {code}"
