from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from millrace.cli import app

VERBS = [
    "up",
    "simulate",
    "send",
    "model",
    "replay",
    "stats",
    "verify",
    "rejects",
    "doctor",
    "bench",
    "reset",
]
HEAVY = ("numba", "pyarrow", "psycopg", "httpx", "fastapi", "structlog", "prometheus_client", "numpy")


def millrace(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MILLRACE_")}
    return subprocess.run(
        [sys.executable, "-m", "millrace.cli", *arguments],
        env={**clean, "PYTHONPATH": "src", "COLUMNS": "80", **environ}, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_help_lists_every_verb() -> None:
    said = millrace("--help").stdout
    assert re.findall(r"^  (\w+)  ", said, re.MULTILINE) == VERBS


def test_no_verb_is_cut_off_in_the_list() -> None:
    assert not re.search(r"^  \w.*\.\.\.$", millrace("--help").stdout, re.MULTILINE)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_says_what_it_does(verb: str) -> None:
    result = CliRunner().invoke(app, [verb, "--help"])
    assert result.exit_code == 0
    assert len(result.output) > 200


@pytest.mark.parametrize(
    "verb", ["send", "model", "replay", "simulate", "stats", "verify", "rejects", "doctor", "bench"]
)
def test_a_script_can_ask_for_json(verb: str) -> None:
    assert "--json" in CliRunner().invoke(app, [verb, "--help"]).output


def test_help_imports_nothing_heavy() -> None:
    script = "import sys; import millrace.cli; print(*[name for name in sys.argv[1:] if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", script, *HEAVY],
        env={**os.environ, "PYTHONPATH": "src"}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == ""


@pytest.mark.parametrize("verb", ["stats", "verify", "rejects", "simulate", "replay"])
def test_without_a_platform_a_verb_says_how_to_start_one(tmp_path: Path, verb: str) -> None:
    file = ["recording.csv"] if verb == "replay" else []
    done = millrace(verb, *file, MILLRACE_HOME=str(tmp_path / "home"))
    assert done.returncode == 2
    assert "millrace up" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("duration_s", ["1e300", "inf", "nan", "0", "-1"])
def test_a_fault_without_a_length_that_can_be_is_a_mistake_in_the_command(duration_s: str) -> None:
    done = millrace("simulate", "--fault", "pump", "--duration-s", duration_s)
    assert (done.returncode, "--duration-s" in done.stderr, "Traceback" in done.stderr) == (2, True, False)


def test_a_mistyped_setting_is_named_with_the_nearest(tmp_path: Path) -> None:
    done = millrace("doctor", MILLRACE_DISK_MAXX="1")
    assert done.returncode == 2
    assert "did you mean MILLRACE_DISK_MAX?" in done.stderr


def test_reset_asks_before_it_deletes(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "folder.json").write_text("{}")
    asked = CliRunner().invoke(app, ["reset", "--home", str(home)], input="n\n")
    assert asked.exit_code == 1
    assert (home / "folder.json").exists()
    assert CliRunner().invoke(app, ["reset", "--home", str(home)], input="y\n").exit_code == 0
    assert not home.exists()


def test_reset_of_nothing_is_no_mistake(tmp_path: Path) -> None:
    assert "nothing to delete" in CliRunner().invoke(app, ["reset", "--home", str(tmp_path / "home")]).output


def test_the_doctor_names_what_it_looked_at(tmp_path: Path) -> None:
    done = millrace(
        "doctor",
        "--json",
        "--home",
        str(tmp_path / "home"),
        MILLRACE_API_PORT="18479",
        MILLRACE_DASHBOARD_PORT="18480",
    )
    assert not any(check["advice"] for check in json.loads(done.stdout) if check["ok"])
    for name in ("python", "servers", "data folder", "disk", "sync", "ports"):
        assert f'"name": "{name}"' in done.stdout
    assert re.search(r"postgres \(PostgreSQL\) [\d.]+, Valkey server v=[\d.]+\"", done.stdout)
    assert not (tmp_path / "home").exists()  # it only looks


def examined(home: str) -> dict[str, Any]:
    done = millrace("doctor", "--json", "--home", home)
    assert done.returncode == 1, done.stderr
    return next(check for check in json.loads(done.stdout) if check["name"] == "data folder")


@pytest.mark.parametrize(
    ("home", "words", "advice"),
    [
        pytest.param(
            "/proc/millrace", "nothing can be written in /proc", "Make it writable",
            marks=pytest.mark.skipif(sys.platform != "linux", reason="has no /proc"),
        ),
        ("a-file", "a-file is a file, wanted a folder", "MILLRACE_HOME"),
        ("a-file/home", "a-file is a file, wanted a folder", "MILLRACE_HOME"),
        ("pictures", "holds other files (cat.jpg", "Choose an empty one"),
    ],
)  # fmt: skip
def test_the_doctor_tries_whether_a_data_folder_can_be_written(
    tmp_path: Path, home: str, words: str, advice: str
) -> None:
    (tmp_path / "a-file").write_text("")
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "cat.jpg").write_text("")
    before = sorted(tmp_path.rglob("*"))
    check = examined(str(tmp_path / home))
    assert not check["ok"]
    assert words in check["found"]
    assert advice in check["advice"]
    assert sorted(tmp_path.rglob("*")) == before


def test_the_benchmarks_are_listed_with_what_each_measures() -> None:
    said = CliRunner().invoke(app, ["bench"]).output
    assert re.search(r"^micro\.decode +Bytes per reading", said, re.MULTILINE)
    listed = json.loads(CliRunner().invoke(app, ["bench", "--json"]).output)
    assert {"micro.decode", "pipeline.plant"} <= {one["name"] for one in listed}
    assert all(one["title"] for one in listed)
    for name, words in (("nothing-like-it", "one that `millrace bench` lists"), ("micro.decod", "did you mean")):
        done = millrace("bench", name)
        assert (done.returncode, words in done.stderr) == (2, True), done.stderr


def test_a_benchmark_that_prints_no_json_says_which_do() -> None:
    done = millrace("bench", "--json", "micro.kernels")
    assert done.returncode == 2
    assert "wanted one of micro.decode" in done.stderr


def test_a_benchmark_runs_and_its_figures_are_json_for_a_script() -> None:
    done = millrace("bench", "--json", "micro.decode")
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert {line["format"] for line in lines} >= {"frame", "ndjson"}
    assert all(line["decode_us"] > 0 for line in lines)
