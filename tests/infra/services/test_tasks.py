"""What every task promises: who it is, what it can write to, how it ends, what it is told."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest
import yaml

from tests.infra.conftest import ENVIRONMENTS, FOLDER
from tests.infra.program import Program
from tests.infra.proofs.test_program import empty_blocks
from tests.infra.services.conftest import GIVEN
from tests.infra.services.parts import (
    LONG_RUNNING,
    TASKS,
    Build,
    containers,
    definition,
    service,
    statements,
    variables,
)


def test_no_block_is_empty(services: Program) -> None:
    assert list(empty_blocks(services.json["resource"])) == []


@pytest.mark.requirement("S-06")
@pytest.mark.parametrize("task", TASKS)
def test_a_task_has_the_size_that_the_settings_say(built: Build, task: str) -> None:
    for environment in ENVIRONMENTS:
        settings = yaml.safe_load((FOLDER / f"{environment}.yaml").read_text())
        size = settings.get(task, {"cpu": 256, "memory_mib": 1024})
        found = definition(built(environment), task)
        assert (found["cpu"], found["memory"]) == (str(size["cpu"]), str(size["memory_mib"]))
        assert found["requires_compatibilities"] == ["FARGATE"]
        assert found["network_mode"] == "awsvpc"
        assert found["runtime_platform"] == {
            "cpu_architecture": settings.get("architecture", "ARM64"),
            "operating_system_family": "LINUX",
        }
        assert found["ephemeral_storage"]["size_in_gib"] >= 21


@pytest.mark.requirement("S-06")
@pytest.mark.parametrize("task", TASKS)
def test_a_program_is_no_root_and_writes_only_to_its_volumes(services: Program, task: str) -> None:
    for name, container in containers(services, task).items():
        assert container["user"] == "10001:10001", name
        assert container["readonlyRootFilesystem"] is True, name
        assert container["linuxParameters"] == {
            "capabilities": {"drop": ["ALL"]},
            "initProcessEnabled": True,
        }
        assert "privileged" not in container
        assert "secrets" not in container  # read from the program, by ARN, so that a rotation is seen
    own = containers(services, task)[task]
    assert {"sourceVolume": "scratch", "containerPath": "/tmp", "readOnly": False} in own["mountPoints"]


@pytest.mark.parametrize("task", TASKS)
def test_a_container_runs_an_image_by_digest(services: Program, task: str) -> None:
    images = {name: one["image"] for name, one in containers(services, task).items()}
    assert images[task] == f"${{var.image_{'api' if task == 'migrate' else task}}}"
    for name in ("worker", "api", "dashboard", "collector"):
        variable = services.json["variable"][f"image_{name}"]
        assert "default" not in variable
        assert variable["validation"][0]["condition"] == (
            f'${{can(regex("@sha256:[0-9a-f]{{64}}$", var.image_{name}))}}'
        )


@pytest.mark.parametrize("task", TASKS)
def test_a_program_has_time_to_end_and_no_more_than_fargate_grants(services: Program, task: str) -> None:
    for container in containers(services, task).values():
        assert 30 <= container["stopTimeout"] <= 120
    assert containers(services, "worker")["worker"]["stopTimeout"] == 120


@pytest.mark.parametrize("task", LONG_RUNNING)
def test_a_program_is_asked_how_it_is(services: Program, task: str) -> None:
    own = containers(services, task)[task]
    health = own["healthCheck"]
    assert health["command"][:3] == ["CMD", "python", "-c"]
    compile(health["command"][3], task, "exec")
    assert health["startPeriod"] <= 300
    assert health["timeout"] < health["interval"]
    assert own["ulimits"] == [{"name": "nofile", "softLimit": 65535, "hardLimit": 65535}]


def test_a_worker_whose_heart_stands_still_is_ill(services: Program, tmp_path) -> None:
    own = containers(services, "worker")["worker"]
    beat = variables(services, "worker")["MILLRACE_HEARTBEAT_FILE"]
    file = tmp_path / "heartbeat"
    command = own["healthCheck"]["command"][3].replace(beat, str(file))

    def well() -> bool:
        return (
            subprocess.run([sys.executable, "-c", command], capture_output=True, check=False).returncode == 0
        )

    assert not well()
    file.touch()
    assert well()
    os.utime(file, (1, 1))
    assert not well()


@pytest.mark.requirement("S-09")
@pytest.mark.parametrize(("task", "read_only"), [("worker", False), ("api", True)])
def test_a_task_mounts_the_shared_file_system_with_iam_and_tls(
    services: Program, task: str, read_only: bool
) -> None:
    shared = next(one for one in definition(services, task)["volume"] if one["name"] == "shared")
    efs = shared["efs_volume_configuration"]
    assert efs["transit_encryption"] == "ENABLED"
    assert efs["authorization_config"]["iam"] == "ENABLED"
    point = services.follow(efs["authorization_config"]["access_point_id"])
    assert point is not None
    assert point.path == f"shared-storage/point-{task}"
    assert "root_directory" not in efs  # with an access point it must be absent
    mounts = containers(services, task)[task]["mountPoints"]
    assert {"sourceVolume": "shared", "containerPath": "/mnt/shared", "readOnly": read_only} in mounts
    assert variables(services, task)["MILLRACE_SHARED_FOLDER"] == "/mnt/shared"


@pytest.mark.parametrize("task", ["dashboard", "migrate"])
def test_who_shares_nothing_mounts_nothing(services: Program, task: str) -> None:
    assert [one["name"] for one in definition(services, task)["volume"]] == ["scratch"]
    assert "MILLRACE_SHARED_FOLDER" not in variables(services, task)


@pytest.mark.requirement("S-23")
@pytest.mark.parametrize("task", LONG_RUNNING)
def test_the_collector_starts_first_and_its_end_ends_nothing(services: Program, task: str) -> None:
    found = containers(services, task)
    assert found[task]["dependsOn"] == [{"containerName": "collector", "condition": "START"}]
    assert found[task]["essential"] is True
    assert found["collector"]["essential"] is False
    assert found["collector"]["restartPolicy"]["enabled"] is True
    told = variables(services, task)
    assert told["OTEL_EXPORTER_OTLP_ENDPOINT"] == "http://127.0.0.1:4318"
    # an alarm looks at minutes: each must have a report in it
    assert int(told["OTEL_METRIC_EXPORT_INTERVAL"]) <= 30_000


@pytest.mark.requirement("S-23")
@pytest.mark.parametrize("task", TASKS)
def test_a_program_can_count_with_what_its_task_is_told(services: Program, task: str) -> None:
    """On a volume that is empty at first: where a folder is named that nobody makes, the first import fails."""
    told = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path), **variables(services, task)}
    count = "from millrace import telemetry; telemetry.refused('rate'); print(telemetry.exposition().decode())"
    done = subprocess.run([sys.executable, "-c", count], env=told, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert 'ingest_requests_refused_total{reason="rate"} 1.0' in done.stdout


@pytest.mark.requirement("S-23")
def test_the_collector_listens_in_the_task_only_and_writes_where_it_may(services: Program) -> None:
    told = {one["name"]: one["value"] for one in containers(services, "worker")["collector"]["environment"]}
    config = json.loads(told["AOT_CONFIG_CONTENT"])
    assert config["receivers"]["otlp"]["protocols"] == {"http": {"endpoint": "127.0.0.1:4318"}}
    for pipeline in config["service"]["pipelines"].values():
        assert pipeline["processors"][0] == "memory_limiter"
        used = {*pipeline["processors"], *pipeline["receivers"], *pipeline["exporters"]}
        assert used <= {*config["processors"], *config["receivers"], *config["exporters"]}
    group = services.follow(config["exporters"]["awsemf"]["log_group_name"])
    assert group is not None
    assert group["name"] == "/millrace/collector-t1"
    assert config["exporters"]["awsemf"]["namespace"] == "Millrace/t1"
    assert config["processors"]["memory_limiter"]["limit_mib"] < 128


@pytest.mark.parametrize("task", TASKS)
def test_a_program_is_told_what_the_nouns_say_and_where_to_log(services: Program, task: str) -> None:
    if task != "dashboard":
        assert GIVEN.items() <= variables(services, task).items()
    for container in containers(services, task).values():
        options = container["logConfiguration"]["options"]
        group = services.follow(options["awslogs-group"])
        assert group is not None
        assert group["kms_key_id"]
        assert options["mode"] == "non-blocking"


@pytest.mark.requirement("S-11")
def test_no_variable_of_a_task_holds_a_secret(services: Program) -> None:
    for task in TASKS:
        for name, value in variables(services, task).items():
            assert not re.search(r"SECRET(?!.*ARN)|PASSWORD|TOKEN(?!_ENDPOINT)", name), name
            assert "postgresql://" not in value


@pytest.mark.requirement("S-13")
@pytest.mark.parametrize("task", LONG_RUNNING)
def test_ecs_may_pull_this_tasks_images_and_write_its_logs_and_nothing_else(
    services: Program, task: str
) -> None:
    found = statements(services, f"{task}/task/execution-role")
    for statement in found:
        if statement["Resource"] == ["*"]:
            assert statement["Action"] == ["ecr:GetAuthorizationToken"]
    pulled = next(one for one in found if "ecr:BatchGetImage" in one["Action"])
    assert [arn.rpartition("/")[2] for arn in pulled["Resource"]] == [
        f"millrace-{task}-t1",
        "millrace-collector-t1",
    ]
    actions = {action for one in found for action in one["Action"]}
    assert {action.partition(":")[0] for action in actions} == {"ecr", "logs"}


@pytest.mark.requirement("S-13")
def test_before_any_grant_a_task_may_only_report(services: Program) -> None:
    actions = {
        action
        for statement in statements(services, "dashboard/task/task-role")
        for action in statement["Action"]
    }
    assert {action.partition(":")[0] for action in actions} == {"xray", "logs"}


def test_tasks_start_after_what_they_are_granted(services: Program) -> None:
    for task in LONG_RUNNING:
        granted = {
            policy.address
            for policy in services.of("aws_iam_role_policy")
            if policy.path.startswith(f"{task}/task/")
        }
        assert granted <= set(service(services, task)["depends_on"])


@pytest.mark.requirement("S-22")
def test_a_revision_is_kept_to_go_back_to(services: Program) -> None:
    for task in TASKS:
        assert definition(services, task)["skip_destroy"] is True


@pytest.mark.requirement("S-12")
def test_the_scratch_disk_is_under_a_key_that_fargate_alone_uses_for_this_cluster(services: Program) -> None:
    (cluster,) = services.of("aws_ecs_cluster")
    storage = cluster["configuration"]["managed_storage_configuration"]
    key = services.follow(storage["fargate_ephemeral_storage_kms_key_id"])
    assert key is not None
    assert key["enable_key_rotation"] is True
    used = [one for one in json.loads(key["policy"])["Statement"] if "Service" in one["Principal"]]
    assert {action for one in used for action in one["Action"]} == {
        "kms:GenerateDataKeyWithoutPlaintext",
        "kms:CreateGrant",
    }
    for statement in used:
        assert statement["Principal"] == {"Service": "fargate.amazonaws.com"}
        context = statement["Condition"]["StringEquals"]
        assert context["kms:EncryptionContext:aws:ecs:clusterName"] == cluster["name"]


def test_a_shell_in_a_task_is_off_and_would_be_on_record(services: Program) -> None:
    (cluster,) = services.of("aws_ecs_cluster")
    sessions = cluster["configuration"]["execute_command_configuration"]
    assert sessions["logging"] == "OVERRIDE"
    assert sessions["log_configuration"]["cloud_watch_encryption_enabled"] is True
    assert all(one["enable_execute_command"] is False for one in services.of("aws_ecs_service"))
