"""The hosted CI: its steps are make targets that exist, its actions are pinned, and no key lies there.

Three linters look at it: the host's own schema (check-jsonschema), what an attacker would look for (zizmor), and what
a job says of another (actionlint, built out of our own lock by `make go-tools`).
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.account.test_deployed import CALM_S_MAX
from tests.infra import go_tools
from tests.infra.conftest import ENVIRONMENTS

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / ".github" / "workflows"
FILES = sorted(FOLDER.glob("*.yml"))
ACTION = ROOT / ".github" / "actions" / "set-up" / "action.yml"
OWN = ("./.github/actions/set-up",)
TRIGGERS = {"push", "pull_request", "schedule", "workflow_dispatch"}
JOB_KEYS = {
    "concurrency", "env", "environment", "if", "needs", "outputs", "permissions", "runs-on", "steps", "strategy",
    "timeout-minutes",
}  # fmt: skip
STEP_KEYS = {"env", "id", "if", "name", "run", "timeout-minutes", "uses", "with"}
pytestmark = pytest.mark.requirement("S-25")


def workflow(file: Path) -> dict[str, Any]:
    content: dict[str, Any] = yaml.load(file.read_text(), Loader=yaml.BaseLoader)  # `on` is no truth value
    return content


def steps(content: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, job in content["jobs"].items():
        for step in job["steps"]:
            yield name, step


def commands(file: Path) -> Iterator[str]:
    for _, step in steps(workflow(file)):
        yield from step.get("run", "").splitlines()


def targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def asked_for(file: Path) -> set[str]:
    """Make targets that a workflow runs, those of its matrix included."""
    named = {found for line in commands(file) for found in re.findall(r"\bmake ([a-z-]+)", line)}
    for job in workflow(file)["jobs"].values():
        named |= set(job.get("strategy", {}).get("matrix", {}).get("target", ()))
    return named


def linted(tool: str, *arguments: str | Path) -> tuple[int, str]:
    """Exit code and findings of a linter that is installed beside us."""
    command = [Path(sys.executable).with_name(tool), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    return done.returncode, done.stdout + done.stderr


def by_actionlint(*files: Path) -> tuple[int, str]:
    tool = go_tools.found("actionlint")
    if tool is None:
        pytest.skip("needs actionlint (make go-tools)")
    # the shell's and Python's own linters would be taken from the machine if it has them
    command = [tool, "-no-color", "-oneline", "-shellcheck=", "-pyflakes=", *map(str, files)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    return done.returncode, done.stdout + done.stderr


def by_schema(schema: str, *files: Path) -> tuple[int, str]:
    return linted("check-jsonschema", "--builtin-schema", schema, *files)


def by_zizmor(*files: Path) -> tuple[int, str]:
    """What it finds of weight. It is told to look nothing up: findings must not depend on the day."""
    return linted("zizmor", "--offline", "--no-progress", "--no-config", "--min-severity", "medium", *files)


def test_the_host_s_own_schema_takes_every_file() -> None:
    assert FILES
    assert by_schema("vendor.github-workflows", *FILES) == (0, "ok -- validation done\n")
    assert by_schema("vendor.github-actions", ACTION) == (0, "ok -- validation done\n")


def test_zizmor_finds_nothing_of_weight() -> None:
    code, said = by_zizmor(*FILES, ACTION)
    assert code == 0, said


def test_actionlint_finds_nothing() -> None:
    assert by_actionlint(*FILES) == (0, "")


@pytest.mark.parametrize(
    ("file", "right", "wrong", "said"),
    [
        ("deploy.yml", "steps.before.outputs.commit }}", "steps.befor.outputs.commit }}", '"befor" is not defined'),
        ("deploy.yml", "needs.deploy.outputs.image_api", "needs.deploy.outputs.image_ap", '"image_ap" is not defined'),
        ("deploy.yml", "needs: deploy", "needs: deployed", 'needs job "deployed"'),
        ("deploy.yml", "inputs.suffix", "inputs.sufix", '"sufix" is not defined'),
        ("nightly.yml", "${{ matrix.suffix }}", "${{ matrix.sufix }}", '"sufix" is not defined'),
        ("plan.yml", "github.event.pull_request.head.repo.full_name ==", "github.repositori ==", "repositori"),
        ("check.yml", "make ${{ matrix.target }}", "make ${{ secret.target }}", 'undefined variable "secret"'),
    ],
)  # fmt: skip
def test_what_one_part_of_a_workflow_says_of_another_is_held_to_it(
    file: str, right: str, wrong: str, said: str, tmp_path: Path
) -> None:
    """No schema sees these: a name that is not there is an empty text for the host."""
    text = (FOLDER / file).read_text()
    assert right in text
    broken = tmp_path / file
    broken.write_text(text.replace(right, wrong))
    code, found = by_actionlint(broken)
    assert code == 1, found
    assert said in found


@pytest.mark.parametrize(
    ("right", "wrong"),
    [("timeout-minutes: 15", "timeout-in-minutes: 15"), ("runs-on: ubuntu-24.04", "run-on: ubuntu-24.04"),
     ("  pull_request:", "  pull_requests:"), ("contents: read", "contents: reads")],
)  # fmt: skip
def test_a_key_or_a_word_that_the_host_does_not_know_is_seen(right: str, wrong: str, tmp_path: Path) -> None:
    broken = tmp_path / "check.yml"
    broken.write_text((FOLDER / "check.yml").read_text().replace(right, wrong))
    code, said = by_schema("vendor.github-workflows", broken)
    assert code == 1, said
    assert wrong.partition(":")[0].strip() in said or "reads" in said


@pytest.mark.parametrize(
    ("right", "wrong", "finding"),
    [('ENV=dev SUFFIX="$SUFFIX"', "ENV=dev SUFFIX=${{ matrix.suffix }}", "template-injection"),
     ("permissions:\n  contents: read\n", "permissions: write-all\n", "excessive-permissions")],
)  # fmt: skip
def test_what_an_attacker_would_look_for_is_seen(
    right: str, wrong: str, finding: str, tmp_path: Path
) -> None:
    broken = tmp_path / "nightly.yml"
    broken.write_text((FOLDER / "nightly.yml").read_text().replace(right, wrong))
    code, said = by_zizmor(broken)
    assert code != 0
    assert finding in said


def test_no_file_of_the_ci_keeps_a_list_of_environments() -> None:
    """They are the folder's; the nightly destroy is for `dev` alone, and says so."""
    for file in (*FILES, ACTION):
        assert not {name for name in ENVIRONMENTS if name != "dev" and name in file.read_text()}, file.name


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_a_workflow_is_well_formed(file: Path) -> None:
    content = workflow(file)
    assert set(content["on"]) <= TRIGGERS
    assert content["permissions"] == {"contents": "read"}, "what a job needs beyond that, it says itself"
    for job in content["jobs"].values():
        assert set(job) <= JOB_KEYS
        assert int(job["timeout-minutes"]) <= 120
        needs = job.get("needs", [])
        assert ({needs} if isinstance(needs, str) else set(needs)) <= set(content["jobs"])
    for _, step in steps(content):
        assert set(step) <= STEP_KEYS
        assert ("run" in step) != ("uses" in step)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_every_step_is_a_make_target_that_exists(file: Path) -> None:
    assert asked_for(file)
    assert asked_for(file) <= targets()


