"""The images of a deployment, by digest: which, where from, and into the account's own registry.

A tag can be moved to another image, a digest cannot: what was tested is what runs, and what runs can be named.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from typing import Any, Final

from millrace.errors import MillraceError, SettingError
from millrace_infra.settings import Environment

NAMES: Final = ("worker", "api", "dashboard", "collector")
ENV_IMAGE: Final = "MILLRACE_IMAGE_{name}"
"""Names an image by digest, for example MILLRACE_IMAGE_WORKER=registry.example.com/worker@sha256:…"""
TAG_LENGTH: Final = 12
"""Digits of the digest that make an image's tag: a tag keeps ECR from taking the image for the rest of a push."""
_BY_DIGEST: Final = re.compile(r"(?P<repository>[a-z0-9][a-zA-Z0-9._:/-]*)@(?P<digest>sha256:[0-9a-f]{64})")


class ImageNotCopied(MillraceError):
    """An image did not reach the registry; nothing that needs it was changed."""


def chosen_sources(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Image name -> reference with a digest, as the environment says."""
    sources = {}
    for name in NAMES:
        variable = ENV_IMAGE.format(name=name.upper())
        reference = environ.get(variable, "")
        if not _BY_DIGEST.fullmatch(reference):
            raise SettingError(
                variable,
                got=reference,
                want="an image by digest: <repository>@sha256:<64 hexadecimal digits>",
            )
        sources[name] = reference
    return sources


def registry_of(environment: Environment) -> str:
    return f"{environment.settings.account_id}.dkr.ecr.{environment.region}.amazonaws.com"


def repository_of(environment: Environment, name: str) -> str:
    return environment.names.of(name)


def chosen_images(environment: Environment, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Terraform variable -> the image's place in the account's registry: the same digest there."""
    digests = {name: source.rpartition("@")[2] for name, source in chosen_sources(environ).items()}
    return {
        f"image_{name}": f"{registry_of(environment)}/{repository_of(environment, name)}@{digest}"
        for name, digest in digests.items()
    }


def need_docker(environment: Environment, ecr: Any) -> None:
    """SettingError where an image has yet to be copied and nothing is here to copy it: before anything is made."""
    sources = chosen_sources()
    if any(not _is_there(environment, ecr, name, sources[name]) for name in NAMES):
        _docker_program()


Run = Callable[..., subprocess.CompletedProcess[str]]


def copy_all(
    environment: Environment, ecr: Any, say: Callable[[str], None], *, run: Run = subprocess.run
) -> dict[str, str]:
    """Bring each image into the registry unless its digest is there; Terraform variable -> image."""
    sources, images = chosen_sources(), chosen_images(environment)
    absent = [name for name in NAMES if not _is_there(environment, ecr, name, sources[name])]
    if absent:
        _sign_in(environment, ecr, run)
    for name in absent:
        say(f"image {name}: copying {sources[name]}")
        _copy(environment, ecr, name, sources[name], run)
    return images


def _copy(environment: Environment, ecr: Any, name: str, source: str, run: Run) -> None:
    """From registry to registry, which keeps the digest and all platforms; a pull and a push would not.

    An image of one platform has no index. buildx would make one around it, of another digest, unless told not to.
    """
    digest = source.rpartition("@")[2]
    tag = digest.rpartition(":")[2][:TAG_LENGTH]
    target = f"{registry_of(environment)}/{repository_of(environment, name)}:{tag}"
    _docker(run, "buildx", "imagetools", "create", "--prefer-index=false", "--tag", target, source)
    if (found := _digest(environment, ecr, name, imageTag=tag)) != digest:
        raise ImageNotCopied(
            f"{target}: found {found or 'nothing'}, wanted {digest}; what runs would not be what was named"
        )


def _is_there(environment: Environment, ecr: Any, name: str, source: str) -> bool:
    return bool(_digest(environment, ecr, name, imageDigest=source.rpartition("@")[2]))


def _digest(environment: Environment, ecr: Any, name: str, **image: str) -> str:
    """The digest of an image in the account's registry; empty if it is not there."""
    try:
        found = ecr.describe_images(repositoryName=repository_of(environment, name), imageIds=[image])
    except (ecr.exceptions.ImageNotFoundException, ecr.exceptions.RepositoryNotFoundException):
        return ""
    return str(found["imageDetails"][0]["imageDigest"])


def _sign_in(environment: Environment, ecr: Any, run: Run) -> None:
    import base64

    token = ecr.get_authorization_token()["authorizationData"][0]["authorizationToken"]
    user, _, password = base64.b64decode(token).decode().partition(":")
    # by standard input: a password on a command line is everybody's to read
    _docker(run, "login", "--username", user, "--password-stdin", registry_of(environment), input=password)


def _docker_program() -> str:
    if shutil.which("docker") is None:
        raise SettingError(
            "docker",
            got="nothing of that name on PATH",
            want="Docker with buildx 0.15 or later, to copy images",
        )
    return "docker"


def _docker(run: Run, *arguments: str, input: str | None = None) -> None:
    done = run([_docker_program(), *arguments], input=input, text=True, capture_output=True)
    if done.returncode:
        raise ImageNotCopied(
            f"docker {arguments[0]} ended with code {done.returncode}: {done.stderr.strip()}"
        )
