"""Stands in for Docker where `deploy` copies images: no registry is here to copy from, and ECR's is an address of AWS.

It takes the two commands that `images.py` gives and no others. Signing in needs the password that the emulator's ECR
hands out. A copy takes the manifest that has the asked digest, checks that, and puts it into the repository, where
`describe_images` finds it by the same digest. Layers are not copied, nothing is pulled or run.
"""

from __future__ import annotations

import base64
import hashlib
import json
import sys
from pathlib import Path
from typing import Any, Final

NAMES: Final = ("worker", "api", "dashboard", "collector")
SIGNED_IN: Final = "signed-in"
MEDIA_TYPE: Final = "application/vnd.oci.image.index.v1+json"
RELEASE: Final = "release"
"""File with what tells one build from the next."""


def install(folder: Path) -> Path:
    """The folder for PATH, with the double in it."""
    folder.mkdir(exist_ok=True)
    shim = folder / "docker"
    if not shim.exists():
        (folder / RELEASE).write_text("1")
        shim.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{__file__}" "{folder}" "$@"\n')
        shim.chmod(0o755)
    return folder


def release(folder: Path, number: str) -> None:
    """Other images from now on."""
    (folder / RELEASE).write_text(number)


def images(folder: Path) -> dict[str, str]:
    """The variables that name the images, whose manifests lie in the folder."""
    number = (folder / RELEASE).read_text()
    chosen = {}
    for name in NAMES:
        manifest = {
            "schemaVersion": 2,
            "mediaType": MEDIA_TYPE,
            "manifests": [],
            "annotations": {name: number},
        }
        text = json.dumps(manifest)
        digest = hashlib.sha256(text.encode()).hexdigest()
        (folder / digest).write_text(text)
        chosen[f"MILLRACE_IMAGE_{name.upper()}"] = f"images.example.com/millrace/{name}@sha256:{digest}"
    return chosen


def _ecr(registry: str) -> Any:
    import boto3

    return boto3.client("ecr", region_name=registry.split(".")[3])


def login(folder: Path, registry: str, password: str) -> None:
    token = _ecr(registry).get_authorization_token()["authorizationData"][0]["authorizationToken"]
    if base64.b64decode(token).decode() != f"AWS:{password}":
        sys.exit(f"{registry}: 401 Unauthorized")
    (folder / SIGNED_IN).write_text(registry)


def copy(folder: Path, source: str, target: str) -> None:
    registry, _, rest = target.partition("/")
    repository, _, tag = rest.partition(":")
    if not (folder / SIGNED_IN).is_file() or (folder / SIGNED_IN).read_text() != registry:
        sys.exit(f"{target}: no basic auth credentials")
    digest = source.rpartition("@sha256:")[2]
    if not (folder / digest).is_file():
        sys.exit(f"{source}: not found")
    text = (folder / digest).read_text()
    if hashlib.sha256(text.encode()).hexdigest() != digest:
        sys.exit(f"{source}: another content than its digest says")
    _ecr(registry).put_image(
        repositoryName=repository, imageTag=tag, imageManifest=text, imageManifestMediaType=MEDIA_TYPE,
        imageDigest=f"sha256:{digest}",
    )  # fmt: skip


def main(folder: Path, arguments: list[str]) -> None:
    match arguments:
        case ["login", "--username", "AWS", "--password-stdin", registry]:
            login(folder, registry, sys.stdin.read())
        case ["buildx", "imagetools", "create", "--prefer-index=false", "--tag", target, source]:
            copy(folder, source, target)
        case _:
            sys.exit(f"docker: a command that deploy does not give: {arguments}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