@pytest.mark.parametrize("file", [*FILES, ACTION], ids=lambda file: file.name)
def test_every_action_is_pinned_by_its_commit(file: Path) -> None:
    """A tag can be moved; the comment says which release the commit is."""
    for line in file.read_text().splitlines():
        if (found := re.search(r"uses: (\S+)(.*)", line)) and found[1] not in OWN:
            assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", found[1]), line
            assert re.fullmatch(r" # v\d+\.\d+\.\d+", found[2]), line


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_no_key_lies_at_the_ci_s_host(file: Path) -> None:
    text = file.read_text()
    assert "secrets." not in text
    assert not re.search(r"AKIA|aws[-_]secret", text, re.IGNORECASE)
    for job in workflow(file)["jobs"].values():
        signs = job.get("permissions", {}).get("id-token") == "write"
        assert signs == any("role-to-assume" in step.get("with", {}) for step in job["steps"])
        assert not signs or job["environment"], (
            "its reviewers let the job through, and the role's trust names it"
        )


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_a_shell_is_given_no_text_that_somebody_outside_wrote(file: Path) -> None:
    """A branch's or a pull request's name would be run. What a person typed comes through the environment."""
    for line in commands(file):
        for inserted in re.findall(r"\$\{\{(.*?)\}\}", line):
            assert inserted.strip().startswith("matrix."), line


