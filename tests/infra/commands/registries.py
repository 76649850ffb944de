"""Real registries on this machine: one that anybody reads and writes, one that asks for a password as ECR does.

The registry is go-containerregistry's own, served by `crane`. It knows no password, so a small proxy asks for it.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import httpx
from werkzeug.serving import make_server
from werkzeug.wrappers import Request, Response

PASSWORD: Final = "of-twelve-hours"
OCI, DOCKER = "application/vnd.oci.image", "application/vnd.docker"
INDEXES: Final = (f"{OCI}.index.v1+json", f"{DOCKER}.distribution.manifest.list.v2+json")
MANIFESTS: Final = (f"{OCI}.manifest.v1+json", f"{DOCKER}.distribution.manifest.v2+json")
CONFIGS: Final = (f"{OCI}.config.v1+json", f"{DOCKER}.container.image.v1+json")
LAYERS: Final = (f"{OCI}.layer.v1.tar+gzip", f"{DOCKER}.image.rootfs.diff.tar.gzip")
"""Media types: OCI's, Docker's."""
_NOT_PASSED_ON: Final = {"host", "connection", "transfer-encoding", "content-length", "authorization"}


@dataclass(frozen=True)
class Registry:
    """`address` is what an image's name begins with."""

    address: str
    password: str = ""

    def ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        url = path if path.startswith("http") else f"http://{self.address}{path}"
        return httpx.request(method, url, auth=("AWS", self.password) if self.password else None, **more)

    def put_blob(self, repository: str, content: bytes, media_type: str) -> dict[str, Any]:
        """Its descriptor."""
        place = self.ask("POST", f"/v2/{repository}/blobs/uploads/").headers["Location"]
        digest = digest_of(content)
        self.ask("PUT", place, params={"digest": digest}, content=content).raise_for_status()
        return {"mediaType": media_type, "digest": digest, "size": len(content)}

    def put_manifest(self, repository: str, manifest: dict[str, Any]) -> dict[str, Any]:
        content = json.dumps(manifest, indent=1).encode()  # bytes that nobody would write again by chance
        said = {"Content-Type": manifest["mediaType"]}
        digest = digest_of(content)
        path = f"/v2/{repository}/manifests/{digest}"
        self.ask("PUT", path, content=content, headers=said).raise_for_status()
        return {"mediaType": manifest["mediaType"], "digest": digest, "size": len(content)}

    def put_image(self, repository: str, style: int, platforms: tuple[str, ...]) -> str:
        """An image of random layers, for one platform or with an index over several; its reference by digest."""
        manifests = [self._put_platform(repository, style, one) for one in platforms]
        made = manifests[0]
        if len(platforms) > 1:
            made = self.put_manifest(
                repository, {"schemaVersion": 2, "mediaType": INDEXES[style], "manifests": manifests}
            )
        return f"{self.address}/{repository}@{made['digest']}"

    def _put_platform(self, repository: str, style: int, architecture: str) -> dict[str, Any]:
        config = json.dumps(
            {"architecture": architecture, "os": "linux", "rootfs": {"type": "layers"}}
        ).encode()
        layers = [f"{architecture} layer {number}".encode() * 100 for number in range(2)]
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFESTS[style],
            "config": self.put_blob(repository, config, CONFIGS[style]),
            "layers": [self.put_blob(repository, one, LAYERS[style]) for one in layers],
        }
        platform = {"architecture": architecture, "os": "linux"}
        return self.put_manifest(repository, manifest) | {"platform": platform}

    def digest(self, repository: str, reference: str) -> str:
        """What a tag or a digest stands for there; empty if it is not there."""
        found = self._manifest(repository, reference)
        return "" if found.status_code == 404 else digest_of(found.raise_for_status().content)

    def whole(self, repository: str, digest: str) -> dict[str, bytes]:
        """The manifest, and everything that it leads to, by their digests."""
        found = self._manifest(repository, digest).raise_for_status().content
        said, everything = json.loads(found), {digest: found}
        for one in said.get("manifests", ()):
            everything |= self.whole(repository, one["digest"])
        for one in [*said.get("layers", ()), *([said["config"]] if "config" in said else [])]:
            everything |= self._blob(repository, one["digest"])
        return everything

    def _blob(self, repository: str, digest: str) -> dict[str, bytes]:
        return {digest: self.ask("GET", f"/v2/{repository}/blobs/{digest}").raise_for_status().content}

    def _manifest(self, repository: str, reference: str) -> httpx.Response:
        accepted = {"Accept": ", ".join((*INDEXES, *MANIFESTS))}
        return self.ask("GET", f"/v2/{repository}/manifests/{reference}", headers=accepted)


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


@contextmanager
def registry(crane: str) -> Iterator[Registry]:
    """An empty one, in memory, on a port that it chose."""
    process = subprocess.Popen(
        [crane, "registry", "serve", "--address", "127.0.0.1:0"], stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    try:
        (port,) = re.findall(r"port (\d+)", process.stderr.readline())
        yield Registry(f"127.0.0.1:{port}")
    finally:
        process.terminate()
        process.wait(timeout=60)
        process.stderr.close()


@contextmanager
def guarded(inner: Registry) -> Iterator[Registry]:
    """The same registry behind ECR's question: basic authentication, on every call."""

    def answer(environ: Any, start_response: Any) -> Any:
        request = Request(environ)
        given = request.authorization
        if given is None or (given.username, given.password) != ("AWS", PASSWORD):
            asked = {"WWW-Authenticate": 'Basic realm="https://ecr.example.com/",service="ecr"'}
            return Response(status=401, headers=asked)(environ, start_response)
        return _passed_on(request, inner)(environ, start_response)

    logging.getLogger("werkzeug").setLevel("CRITICAL")  # Docker tries TLS first
    server = make_server("127.0.0.1", 0, answer, threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield Registry(f"127.0.0.1:{server.port}", PASSWORD)
    finally:
        server.shutdown()
        server.server_close()


def _passed_on(request: Request, inner: Registry) -> Response:
    headers = {key: value for key, value in request.headers if key.lower() not in _NOT_PASSED_ON}
    said = inner.ask(
        request.method, request.full_path.rstrip("?"), content=request.get_data(), headers=headers
    )
    kept = [
        (key, value)
        for key, value in said.headers.items()
        if key.lower() not in ("connection", "transfer-encoding")
    ]
    return Response(said.content, said.status_code, kept)
