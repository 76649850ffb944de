"""Ends TLS as PostgreSQL does, in front of the real one, whose build knows none."""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import socket
import ssl
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

PORT = 5432
SSL_REQUEST = struct.pack("!ii", 8, 80877103)


@contextmanager
def tls_door(address: str, certificate: Path, behind: Path) -> Iterator[None]:
    """Listens at that address, at PostgreSQL's own port, and passes on to the socket `behind`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    door = socket.create_server((address, PORT))

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = door.accept()
                threading.Thread(target=let_in, args=(client, context, behind), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            door.shutdown(socket.SHUT_RDWR)
        door.close()


def let_in(client: socket.socket, context: ssl.SSLContext, behind: Path) -> None:
    """Nobody who does not ask for TLS."""
    if client.recv(8) != SSL_REQUEST:
        client.close()
        return
    client.sendall(b"S")
    with contextlib.suppress(OSError):
        secured = context.wrap_socket(client, server_side=True)
        server = socket.socket(socket.AF_UNIX)
        server.connect(str(behind))
        threading.Thread(target=pass_on, args=(server, secured), daemon=True).start()
        pass_on(secured, server)


def pass_on(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while content := source.recv(65536):
            target.sendall(content)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)
    target.close()


def authority_and_certificate(folder: Path, address: str) -> tuple[Path, Path]:
    """A file of an authority, and one of a key and the certificate for that address that the authority signed."""
    ca_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    authority = f"authority of {folder.name}"
    ca = signed(authority, ca_key.public_key(), authority, ca_key)
    certificate = signed("a server", key.public_key(), authority, ca_key, address)
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    files = folder / "authority.pem", folder / "server.pem"
    files[0].write_bytes(ca.public_bytes(pem))
    files[1].write_bytes(private + certificate.public_bytes(pem))
    return files


def signed(
    name: str, public: ec.EllipticCurvePublicKey, by: str, key: ec.EllipticCurvePrivateKey, address: str = ""
) -> x509.Certificate:
    """By the authority; for a server at that address, or the authority's own."""
    now = datetime.datetime.now(datetime.UTC)
    subject, issuer = (x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, one)]) for one in (name, by))
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=not address, path_length=None), critical=True)
    )
    if address:
        where = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))])
        made = made.add_extension(where, critical=False)
    return made.sign(key, hashes.SHA256())
