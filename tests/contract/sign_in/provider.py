"""An identity provider that lies as a test wants: discovery, keys, code and ID token, over HTTP on this machine."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

from joserfc import jwt
from joserfc.jwk import OctKey, RSAKey

CLIENT_ID, CLIENT_SECRET = "millrace-dashboard", "the-secret-of-the-page"
CODE = "a-code"
OWN = "own"
Claims = dict[str, Any]


@dataclass(frozen=True)
class Raw:
    """An answer as bytes; `pause_s` lies between two of them."""

    body: bytes = b"<!doctype html><title>Down for maintenance</title>"
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    pause_s: float = 0.0


@dataclass
class Provider:
    """`claims` changes what an ID token says, `metadata` what discovery says; `sign_as` is the token's algorithm.
    `raw` has answers by path that stand above all else."""

    claims: Callable[[Claims], Claims] = lambda said: said
    metadata: Claims = field(default_factory=dict)
    sign_as: str = "RS256"
    with_key: Any = None
    token: Claims = field(default_factory=dict)
    user_info: Claims = field(default_factory=dict)
    down: bool = False
    raw: dict[str, Raw] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    nonce: str = ""
    challenge: str = ""
    key: RSAKey = field(default_factory=lambda: own_key())
    server: ThreadingHTTPServer = field(init=False)

    def __post_init__(self) -> None:
        self.server = _Server(("127.0.0.1", 0), _handler(self))
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"

    def authorized(self, location: str) -> dict[str, str]:
        """What a person who says yes brings back from where the page sent them."""
        asked = dict(parse_qsl(urlsplit(location).query))
        self.nonce, self.challenge = asked["nonce"], asked["code_challenge"]
        return {"code": CODE, "state": asked["state"]}

    def answer(self, method: str, path: str, body: str, authorization: str) -> tuple[int, Claims]:
        if self.down:
            return 503, {}
        if path == "/.well-known/openid-configuration":
            return 200, self._about()
        if path == "/keys":
            return 200, {"keys": [self.key.as_dict(private=False)]}
        if path == "/user-info":
            return 200, self.user_info
        return self._exchanged({k: v[0] for k, v in parse_qs(body).items()}, authorization)

    def _about(self) -> Claims:
        return {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/keys",
            "id_token_signing_alg_values_supported": ["RS256", "HS256", "none"],
        } | self.metadata

    def _exchanged(self, form: dict[str, str], authorization: str) -> tuple[int, Claims]:
        """A code becomes tokens for who knows the secret and the verifier."""
        self.asked.append(("token", form))
        known = base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode()
        posted = (form.get("client_id"), form.get("client_secret")) == (CLIENT_ID, CLIENT_SECRET)
        if authorization != f"Basic {known}" and not posted:
            return 401, {"error": "invalid_client"}
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        if (
            form.get("code") != CODE
            or base64.urlsafe_b64encode(digest).decode().rstrip("=") != self.challenge
        ):
            return 400, {"error": "invalid_grant", "error_description": "the code is not yours"}
        tokens = {"access_token": "an-access-token", "token_type": "Bearer", **self._id_token()}
        return 200, tokens | self.token

    def _id_token(self) -> Claims:
        now_s = int(time.time())
        said = self.claims({
            "iss": self.url, "sub": "person-1", "aud": CLIENT_ID, "iat": now_s, "exp": now_s + 300,
            "nonce": self.nonce, "name": "Ada Lovelace",
        })  # fmt: skip
        if self.sign_as == "none":
            return {"id_token": _unsigned(said)}
        key = self.with_key or self.key
        header = {"alg": self.sign_as} | ({"kid": key.kid} if key.kid else {})
        return {"id_token": jwt.encode(header, said, key, algorithms=[self.sign_as])}


def other_key(name: str) -> RSAKey:
    """A key that is not the provider's, whatever its name."""
    return RSAKey.generate_key(2048, {"kid": name})


def shared_secret() -> OctKey:
    return OctKey.import_key(CLIENT_SECRET.ljust(32, "."))


@contextmanager
def providing() -> Iterator[Provider]:
    provider = Provider()
    try:
        yield provider
    finally:
        provider.server.shutdown()


@cache
def own_key() -> RSAKey:
    return RSAKey.generate_key(2048, {"kid": OWN})


def _unsigned(claims: Claims) -> str:
    parts = [base64.urlsafe_b64encode(json.dumps(one).encode()).decode() for one in ({"alg": "none"}, claims)]
    return ".".join(part.rstrip("=") for part in parts) + "."


class _Server(ThreadingHTTPServer):
    def handle_error(self, *args: Any) -> None:
        """Quiet: who had enough of a long answer went."""


def _handler(provider: Provider) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer("GET")

        def do_POST(self) -> None:
            self._answer("POST")

        def _answer(self, method: str) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
            if raw := provider.raw.get(urlsplit(self.path).path):
                self._answer_raw(raw)
                return
            status, said = provider.answer(
                method, urlsplit(self.path).path, body, self.headers.get("Authorization", "")
            )
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            takes_packed = "gzip" in self.headers.get("Accept-Encoding", "")
            if takes_packed:
                self.send_header("Content-Encoding", "gzip")
            self.end_headers()
            content = json.dumps(said).encode()
            self.wfile.write(gzip.compress(content) if takes_packed else content)

        def _answer_raw(self, raw: Raw) -> None:
            self.send_response(raw.status)
            for name, value in ({"Content-Type": "text/html"} | raw.headers).items():
                self.send_header(name, value)
            self.end_headers()
            parts = [bytes([byte]) for byte in raw.body] if raw.pause_s else [raw.body]
            for part in parts:
                self.wfile.write(part)
                time.sleep(raw.pause_s)

        def log_message(self, *args: Any) -> None:
            """Quiet."""

    return Handler