def test_the_environments_are_those_whose_tokens_the_roles_take() -> None:
    from millrace_infra.settings.places import CiSettings

    ci = CiSettings()
    used = {
        job["environment"]
        for file in FILES
        for job in workflow(file)["jobs"].values()
        if "environment" in job
    }
    assert used == {*ci.plan_environments, *ci.deploy_environments}


def test_the_whole_way_is_there() -> None:
    """Lint, types, tests, synth, scan; plan; deploy, verify, roll back; the nightly destroy."""
    asked = {file.stem: asked_for(file) for file in FILES}
    assert asked["check"] >= {"lint", "types", "security", "test", "scan", "synth-all"}
    assert asked["plan"] == {"plan"}
    assert asked["deploy"] == {"preflight", "deployed", "deploy", "verify-deployed"}
    assert asked["nightly"] >= {"test-long", "destroy"}


def test_a_deployment_that_fails_goes_back_by_itself_to_what_the_state_had_before() -> None:
    """No hand-kept variable, no reviewer; where nothing was deployed before, there is nothing to go back to."""
    from millrace_infra.images import ENV_IMAGE, NAMES
    from millrace_infra.revision import IMAGE, lines
    from millrace_infra.settings.places import CiSettings

    jobs = workflow(FOLDER / "deploy.yml")["jobs"]
    forth, back = jobs["deploy"], jobs["roll-back"]
    before = {"commit": "c", **{IMAGE.format(name=name): name for name in NAMES}}
    written = {line.partition("=")[0] for line in lines(before)}
    assert forth["outputs"] == {name: f"${{{{ steps.before.outputs.{name} }}}}" for name in written}
    runs = [step.get("run", "") for step in forth["steps"]]
    (asked,) = (at for at, step in enumerate(forth["steps"]) if step.get("id") == "before")
    assert "make deployed" in runs[asked]
    assert asked < next(at for at, line in enumerate(runs) if line.startswith("make deploy "))
    assert back["needs"] == "deploy"
    assert back["if"] == "failure() && needs.deploy.outputs.commit != ''"
    (checkout,) = (
        step["with"] for step in back["steps"] if step.get("uses", "").startswith("actions/checkout")
    )
    assert checkout["ref"] == "${{ needs.deploy.outputs.commit }}"
    images = {ENV_IMAGE.format(name=name.upper()): f"image_{name}" for name in NAMES}
    assert back["env"] == {name: f"${{{{ needs.deploy.outputs.{image} }}}}" for name, image in images.items()}
    assert back["environment"] != forth["environment"]
    assert back["environment"] in CiSettings().deploy_environments
    assert "vars.PREVIOUS" not in (FOLDER / "deploy.yml").read_text()


SAYS_NO_RESOURCE = {"millrace.errors", "millrace.wanted", "millrace.durable"}
"""What the program reads of the programs for its refusals, and for the files of an export."""


def read_by_the_program() -> set[str]:
    """Our own modules that the infrastructure's name: `millrace.names`, `millrace_rotation`."""
    found = set()
    for file in (ROOT / "src" / "millrace_infra").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module == "millrace":
                found |= {f"millrace.{one.name}" for one in node.names}
            elif isinstance(node, ast.ImportFrom):
                found.add(str(node.module))
            elif isinstance(node, ast.Import):
                found |= {one.name for one in node.names}
    return {one for one in found if one.startswith("millrace.") or one == "millrace_rotation"}


