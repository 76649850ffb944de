"""PostgreSQL as the API reads it: a bounded pool, a time limit on every statement, one way to fail."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from typing import Any, TypeVar

import psycopg
from psycopg.rows import dict_row, tuple_row

from millrace.errors import StoreUnavailable

T = TypeVar("T")
CONNECTIONS_MAX = 8
STATEMENT_TIMEOUT_MS = 5_000
POOL_WAIT_S = 2.0
QUERY_WAIT_S = 10.0

Connection = psycopg.Connection[Any]


class Store:
    """Connections to PostgreSQL, at most `CONNECTIONS_MAX`; each statement ends within five seconds."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._idle: queue.LifoQueue[Connection | None] = queue.LifoQueue()
        for _ in range(CONNECTIONS_MAX):
            self._idle.put(None)

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """A connection in autocommit; StoreUnavailable when there is none or it breaks."""
        try:
            held = self._idle.get(timeout=POOL_WAIT_S)
        except queue.Empty:
            raise StoreUnavailable("PostgreSQL: all connections of the API are busy") from None
        try:
            if held is None or held.closed:
                held = self._connect()
            yield held
        except psycopg.errors.QueryCanceled as error:
            raise StoreUnavailable(f"PostgreSQL: a query took over {STATEMENT_TIMEOUT_MS} ms") from error
        except psycopg.OperationalError as error:
            if held is not None:
                held.close()
            held = None
            raise StoreUnavailable(f"PostgreSQL: {_first_line(error)}") from error
        finally:
            self._idle.put(held if held is not None and not held.closed else None)

    def _connect(self) -> Connection:
        return psycopg.connect(
            self._url,
            autocommit=True,
            connect_timeout=2,
            options=f"-c statement_timeout={STATEMENT_TIMEOUT_MS} -c application_name=millrace-api",
        )

    def rows(self, sql: str, parameters: Sequence[Any] | dict[str, Any] = ()) -> list[dict[str, Any]]:
        """Rows as mappings."""
        with self.connection() as connection, connection.cursor(row_factory=dict_row) as cursor:
            return cursor.execute(sql, parameters).fetchall()

    def tuples(self, sql: str, parameters: Sequence[Any] | dict[str, Any] = ()) -> list[tuple[Any, ...]]:
        """Rows as tuples, in the server's binary format: for many rows of few columns."""
        with self.connection() as connection, connection.cursor(row_factory=tuple_row, binary=True) as cursor:
            return cursor.execute(sql, parameters).fetchall()

    def close(self) -> None:
        """Close what is idle."""
        while True:
            try:
                held = self._idle.get_nowait()
            except queue.Empty:
                return
            if held is not None:
                held.close()


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


async def in_thread(executor: Executor, call: Callable[..., T], *arguments: Any) -> T:
    """Run a blocking call in a bounded pool; StoreUnavailable when it takes too long."""
    future = asyncio.get_running_loop().run_in_executor(executor, call, *arguments)
    try:
        return await asyncio.wait_for(future, QUERY_WAIT_S)
    except TimeoutError:
        raise StoreUnavailable(f"PostgreSQL gave no answer within {QUERY_WAIT_S:g} s") from None
