"""Images arrive byte for byte: Docker itself, from one real registry into another that asks for ECR's password.

No daemon is asked. Two things stand in for AWS: ECR's own calls, answered out of the registry, and its address, which
is one of this machine. It runs where Docker with buildx and `crane` are (`make go-tools`).
"""

from __future__ import annotations

import base64
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from millrace_infra import images
from millrace_infra.images import NAMES, ImageNotCopied, copy_all
from millrace_infra.settings import Environment
from tests.infra import go_tools
from tests.infra.commands.registries import PASSWORD, Registry, guarded, registry

pytestmark = pytest.mark.requirement("S-22")

OCI, DOCKER = 0, 1
KINDS = {
    "worker": (OCI, ("arm64",)), "api": (DOCKER, ("arm64",)), "dashboard": (OCI, ("amd64", "arm64")),
    "collector": (DOCKER, ("amd64", "arm64")),
}  # fmt: skip
"""What a build or an upstream may give: OCI's or Docker's own types, for one platform or for several."""


class Ecr:
    """ECR's calls, answered out of the registry."""

    class exceptions:  # noqa: N801
        class ImageNotFoundException(Exception):
            pass

        class RepositoryNotFoundException(Exception):
            pass

    def __init__(self, holds: Registry, password: str = PASSWORD) -> None:
        self._holds, self._password = holds, password

    def describe_images(self, repositoryName: str, imageIds: list[dict[str, str]]) -> Any:  # noqa: N803
        (reference,) = imageIds[0].values()
        if digest := self._holds.digest(repositoryName, reference):
            return {"imageDetails": [{"imageDigest": digest}]}
        raise self.exceptions.ImageNotFoundException

    def get_authorization_token(self) -> dict[str, Any]:
        token = base64.b64encode(f"AWS:{self._password}".encode()).decode()
        return {"authorizationData": [{"authorizationToken": token}]}


@pytest.fixture
def crane(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """Where `crane` is; Docker has a configuration of its own, with the buildx that is there."""
    crane, docker = go_tools.found("crane"), shutil.which("docker")
    if crane is None or docker is None:
        pytest.skip("needs Docker on PATH and crane (make go-tools)")
    plugin = tmp_path / "docker" / "cli-plugins" / "docker-buildx"
    plugin.parent.mkdir(parents=True)
    at_home = shutil.which("docker-buildx", path=str(Path.home() / ".docker" / "cli-plugins"))
    if buildx := go_tools.found("buildx") or at_home:
        plugin.symlink_to(buildx)
    monkeypatch.setenv("DOCKER_CONFIG", str(plugin.parents[1]))
    if subprocess.run([docker, "buildx", "version"], capture_output=True, check=False).returncode:
        pytest.skip("needs Docker's buildx (make go-tools)")
    return crane


@pytest.fixture
def source(crane: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    """The registry that the images are named in, one of each kind."""
    with registry(crane) as made:
        for name, (style, platforms) in KINDS.items():
            reference = made.put_image(f"millrace/{name}", style, platforms)
            monkeypatch.setenv(images.ENV_IMAGE.format(name=name.upper()), reference)
        yield made


@pytest.fixture
def target(crane: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    """The account's own."""
    with registry(crane) as inner, guarded(inner) as made:
        monkeypatch.setattr(images, "registry_of", lambda _: made.address)
        yield made


def test_every_kind_of_image_arrives_byte_for_byte_under_its_digest_and_a_tag_of_it(
    environment: Environment, source: Registry, target: Registry
) -> None:
    said: list[str] = []
    copied = copy_all(environment, Ecr(target), said.append)
    assert len(said) == len(NAMES)
    for name, wanted in images.chosen_sources().items():
        digest = wanted.rpartition("@")[2]
        repository = f"millrace-{name}-t1"
        assert copied[f"image_{name}"] == f"{target.address}/{repository}@{digest}"
        assert target.digest(repository, digest.removeprefix("sha256:")[:12]) == digest, name
        whole = source.whole(f"millrace/{name}", digest)
        assert target.whole(repository, digest) == whole
        assert len(whole) == {1: 4, 2: 9}[len(KINDS[name][1])]
    copy_all(environment, Ecr(target), said.append)
    assert len(said) == len(NAMES), "nothing is copied twice"


def test_without_ecr_s_password_nothing_is_copied(
    environment: Environment, source: Registry, target: Registry
) -> None:
    with pytest.raises(ImageNotCopied, match=r"docker login (?s:.*)401 Unauthorized"):
        copy_all(environment, Ecr(target, "a-former-one"), lambda _: None)
    for name, reference in images.chosen_sources().items():
        assert target.digest(f"millrace-{name}-t1", reference.rpartition("@")[2]) == ""


def test_an_image_that_nobody_has_stops_the_deployment(
    environment: Environment, source: Registry, target: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = f"{source.address}/millrace/worker@sha256:{'0' * 64}"
    monkeypatch.setenv("MILLRACE_IMAGE_WORKER", nowhere)
    with pytest.raises(ImageNotCopied, match="not found"):
        copy_all(environment, Ecr(target), lambda _: None)


def test_an_image_that_docker_would_wrap_in_an_index_is_noticed(
    environment: Environment, source: Registry, target: Registry
) -> None:
    """As it does without being told not to: the index has a digest that nobody named."""

    def wrapping(command: list[str], **more: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.run([one for one in command if one != "--prefer-index=false"], check=False, **more)

    with pytest.raises(ImageNotCopied, match=r"found sha256:\w{64}, wanted sha256:"):
        copy_all(environment, Ecr(target), lambda _: None, run=wrapping)
