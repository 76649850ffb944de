"""The function's own PostgreSQL client: only in TLS, only with SCRAM, only with the server that is meant."""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from millrace import names
from millrace_rotation.database_user import Credentials
from millrace_rotation.postgres import PostgresError, Session, scram_verifier, tls_socket
from tests.integration.rotation.conftest import MASTER_PASSWORD, Database
from tests.integration.rotation.tls import Answer, certificate, door, shut, tls_before


@pytest.fixture
def listening() -> Iterator[Callable[[Answer], int]]:
    """A server on this machine that treats each connection so; its port."""
    opened: list[socket.socket] = []

    def serve(answer: Answer) -> int:
        opened.append(door(answer, "127.0.0.1"))
        return int(opened[-1].getsockname()[1])

    yield serve
    for one in opened:
        shut(one)


def master_session(database: Database, port: int, trusted: Path, host: str = "localhost") -> Session:
    connected = tls_socket(host, port, ssl.create_default_context(cafile=str(trusted)))
    return Session(connected, database=database.name, user=names.DATABASE_MASTER, password=MASTER_PASSWORD)


@pytest.mark.requirement("S-11")
def test_it_speaks_to_a_real_server_in_tls(
    database: Database, listening: Callable[[Answer], int], tmp_path: Path
) -> None:
    file = certificate(tmp_path, "localhost")
    port = listening(tls_before(database, file))
    with master_session(database, port, file) as session:
        assert session.execute("SELECT 1, NULL, ''") == [("1", None, "")]
        assert session.execute("SELECT g FROM generate_series(1, 3) g") == [("1",), ("2",), ("3",)]
        assert session.execute("SET search_path = public") == []
        with pytest.raises(PostgresError, match=r"42P01.*nowhere"):
            session.execute("SELECT * FROM nowhere")
        assert session.execute("SELECT 'still there'") == [("still there",)]


@pytest.mark.requirement("S-11")
def test_a_certificate_of_somebody_else_ends_it_before_a_word_is_said(
    database: Database, listening: Callable[[Answer], int], tmp_path: Path
) -> None:
    ours, theirs = certificate(tmp_path, "localhost"), certificate(tmp_path, "other.example.com")
    with pytest.raises(ssl.SSLCertVerificationError):
        master_session(database, listening(lambda one: tls_quietly(database, theirs, one)), ours)
    with pytest.raises(ssl.SSLCertVerificationError, match="localhost"):
        master_session(database, listening(lambda one: tls_quietly(database, theirs, one)), theirs)


def tls_quietly(database: Database, file: Path, client: socket.socket) -> None:
    try:
        tls_before(database, file)(client)
    except ssl.SSLError:
        client.close()


@pytest.mark.requirement("S-11")
def test_a_server_without_tls_hears_neither_user_nor_password(
    database: Database, listening: Callable[[Answer], int], tmp_path: Path
) -> None:
    heard: list[bytes] = []

    def refuse(client: socket.socket) -> None:
        heard.append(client.recv(8))
        client.sendall(b"N")
        heard.append(client.recv(1000))

    with pytest.raises(PostgresError, match="no TLS"):
        master_session(database, listening(refuse), certificate(tmp_path, "localhost"))
    assert heard[1:] in ([], [b""])


@pytest.mark.requirement("S-11")
@pytest.mark.parametrize("asks", [3, 5, 0])
def test_a_server_that_asks_for_less_than_scram_gets_no_password(
    asks: int, listening: Callable[[Answer], int]
) -> None:
    heard: list[bytes] = []

    def answer(client: socket.socket) -> None:
        heard.append(client.recv(1000))
        client.sendall(b"R" + struct.pack("!ii", 12, asks) + b"salt")
        heard.append(client.recv(1000))

    connected = socket.create_connection(("127.0.0.1", listening(answer)), timeout=5)
    with pytest.raises(PostgresError, match="does not ask for SCRAM"):
        Session(connected, database="x", user="u", password="the-password")
    assert not any(b"the-password" in one for one in heard)


@pytest.mark.requirement("S-11")
def test_a_server_that_does_not_know_the_password_is_not_believed(
    listening: Callable[[Answer], int],
) -> None:
    def answer(client: socket.socket) -> None:
        client.recv(1000)
        client.sendall(message(10, b"SCRAM-SHA-256\0\0"))
        nonce = client.recv(1000).partition(b"r=")[2]
        client.sendall(message(11, b"r=" + nonce + b"more,s=c2FsdA==,i=4096"))
        client.recv(1000)
        client.sendall(message(12, b"v=" + b"A" * 44) + message(0, b""))
        client.recv(1)

    connected = socket.create_connection(("127.0.0.1", listening(answer)), timeout=5)
    with pytest.raises(PostgresError, match="does not know the password"):
        Session(connected, database="x", user="u", password="p")


def message(code: int, content: bytes) -> bytes:
    return b"R" + struct.pack("!ii", len(content) + 8, code) + content


@pytest.mark.requirement("S-11")
def test_another_client_signs_in_with_the_verifier_that_it_makes(database: Database) -> None:
    with psycopg.connect(database.url("millrace"), autocommit=True) as superuser:
        superuser.execute(f"CREATE ROLE judge LOGIN PASSWORD '{scram_verifier('of-36-bytes_')}'".encode())
        try:
            psycopg.connect(database.url("judge", "of-36-bytes_")).close()
            database.sign_in(Credentials("judge", "of-36-bytes_")).close()
            with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
                psycopg.connect(database.url("judge", "another"))
            with pytest.raises(PostgresError, match="28P01"):
                database.sign_in(Credentials("judge", "another"))
        finally:
            superuser.execute("DROP ROLE judge")


@pytest.mark.requirement("S-11")
def test_a_session_that_the_server_ends_says_so(database: Database) -> None:
    session = database.sign_in(database.master())
    ((pid,),) = session.execute("SELECT pg_backend_pid()")
    with psycopg.connect(database.url("millrace"), autocommit=True) as superuser:
        superuser.execute("SELECT pg_terminate_backend(%s)", [int(pid or 0)])
    with pytest.raises((PostgresError, ConnectionError)):
        session.execute("SELECT 1")
    session.close()
