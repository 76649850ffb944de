"""One connection to PostgreSQL that is opened when needed, and dropped at the first doubt."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import psycopg

from millrace.errors import StoreUnavailable

# SQLSTATE classes and codes after which the same transaction may work later:
# connection trouble, a fail-over's read-only server, shutdown, deadlock, disk or connections exhausted,
# timeouts.
RETRYABLE: Final = ("08", "57P", "25006", "40001", "40P01", "53", "55P03", "57014", "58")

CONNECT_TIMEOUT_S: Final = 5
STATEMENT_TIMEOUT_S: Final = 30

Cursor = psycopg.Cursor[Any]


def application_name(owner: str) -> str:
    """How a worker's sessions are called, so that who takes its shards over can end them."""
    return f"millrace {owner}"[:63]


def is_retryable(error: psycopg.Error) -> bool:
    """Whether the server, not our statement, is the trouble."""
    state = error.sqlstate
    if state is None:
        return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
    return state.startswith(RETRYABLE)


class Connection:
    """Hands out transactions; StoreUnavailable when the server is away, and a new try at the next call.

    `setup` are statements for each new session (temp tables). A session that sits in an open transaction for
    longer than `idle_s` is ended by the server: a stopped process must not hold locks beyond its ownership.
    """

    def __init__(
        self, url: str, *, owner: str = "", idle_s: float = 5.0, setup: tuple[str, ...] = ()
    ) -> None:
        self._url = url
        self._owner = owner
        self._idle_ms = max(1_000, round(idle_s * 1_000))
        self._setup = setup
        self._connection: psycopg.Connection[Any] | None = None

    @contextmanager
    def session(self) -> Iterator[psycopg.Connection[Any]]:
        """An autocommit session."""
        try:
            yield self._opened()
        except psycopg.Error as error:
            if is_retryable(error):
                self.close()
                raise StoreUnavailable(f"PostgreSQL: {str(error).strip()}") from error
            raise

    @contextmanager
    def transaction(self) -> Iterator[Cursor]:
        """A cursor in one transaction, committed at the end; after StoreUnavailable its outcome is
        unknown."""
        with self.session() as connection, connection.transaction(), connection.cursor() as cursor:
            yield cursor

    def close(self) -> None:
        """Let go of the session; the next call opens another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _opened(self) -> psycopg.Connection[Any]:
        if self._connection is None or self._connection.closed:
            self._connection = self._open()
        return self._connection

    def _open(self) -> psycopg.Connection[Any]:
        options = f"-c statement_timeout={STATEMENT_TIMEOUT_S}s -c lock_timeout=10s"
        options += f" -c idle_in_transaction_session_timeout={self._idle_ms} -c client_min_messages=warning"
        connection = psycopg.connect(
            self._url,
            autocommit=True,
            connect_timeout=CONNECT_TIMEOUT_S,
            application_name=application_name(self._owner),
            options=options,
            keepalives_idle=5,
            keepalives_interval=2,
            keepalives_count=3,
        )
        try:
            for statement in self._setup:
                connection.execute(statement.encode())
        except psycopg.Error:
            connection.close()
            raise
        return connection
