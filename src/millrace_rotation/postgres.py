"""As much of PostgreSQL's protocol as a rotation needs: TLS, SCRAM-SHA-256, one statement after the other.

A driver would bring 60 times the code into a function that holds the master's password. What a driver does more
(types, parameters, pools, weaker ways to sign in) is not wanted here: values are never put into SQL but by
`database_user`, whose alphabet needs no quoting, and a server that asks for less than SCRAM is refused.
Source: PostgreSQL documentation, Frontend/Backend Protocol 3.0, and RFC 5802 with RFC 7677.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import socket
import ssl
import struct
from base64 import b64decode, b64encode
from types import TracebackType
from typing import Final, Self

PORT: Final = 5432
TIMEOUT_S: Final = 10.0
_PROTOCOL: Final = 3 << 16
_SSL_REQUEST: Final = 80877103
_SCRAM: Final = b"SCRAM-SHA-256"
_ITERATIONS: Final = 4096
"""PostgreSQL's own default; the passwords are random, so more rounds protect nothing."""

Row = tuple[str | None, ...]


class PostgresError(Exception):
    """What the server answered instead. SQLSTATE class 28: it does not let this user in."""

    def __init__(self, sqlstate: str, message: str) -> None:
        super().__init__(f"{sqlstate}: {message}")
        self.sqlstate = sqlstate


def session(*, host: str, database: str, user: str, password: str, port: int = PORT) -> Session:
    """A session in TLS; the certificate must be good for the host.

    Lambda's runtime knows the authorities of Amazon RDS. Source: AWS Lambda, using Lambda with Amazon RDS.
    """
    return Session(
        tls_socket(host, port, ssl.create_default_context()), database=database, user=user, password=password
    )


def tls_socket(host: str, port: int, context: ssl.SSLContext) -> socket.socket:
    """PostgreSQL begins TLS on its own port, after a question in the clear."""
    plain = socket.create_connection((host, port), timeout=TIMEOUT_S)
    try:
        plain.sendall(struct.pack("!ii", 8, _SSL_REQUEST))
        if plain.recv(1) != b"S":
            raise PostgresError("08P01", "the server offers no TLS: nothing was sent")
        return context.wrap_socket(plain, server_hostname=host)
    except BaseException:
        plain.close()
        raise


def scram_verifier(password: str) -> str:
    """What PostgreSQL stores for a password, in place of it."""
    salt = os.urandom(16)
    salted = _salted(password, salt, _ITERATIONS)
    stored = hashlib.sha256(_hmac(salted, b"Client Key")).digest()
    server = _hmac(salted, b"Server Key")
    return f"SCRAM-SHA-256${_ITERATIONS}:{_text(salt)}${_text(stored)}:{_text(server)}"


