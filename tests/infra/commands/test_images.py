"""Images reach the registry by digest, once."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest

from millrace_infra.images import ImageNotCopied, copy_all
from millrace_infra.settings import Environment

DIGEST = "sha256:" + "b" * 64


class Registry:
    """ECR that holds the images of these names. `altered`: what is copied arrives under another digest."""

    class exceptions:  # noqa: N801
        class ImageNotFoundException(Exception):
            pass

        class RepositoryNotFoundException(Exception):
            pass

    def __init__(self, *there: str, altered: str = "") -> None:
        self.there = {(name, DIGEST): DIGEST for name in there}
        self.altered = altered

    def take(self, target: str, source: str) -> None:
        name, _, tag = target.partition("/")[2].partition(":")
        digest = self.altered or source.partition("@")[2]
        self.there |= {(name, tag): digest, (name, digest): digest}

    def describe_images(self, repositoryName: str, imageIds: list[dict[str, str]]) -> Any:  # noqa: N803
        (asked,) = imageIds[0].values()
        if (repositoryName, asked) not in self.there:
            raise self.exceptions.ImageNotFoundException
        return {"imageDetails": [{"imageDigest": self.there[repositoryName, asked]}]}

    def get_authorization_token(self) -> dict[str, Any]:
        return {"authorizationData": [{"authorizationToken": "QVdTOnBhc3N3b3Jk"}]}


@pytest.fixture(autouse=True)
def _sources(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WORKER", "API", "DASHBOARD", "COLLECTOR"):
        monkeypatch.setenv(f"MILLRACE_IMAGE_{name}", f"source.example/{name.lower()}@{DIGEST}")
    monkeypatch.setattr("shutil.which", lambda *_, **__: "docker")


def run(code: int, commands: list[list[str]], given: list[str | None], registry: Registry) -> Any:
    def docker(command: list[str], *, input: str | None, **_: Any) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        given.append(input)
        if command[1] == "buildx" and code == 0:
            registry.take(*command[-2:])
        return subprocess.CompletedProcess(command, code, "", "denied")

    return docker


@pytest.mark.requirement("S-22")
def test_what_is_not_there_is_copied_by_its_digest_and_named_by_it(environment: Environment) -> None:
    commands: list[list[str]] = []
    given: list[str | None] = []
    registry = Registry("millrace-worker-t1", "millrace-api-t1", "millrace-dashboard-t1")
    images = copy_all(environment, registry, lambda _: None, run=run(0, commands, given, registry))
    assert [command[1] for command in commands] == ["login", "buildx"]
    assert commands[1][-1] == f"source.example/collector@{DIGEST}"
    assert images["image_worker"] == (
        f"123456789012.dkr.ecr.eu-central-1.amazonaws.com/millrace-worker-t1@{DIGEST}"
    )
    # the password travels by standard input, never on a command line
    assert given[0] == "password"
    assert not any(
        "password" in part for command in commands for part in command if part != "--password-stdin"
    )


def test_nothing_is_copied_twice(environment: Environment) -> None:
    registry = Registry(*(f"millrace-{name}-t1" for name in ("worker", "api", "dashboard", "collector")))
    commands: list[list[str]] = []
    copy_all(environment, registry, lambda _: None, run=run(0, commands, [], registry))
    assert commands == []


def test_an_image_that_cannot_be_copied_stops_the_deployment(environment: Environment) -> None:
    with pytest.raises(ImageNotCopied, match="denied"):
        copy_all(environment, Registry(), lambda _: None, run=run(1, [], [], Registry()))


def test_an_image_that_arrives_as_another_stops_the_deployment(environment: Environment) -> None:
    registry = Registry(altered="sha256:" + "c" * 64)
    with pytest.raises(ImageNotCopied, match=f"found sha256:c+, wanted {DIGEST}"):
        copy_all(environment, registry, lambda _: None, run=run(0, [], [], registry))
