"""Images reach the registry by digest, once."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest

from millrace_infra.images import ImageNotCopied, copy_all
from millrace_infra.settings import Environment

DIGEST = "sha256:" + "b" * 64


class Registry:
    """ECR that holds the images of these names."""

    class exceptions:  # noqa: N801
        class ImageNotFoundException(Exception):
            pass

        class RepositoryNotFoundException(Exception):
            pass

    def __init__(self, *there: str) -> None:
        self.there = there

    def describe_images(self, repositoryName: str, **_: Any) -> None:  # noqa: N803
        if repositoryName not in self.there:
            raise self.exceptions.ImageNotFoundException

    def get_authorization_token(self) -> dict[str, Any]:
        return {"authorizationData": [{"authorizationToken": "QVdTOnBhc3N3b3Jk"}]}


@pytest.fixture(autouse=True)
def _sources(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WORKER", "API", "DASHBOARD", "COLLECTOR"):
        monkeypatch.setenv(f"MILLRACE_IMAGE_{name}", f"source.example/{name.lower()}@{DIGEST}")
    monkeypatch.setattr("shutil.which", lambda *_, **__: "docker")


def run(code: int, commands: list[list[str]], given: list[str | None]) -> Any:
    def docker(command: list[str], *, input: str | None, **_: Any) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        given.append(input)
        return subprocess.CompletedProcess(command, code, "", "denied")

    return docker


@pytest.mark.requirement("S-22")
def test_what_is_not_there_is_copied_by_its_digest_and_named_by_it(environment: Environment) -> None:
    commands: list[list[str]] = []
    given: list[str | None] = []
    there = ("millrace-worker-t1", "millrace-api-t1", "millrace-dashboard-t1")
    images = copy_all(environment, Registry(*there), lambda _: None, run=run(0, commands, given))
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
    there = [f"millrace-{name}-t1" for name in ("worker", "api", "dashboard", "collector")]
    commands: list[list[str]] = []
    copy_all(environment, Registry(*there), lambda _: None, run=run(0, commands, []))
    assert commands == []


def test_an_image_that_cannot_be_copied_stops_the_deployment(environment: Environment) -> None:
    with pytest.raises(ImageNotCopied, match="denied"):
        copy_all(environment, Registry(), lambda _: None, run=run(1, [], []))
