"""Bad input: one clear sentence, exit code 2, nothing half done."""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from millrace_infra.commands import main
from tests.infra.conftest import FOLDER

IMAGE = "registry.example/millrace@sha256:" + "a" * 64
VERBS = ("bootstrap", "synth", "preflight", "plan", "deploy", "outputs", "deployed", "export-records", "destroy")
SYNTHESIZE = tuple(verb for verb in VERBS if verb not in ("preflight", "export-records"))
RUN_TERRAFORM = tuple(verb for verb in SYNTHESIZE if verb != "synth")
NEEDED = [(verb, program) for verb in RUN_TERRAFORM for program in ("node", "terraform")] + [
    ("synth", "node")
]
"""(verb, program that it cannot do without)"""
IMAGES = {f"MILLRACE_IMAGE_{name}": IMAGE for name in ("WORKER", "API", "DASHBOARD", "COLLECTOR")}


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of its own with the environments, where nothing else may turn up."""
    shutil.copytree(FOLDER, tmp_path / "environments")
    monkeypatch.chdir(tmp_path)
    for name in ("AWS_REGION", "ENV", "ENVIRONMENT_SUFFIX", "CI", *IMAGES):
        monkeypatch.delenv(name, raising=False)


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr("sys.argv", ["millrace_infra", *arguments])
    try:
        return main()
    except SystemExit as end:
        return int(end.code or 0)


def sentence(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What a run that is refused says, with nothing done."""
    assert run(monkeypatch, *arguments) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert [path.name for path in Path().iterdir()] == ["environments"]
    return said


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--env", "devv"], "did you mean dev?"),
        (["--suffix", "PR42"], "small letters"),
        (["--suffix", "asuffixfartoolong"], "12 at most"),
        (["--suffix", "account"], "what the account has once"),
        (["--suffix", "registry-b"], "a hyphen parts the suffix"),
    ],
)
def test_an_environment_that_cannot_be_is_refused_by_every_verb(
    verb: str,
    arguments: list[str],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert said in sentence(monkeypatch, capsys, verb, *arguments)


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("cidr: 10.40.0.0/24", "network.cidr: found '10.40.0.0/24', wanted a network of /16 to /20"),
        ("region: eu-middle-9", "region: found 'eu-middle-9', wanted an AWS region"),
        ("shards: 0", "stream.shards: found 0"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_by_every_verb(
    verb: str, line: str, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`line` in the place of dev's own."""
    key = line.partition(":")[0]
    file = Path("environments/dev.yaml")
    file.write_text(re.sub(rf"\b{key}: [^,}}\n]+", line, file.read_text(), count=1))
    assert said in sentence(monkeypatch, capsys, verb)


@pytest.mark.parametrize(("verb", "missing"), NEEDED)
def test_a_missing_program_is_named_with_the_version_that_is_wanted(
    verb: str,
    missing: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    found = shutil.which
    monkeypatch.setattr(
        "shutil.which",
        lambda name, *rest, **named: None if name == missing else found(name, *rest, **named) or "x",
    )
    if missing == "terraform":
        monkeypatch.setattr("millrace_infra.workspace.need_node", lambda: None)
    for name, value in IMAGES.items():
        monkeypatch.setenv(name, value)
    assert f"{missing}: found 'nothing of that name on PATH'" in sentence(monkeypatch, capsys, verb)


@pytest.mark.parametrize("verb", VERBS)
def test_without_node_on_the_path_no_verb_ends_in_a_traceback(verb: str, tmp_path: Path) -> None:
    """In a process of its own: whatever a verb imports on its way may start Node."""
    (tmp_path / "empty").mkdir()
    environ = {**os.environ, **IMAGES, "PATH": str(tmp_path / "empty")}
    done = subprocess.run(
        [sys.executable, "-m", "millrace_infra", verb, "--env", "dev"],
        env=environ, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith("millrace_infra: node: found 'nothing of that name on PATH'")
    assert done.stderr.count("\n") == 1
    assert sorted(path.name for path in Path().iterdir()) == ["empty", "environments"]


@pytest.mark.parametrize(
    ("program", "found"),
    [
        ("echo v18.20.4", "found 'v18.20.4', wanted Node.js 20 or later"),
        ("echo v9.0.0", "found 'v9.0.0', wanted Node.js 20 or later"),
        ("exit 1", "found 'no answer to which version it is'"),
        ("echo nothing", "found 'no answer to which version it is'"),
    ],
)
@pytest.mark.parametrize("verb", SYNTHESIZE)
def test_a_node_that_is_too_old_or_broken_is_refused_before_the_cdk_starts_it(
    verb: str, program: str, found: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:  # fmt: skip
    """The CDK reads what it says as JSON: a traceback of forty lines. The others synthesize nothing."""
    node = tmp_path_factory.mktemp("bin") / "node"
    node.write_text(f"#!/bin/sh\n{program}\n")
    node.chmod(0o755)
    monkeypatch.setenv("PATH", f"{node.parent}{os.pathsep}{os.environ['PATH']}")
    for name, value in IMAGES.items():
        monkeypatch.setenv(name, value)
    said = sentence(monkeypatch, capsys, verb)
    assert said.startswith(f"millrace_infra: {node}: {found}")


def test_a_region_that_is_not_the_environments_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    assert "eu-central-1, as dev.yaml says" in sentence(monkeypatch, capsys, "synth")


@pytest.mark.parametrize("image", ["", "registry.example/millrace:latest", IMAGE[:-1]])
def test_an_image_without_a_digest_is_refused_before_anything_is_made(
    image: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in {**IMAGES, "MILLRACE_IMAGE_API": image}.items():
        monkeypatch.setenv(name, value)
    assert "MILLRACE_IMAGE_API" in sentence(monkeypatch, capsys, "deploy")


@pytest.mark.requirement("S-04")
@pytest.mark.parametrize(
    ("environ", "arguments", "said"),
    [
        ({}, [], "--abandon-records"),
        ({}, ["--abandon-records"], "the suffix, x: nothing was destroyed"),
        ({}, ["--abandon-records", "--confirm", "y"], "the suffix, x: nothing was destroyed"),
        ({"CI": "true"}, ["--abandon-records", "--confirm", "x"], "CI destroys no environment of records"),
    ],
)
def test_an_environment_of_records_is_guarded(
    environ: dict[str, str],
    arguments: list[str],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.stdin", io.StringIO())  # nobody to ask
    assert said in sentence(monkeypatch, capsys, "destroy", "--env", "us-east-1", "--suffix", "x", *arguments)


@pytest.mark.parametrize("verb", ["synth", "plan", "outputs"])
def test_a_folder_that_cannot_be_made_is_named(
    verb: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if shutil.which("node") is None or shutil.which("terraform") is None:
        pytest.skip("needs Node.js and Terraform, and one of them was not found")
    monkeypatch.setattr("millrace_infra.preflight.require", lambda *_: None)
    for name, value in IMAGES.items():
        monkeypatch.setenv(name, value)
    Path("cdktf.out").write_text("")
    assert run(monkeypatch, verb) == 2
    assert capsys.readouterr().err == (
        "millrace_infra: cdktf.out/dev-dev: found 'Not a directory', wanted a folder to write in\n"
    )


@pytest.mark.requirement("S-01")
def test_a_fresh_checkout_is_synthesized_and_a_second_time_too(monkeypatch: pytest.MonkeyPatch) -> None:
    if shutil.which("node") is None:
        pytest.skip("synthesis needs Node.js, and none was found")
    for _ in range(2):
        assert run(monkeypatch, "synth", "--env", "dev", "--suffix", "t1") == 0
        written = sorted(file.parent.name for file in Path().glob("cdktf.out/dev-t1/stacks/*/cdk.tf.json"))
        assert written == ["millrace-account", "millrace-registry-t1", "millrace-t1"]
