"""Promises about the text of the program: no block is empty, the same input gives the same bytes, wherever it lies."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.infra.conftest import ENVIRONMENTS, FOLDER, SUFFIX, Synthesize
from tests.infra.program import Program
from tests.infra.proofs.conftest import STACKS

EMPTY_ON_PURPOSE = {"aws_wafv2_web_acl": {"allow", "block", "count", "none", "uri_path"}}
"""Blocks that say all by being there: what the firewall does, and what it reads."""
ROOT = FOLDER.parent
NAMES = ("millrace-account", f"millrace-registry-{SUFFIX}", f"millrace-{SUFFIX}")


def empty_blocks(value: Any, where: str = "") -> Iterator[str]:
    """Places of `{}` and `[{}]`: what a dict of the wrong case leaves behind."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if inner in ({}, [{}]):
                yield f"{where}.{key}"
            yield from empty_blocks(inner, f"{where}.{key}")
    elif isinstance(value, list):
        for inner in value:
            yield from empty_blocks(inner, where)


def test_no_block_is_empty(stack: Program) -> None:
    found = [
        place
        for part in ("resource", "data", "ephemeral", "terraform", "provider")
        for type_, blocks in stack.json.get(part, {}).items()
        for place in empty_blocks(blocks, type_)
        if place.rpartition(".")[2] not in EMPTY_ON_PURPOSE.get(type_, ())
    ]
    assert found == []


def as_cdktf_runs_it(folder: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """The line `app` of cdktf.json, in that copy of the program and with what cdktf's commands pass on."""
    command = shlex.split(json.loads((folder / "cdktf.json").read_text())["app"])
    inherited = {
        name: value for name, value in os.environ.items()
        if name not in ("ENV", "ENVIRONMENT_SUFFIX", "AWS_REGION", "CDKTF_OUTDIR")
    }  # fmt: skip
    environ = {**inherited, "PYTHONPATH": str(folder / "src"), **environ}
    return subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, check=False)


@pytest.fixture(scope="session")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program as another machine has it: in another folder, under another name."""
    if shutil.which("node") is None:
        pytest.skip("synthesis needs Node.js, and none was found")
    folder = tmp_path_factory.mktemp("elsewhere") / "checkout"
    for part in ("src", "environments"):
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "cdktf.json", folder)
    (folder / ".venv").symlink_to(sys.prefix)
    return folder


@pytest.mark.requirement("S-03")
@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_the_same_input_gives_the_same_bytes(
    synthesize: Synthesize, synthesize_again: Synthesize, environment: str
) -> None:
    again = synthesize_again(environment)
    assert {name: program.text for name, program in again.items()} == {
        name: program.text for name, program in synthesize(environment).items()
    }


@pytest.mark.requirement("S-03")
def test_cdktf_s_own_call_writes_the_same_bytes_on_another_machine(
    synthesize: Synthesize, elsewhere: Path
) -> None:
    """Name, suffix and region come out of the environment; sets are in another order there."""
    done = as_cdktf_runs_it(
        elsewhere, ENV="us-east-1", ENVIRONMENT_SUFFIX=SUFFIX, AWS_REGION="us-east-1", CDKTF_OUTDIR="out",
        PYTHONHASHSEED="7",
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    written = {file.parent.name: file.read_text() for file in elsewhere.glob("out/stacks/*/cdk.tf.json")}
    assert written == {name: program.text for name, program in synthesize("us-east-1").items()}
    assert sorted(written) == sorted(NAMES)
    assert set(json.loads((elsewhere / "out" / "manifest.json").read_text())["stacks"]) == set(NAMES)


MEMORY_MB_MAX = 200
"""Of the program; the Node.js process that the CDK starts beside it holds some 600 MB, whatever the program loads."""
MEASURED = """
import os, re
from millrace_infra.cdktf_call import main
assert main(os.environ) == 0
print(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1])
"""


@pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="needs Linux, which tells a process's peak"
)
def test_a_synthesis_loads_only_what_it_uses(elsewhere: Path) -> None:
    """The provider's package loaded whole takes 526 MB."""
    given = {**os.environ, "PYTHONPATH": "src", "ENV": "us-east-1", "CDKTF_OUTDIR": "measured"}
    given.pop("AWS_REGION", None)
    command = [sys.executable, "-c", MEASURED]
    done = subprocess.run(command, cwd=elsewhere, env=given, capture_output=True, text=True, check=True)
    assert int(done.stdout.splitlines()[-1]) / 1024 < MEMORY_MB_MAX


@pytest.mark.long
def test_cdktf_s_own_call_without_variables_writes_dev_where_cdktf_looks(elsewhere: Path) -> None:
    assert as_cdktf_runs_it(elsewhere).returncode == 0
    folder = elsewhere / json.loads((elsewhere / "cdktf.json").read_text())["output"]
    assert {file.parent.name for file in folder.glob("stacks/*/cdk.tf.json")} == {
        "millrace-account", "millrace-registry-dev", "millrace-dev",
    }  # fmt: skip