class Session:
    """One signed-in session over a connected socket, which it closes."""

    def __init__(self, connected: socket.socket, *, database: str, user: str, password: str) -> None:
        self._socket = connected
        self._file = connected.makefile("rb")
        try:
            self._begin(database, user)
            self._authenticate(password)
            self._until_ready()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._send(b"X", b"")
        self._file.close()
        self._socket.close()

    def execute(self, statement: str) -> list[Row]:
        """Its rows, as text. Committed when this returns; unknown if it raises anything but PostgresError."""
        self._send(b"Q", statement.encode() + b"\0")
        return self._until_ready()

    def _begin(self, database: str, user: str) -> None:
        options = ("user", user, "database", database, "application_name", "millrace rotation")
        content = struct.pack("!i", _PROTOCOL) + b"".join(one.encode() + b"\0" for one in options) + b"\0"
        self._socket.sendall(struct.pack("!i", len(content) + 4) + content)

    def _authenticate(self, password: str) -> None:
        code, mechanisms = self._asked()
        if code != 10 or _SCRAM not in mechanisms.split(b"\0"):
            raise PostgresError("08P01", "the server does not ask for SCRAM-SHA-256: no password was sent")
        ours = b"n=,r=" + b64encode(os.urandom(18))
        self._send(b"p", _SCRAM + b"\0" + struct.pack("!i", len(ours) + 3) + b"n,," + ours)
        code, theirs = self._asked()
        answer, proof_of_server = _scram_answer(password, ours, theirs)
        self._send(b"p", answer)
        code, final = self._asked()
        if code != 12 or not hmac.compare_digest(final, b"v=" + b64encode(proof_of_server)):
            raise PostgresError("08P01", "the server does not know the password itself: it is another one")
        if self._asked()[0] != 0:
            raise PostgresError("08P01", "the server asks for more than a password")

    def _asked(self) -> tuple[int, bytes]:
        kind, content = self._receive()
        if kind == b"E":
            raise _error(content)
        if kind != b"R":
            raise PostgresError("08P01", f"an answer {kind!r} in the middle of signing in")
        return struct.unpack("!i", content[:4])[0], content[4:]

    def _until_ready(self) -> list[Row]:
        rows, error = [], None
        while True:
            kind, content = self._receive()
            if kind == b"D":
                rows.append(_row(content))
            elif kind == b"E":
                error = _error(content)
                if error.sqlstate.startswith(("57P", "28", "3D")):  # after these no "ready" follows
                    raise error
            elif kind == b"Z":
                if error is not None:
                    raise error
                return rows

    def _send(self, kind: bytes, content: bytes) -> None:
        self._socket.sendall(kind + struct.pack("!i", len(content) + 4) + content)

    def _receive(self) -> tuple[bytes, bytes]:
        head = self._exactly(5)
        return head[:1], self._exactly(struct.unpack("!i", head[1:])[0] - 4)

    def _exactly(self, count: int) -> bytes:
        content = self._file.read(count)
        if len(content) < count:
            raise ConnectionResetError("PostgreSQL closed the connection")
        return content


def _scram_answer(password: str, ours: bytes, theirs: bytes) -> tuple[bytes, bytes]:
    """Our last message, and what the server must answer to prove that it knows the password too."""
    said = dict(part.split(b"=", 1) for part in theirs.split(b","))
    if not said[b"r"].startswith(ours.partition(b"r=")[2]):
        raise PostgresError("08P01", "the server answers somebody else")
    salted = _salted(password, b64decode(said[b"s"]), int(said[b"i"]))
    key = _hmac(salted, b"Client Key")
    last = b"c=biws,r=" + said[b"r"]
    conversation = b",".join((ours, theirs, last))
    signature = _hmac(hashlib.sha256(key).digest(), conversation)
    proof = bytes(one ^ other for one, other in zip(key, signature, strict=True))
    return last + b",p=" + b64encode(proof), _hmac(_hmac(salted, b"Server Key"), conversation)


def _salted(password: str, salt: bytes, iterations: int) -> bytes:
    # beyond ASCII the standard prescribes a normalization; Amazon RDS takes printable ASCII only
    return hashlib.pbkdf2_hmac("sha256", password.encode("ascii"), salt, iterations)


def _hmac(key: bytes, message: bytes) -> bytes:
    return hmac.digest(key, message, "sha256")


def _text(content: bytes) -> str:
    return b64encode(content).decode()


def _row(content: bytes) -> Row:
    (count,), at = struct.unpack("!h", content[:2]), 2
    values: list[str | None] = []
    for _ in range(count):
        (length,) = struct.unpack("!i", content[at : at + 4])
        at += 4
        values.append(None if length < 0 else content[at : at + length].decode())
        at += max(0, length)
    return tuple(values)


def _error(content: bytes) -> PostgresError:
    fields = {part[:1]: part[1:].decode(errors="replace") for part in content.split(b"\0") if part}
    return PostgresError(fields.get(b"C", "XX000"), fields.get(b"M", "no message"))
