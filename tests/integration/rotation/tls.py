"""TLS before the real PostgreSQL, built without: a certificate, and a door that ends TLS as PostgreSQL does."""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.integration.rotation.conftest import Database

Answer = Callable[[socket.socket], None]


def certificate(folder: Path, host: str) -> Path:
    """Self-signed for that name or address, key and certificate in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([_named(host)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    file = folder / f"{host}.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return file


def _named(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def door(answer: Answer, host: str, port: int = 0) -> socket.socket:
    """Listens there, and treats each connection so."""
    listening = socket.create_server((host, port))

    def run() -> None:
        try:
            while True:
                answer(listening.accept()[0])
        except OSError:
            return

    threading.Thread(target=run, daemon=True).start()
    return listening


def shut(one: socket.socket) -> None:
    one.shutdown(socket.SHUT_RDWR)
    one.close()


def tls_before(database: Database, file: Path) -> Answer:
    """Ends TLS as PostgreSQL does, and passes on to the real one, which was built without."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)

    def answer(client: socket.socket) -> None:
        assert client.recv(8) == struct.pack("!ii", 8, 80877103)
        client.sendall(b"S")
        secured = context.wrap_socket(client, server_side=True)
        behind = socket.socket(socket.AF_UNIX)
        behind.connect(f"{database.folder}/.s.PGSQL.5432")
        threading.Thread(target=pass_on, args=(behind, secured), daemon=True).start()
        pass_on(secured, behind)

    return answer


def pass_on(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while content := source.recv(65536):
            target.sendall(content)
    target.close()