def test_whatever_changes_the_program_is_planned_before_it_is_taken() -> None:
    """A function's code and a metric's name are in the program as its own files are."""
    planned = workflow(FOLDER / "plan.yml")["on"]["pull_request"]["paths"]
    read = read_by_the_program()
    assert {"millrace.names", "millrace_rotation"} <= read
    files = {f"src/{module.replace('.', '/')}" for module in read - SAYS_NO_RESOURCE}
    changing = {f"{file}.py" if (ROOT / f"{file}.py").exists() else f"{file}/**" for file in files}
    changing |= {"environments/**", "requirements/**", "src/millrace_infra/**"}
    assert set(planned) == changing


def test_a_deployment_that_hangs_has_failed_before_its_job_is_cancelled() -> None:
    """`failure()` is true of a step that is out of time, and not of a job that is."""
    from millrace_infra.first_rotation import ROTATION_S_MAX
    from millrace_infra.rollout import WAITS_S_MAX
    from millrace_infra.secrets import ROTATED

    job = workflow(FOLDER / "deploy.yml")["jobs"]["deploy"]
    ends = {
        step["run"].split()[1]: int(step["timeout-minutes"])
        for step in job["steps"]
        if "timeout-minutes" in step
    }
    assert set(ends) == {"deploy", "verify-deployed"}
    assert sum(ends.values()) + 5 <= int(job["timeout-minutes"]), "the steps before them take their time too"
    waits_s = WAITS_S_MAX + ROTATION_S_MAX * len(ROTATED)
    assert ends["deploy"] * 60 >= waits_s + 600, "its own bounds end it first, with a sentence"
    assert ends["verify-deployed"] * 60 > CALM_S_MAX, "an alarm of before the first task has its time to end"


def test_a_matrix_that_may_be_empty_is_asked_about_before_it_is_made() -> None:
    for file in FILES:
        for name, job in workflow(file)["jobs"].items():
            for values in job.get("strategy", {}).get("matrix", {}).values():
                for variable in re.findall(
                    r"fromJSON\((vars\.\w+)", values if isinstance(values, str) else ""
                ):
                    assert job["if"] == f"{variable} != '' && {variable} != '[]'", f"{file.name}: {name}"


@pytest.mark.parametrize(
    ("file", "runs", "sets_up"),
    [("check.yml", "test", "second-emulator"), ("check.yml", "test", "go-tools"),
     ("check.yml", "test", "identity-provider"), ("nightly.yml", "test-long", "second-emulator")],
)  # fmt: skip
def test_what_needs_a_tool_does_not_skip_there(file: str, runs: str, sets_up: str) -> None:
    (job,) = (
        job
        for job in workflow(FOLDER / file)["jobs"].values()
        if runs in job.get("strategy", {}).get("matrix", {}).get("target", ())
    )
    steps = job["steps"]
    (at,) = (n for n, step in enumerate(steps) if step.get("run") == f"make {sets_up}")
    assert steps[at].get("if", "") in ("", f"matrix.target == '{runs}'")
    assert [step.get("run") for step in steps].index("make ${{ matrix.target }}") > at


def test_every_tool_that_a_test_skips_without_is_set_up_somewhere() -> None:
    """A target of the Makefile that only sets a tool up, or runs what needs it."""
    recipes = re.findall(
        r"^([a-z-]+):[^#\n]*\.tools/\w+/\.ready", (ROOT / "Makefile").read_text(), re.MULTILINE
    )
    assert len(recipes) >= 5
    assert set(recipes) <= asked_for(FOLDER / "check.yml") | asked_for(FOLDER / "nightly.yml")


def test_set_up_takes_the_versions_that_the_project_is_tested_with() -> None:
    action = ACTION.read_text()
    assert 'python-version: "3.11"' in action
    assert re.search(r"terraform_version: 1\.1[1-9]\.\d+", action)
