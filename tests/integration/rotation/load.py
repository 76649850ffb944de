"""Writers with the rotating user: each keeps what it read of the secret until the database refuses it."""

from __future__ import annotations

import itertools
import threading
import time
from types import TracebackType
from typing import Self

import psycopg

from tests.integration.rotation.conftest import Database
from tests.integration.rotation.faults import Secret

TRIES_MAX = 5
WAIT_S_MAX = 60.0


class Load:
    """Writes one row after the other, with a connection of its own for each, until it is left."""

    def __init__(self, database: Database, secret: Secret, *, writers: int) -> None:
        self._database = database
        self._secret = secret
        self._numbers = itertools.count()
        self._end = threading.Event()
        self._counted = threading.Condition()
        self._threads = [threading.Thread(target=self._run) for _ in range(writers)]
        self.written = 0
        self.rereads = 0
        self.failures: list[str] = []

    def __enter__(self) -> Self:
        with self._database.as_migration() as connection:
            connection.execute("DROP TABLE IF EXISTS written")
            connection.execute("CREATE TABLE written (n bigint PRIMARY KEY)")
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join(WAIT_S_MAX)

    def wait_for_writes(self, more: int) -> None:
        """Until every writer has had the time for so many."""
        with self._counted:
            wanted = self.written + more * len(self._threads)
            assert self._counted.wait_for(lambda: self.written >= wanted or self.failures, WAIT_S_MAX)

    def _run(self) -> None:
        cached = self._secret.value()
        while not self._end.is_set() and not self.failures:
            cached = self._write(next(self._numbers), cached)
            time.sleep(0.005)

    def _write(self, number: int, cached: str) -> str:
        """Writes for good, and returns what worked: the cached value, else the current, else the pending one."""
        tries = [lambda: cached] + [self._current, self._pending] * TRIES_MAX
        said = ""
        for value in tries:
            try:
                found = value()
                with self._database.connect(found) as connection:
                    connection.execute("INSERT INTO written VALUES (%s)", [number])
            except (psycopg.OperationalError, LookupError) as error:
                said = str(error)
                continue
            with self._counted:
                self.written += 1
                self._counted.notify_all()
            return found
        self.failures.append(f"{number}: {said}")
        return cached

    def _current(self) -> str:
        self.rereads += 1
        return self._secret.value()

    def _pending(self) -> str:
        try:
            return self._secret.value("AWSPENDING")
        except self._secret.manager.exceptions.ResourceNotFoundException as error:
            raise LookupError("nothing is pending") from error