def test_cdktf_s_own_call_ends_with_two_and_one_sentence(elsewhere: Path) -> None:
    before = set(elsewhere.iterdir())
    done = as_cdktf_runs_it(elsewhere, AWS_REGION="us-west-2")
    assert done.returncode == 2
    assert done.stderr == "AWS_REGION: found 'us-west-2', wanted eu-central-1, as dev.yaml says, or unset\n"
    assert set(elsewhere.iterdir()) == before


@pytest.mark.parametrize(
    ("region", "name"), [("us-east-1", "us-east-1"), ("eu-central-1", "dev"), ("", "dev"), ("us-west-2", "dev")]
)
def test_with_the_region_alone_cdktf_is_given_the_environment_of_the_region(region: str, name: str) -> None:
    """As its users call it: AWS_REGION=us-east-1 ENVIRONMENT_SUFFIX=pr42 cdktf synth. dev has its own region first."""
    from millrace_infra.cdktf_call import _of_region

    assert _of_region(region, SUFFIX) == name


def test_cdktf_s_users_name_a_region_and_get_its_environment(synthesize: Synthesize, elsewhere: Path) -> None:
    done = as_cdktf_runs_it(
        elsewhere, ENVIRONMENT_SUFFIX=SUFFIX, AWS_REGION="us-east-1", CDKTF_OUTDIR="by-region"
    )
    assert (done.returncode, done.stderr) == (0, "")
    written = {file.parent.name: file.read_text() for file in elsewhere.glob("by-region/stacks/*/cdk.tf.json")}
    assert written == {name: program.text for name, program in synthesize("us-east-1").items()}


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"ENV": "dev", "AWS_REGION": "us-east-1"}, "eu-central-1, as dev.yaml says"),
        ({"ENVIRONMENT_SUFFIX": "PR42"}, "small letters"),
        ({"ENV": "devv"}, "did you mean dev?"),
    ],
)
def test_cdktf_s_variables_are_refused_with_one_sentence_and_nothing_is_written(
    environ: dict[str, str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from millrace_infra.cdktf_call import main

    assert main({**environ, "CDKTF_OUTDIR": str(tmp_path / "out")}) == 2
    refused = capsys.readouterr().err
    assert said in refused
    assert refused.count("\n") == 1
    assert not (tmp_path / "out").exists()


def absolute_paths(program: Program) -> set[str]:
    """Strings that name this machine's folders: of the program, its interpreter, its user, its temporary files."""
    places = {str(ROOT), str(ROOT.resolve()), sys.prefix, sys.base_prefix, str(Path.home()), "/tmp/pytest"}
    return {place for place in places if place in program.text and place not in ("/", "/usr")}


def test_no_absolute_path_of_this_machine_is_in_any_stack(stack: Program) -> None:
    assert absolute_paths(stack) == set()


@pytest.fixture(scope="session")
def local(tmp_path_factory: pytest.TempPathFactory, synthesize: Synthesize) -> dict[str, Program]:
    """`dev` with its state beside the program."""
    from millrace_infra.app import build
    from millrace_infra.settings import load

    settings, out = (tmp_path_factory.mktemp(name) for name in ("settings", "local"))
    content = yaml.safe_load((FOLDER / "dev.yaml").read_text())
    (settings / "dev.yaml").write_text(yaml.safe_dump({**content, "state": {"kind": "local"}}))
    build(load("dev", SUFFIX, folder=settings), outdir=str(out)).synth()
    return {
        file.parent.name: Program(file.parent.name, file.read_text()) for file in out.glob("stacks/*/*.json")
    }


def test_a_local_state_is_a_file_of_its_own_beside_each_stack(local: dict[str, Program]) -> None:
    """Named by the stack and without a folder: where the stack is, there its state is."""
    assert sorted(local) == sorted(NAMES)
    for name, program in local.items():
        assert program.json["terraform"]["backend"] == {"local": {"path": f"{name}.tfstate"}}
        assert absolute_paths(program) == set()


def test_where_the_state_lies_changes_nothing_but_the_back_end(
    local: dict[str, Program], synthesize: Synthesize
) -> None:
    for name, program in synthesize("dev").items():
        theirs, ours = json.loads(local[name].text), json.loads(program.text)
        for one in (theirs, ours):
            del one["terraform"]["backend"], one["//"]  # CDKTF notes the back end's kind there too
        assert theirs == ours


@pytest.mark.requirement("S-03")
def test_every_state_has_a_key_of_its_own(synthesize: Synthesize) -> None:
    keys = [
        program.json["terraform"]["backend"]["s3"]["key"]
        for suffix in (SUFFIX, "t2")
        for name, program in synthesize("dev", suffix).items()
        if name != "millrace-account" or suffix == SUFFIX
    ]
    assert len(set(keys)) == len(keys) == 2 * len(STACKS) - 1
    assert all(not key.startswith("/") for key in keys)
