"""Print docs/requirements.md: each requirement, how far it is met, and the test files whose marks say so.

The words and states are here; the tests are found by their `@pytest.mark.requirement("S-19")`.
"""

# ruff: noqa: E501 (one line per requirement reads as the table it is)
from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]

PROVEN = "proven"  # the tests named are the proof, as far as one machine can give it
PARTLY = "partly"  # what is there is tested; the note says what is missing
LATER = "later"  # not begun, or nothing of it is tested


@dataclass(frozen=True)
class Requirement:
    id: str
    text: str
    state: str
    note: str = ""


SYNTHESIZED = "proven on the synthesized program and on emulators; nothing has run in an account yet"
REQUIREMENTS = (
    Requirement("S-01", "Infrastructure as code: CDKTF in Python", PARTLY, SYNTHESIZED),
    Requirement("S-02", "us-east-1 and eu-central-1 out of the same code", PARTLY, SYNTHESIZED),
    Requirement("S-03", "Every resource named by environment, and tagged", PARTLY, SYNTHESIZED),
    Requirement("S-04", "Everything destroyable", PARTLY, SYNTHESIZED),
    Requirement("S-05", "Ingest by Kinesis Data Streams", PARTLY, SYNTHESIZED),
    Requirement("S-06", "Processing on ECS Fargate, scaled by the stream", PARTLY, SYNTHESIZED),
    Requirement("S-07", "Operational store: Aurora PostgreSQL", PARTLY, SYNTHESIZED),
    Requirement("S-08", "Real-time analytics: ElastiCache", PARTLY, SYNTHESIZED),
    Requirement("S-09", "Shared storage: EFS", PARTLY, SYNTHESIZED),
    Requirement("S-10", "API Gateway for outside integrations", PARTLY, SYNTHESIZED),
    Requirement("S-11", "Secrets fetched, rotated, picked up while running", PARTLY, SYNTHESIZED),
    Requirement("S-12", "Encryption at rest and on every hop", PARTLY, SYNTHESIZED),
    Requirement("S-13", "Least privilege", PARTLY, SYNTHESIZED),
    Requirement("S-14", "Private networks, end points, flow logs", PARTLY, SYNTHESIZED),
    Requirement("S-15", "100,000 events/s", PARTLY, "admission is tested; the rate is measured by `benchmarks.pipeline.plant`"),
    Requirement("S-16", "Event to visible result under 500 ms, p99", PARTLY, "the path is tested; the time is measured by `benchmarks.pipeline.plant`"),
    Requirement("S-17", "Anomalies found on live equipment data", PARTLY, "maintenance prediction: later"),
    Requirement("S-18", "Live monitoring and historical analysis", PARTLY, "API and a first live page; operators' screens: later"),
    Requirement("S-19", "Nothing accepted is lost or counted twice; bad input is kept with its reason", PROVEN, "on one machine"),
    Requirement("S-20", "Every critical reading kept at least 7 years", PARTLY, "local tiers and the archive; Object Lock, life cycle and backups of 2557 days are in the synthesized program, which no account has run yet"),
    Requirement("S-21", "ISA-95, ISA-18.2, audit trail", PARTLY, "ISA-95 hierarchy, alarm states; life cycle and control mapping: later"),
    Requirement("S-22", "Blue-green deployment", PARTLY, SYNTHESIZED),
    Requirement("S-23", "CloudWatch and X-Ray across all services", PARTLY, SYNTHESIZED),
    Requirement("S-24", "Unit tests, and integration tests on deployed resources", PARTLY, "all of `tests`; those on deployed resources are skipped for want of an account"),
    Requirement("S-25", "CI/CD: lint, test, scan, plan, deploy, verify, roll back", PARTLY, "`.ci/run` lints, tests and scans; workflows of a hosted CI have run nowhere yet"),
    Requirement("B-01", "The whole platform on one machine with one command", PARTLY, "on one machine; the programs do not run in the cloud yet"),
    Requirement("B-02", "Quarantine with reason, and replay", PROVEN),
    Requirement("B-03", "ISA-18.2 alarm life cycle", PARTLY, "hysteresis, delays, deadband; acknowledge, shelve, flood: later"),
    Requirement("B-04", "OEE and ISO 22400 figures", LATER, "with the operators' screens"),
    Requirement("B-05", "Tamper-evident archive", PARTLY, "SHA-256 of each file; the hash chain: later"),
    Requirement("B-06", "Detection quality on public benchmarks", LATER, "datasets can be replayed; scores: later"),
    Requirement("B-07", "Published latency and throughput with their command", PARTLY, "`benchmarks` and `docs/performance.md`; no test asserts a time"),
    Requirement("B-08", "Fault simulation with seeds: one effect per event, whatever is killed", PROVEN),
    Requirement("B-09", "Backtest over the archive", LATER, "with the operators' screens"),
    Requirement("B-10", "OPC UA and MQTT Sparkplug B with store-and-forward", LATER, "the producer's buffer on disk is there; the protocols: later"),
    Requirement("B-11", "Planner of capacity and cost", LATER, "sizes follow from the declared load already; prices: later"),
    Requirement("B-12", "Infrastructure proven without an account", PROVEN, "apply, plan, change from outside, upgrade and destroy on an emulator; `docs/emulators.md` says what it cannot show"),
)  # fmt: skip
UNTESTED = {"B-07"}  # partly, by what no single test can show: figures

HEAD = """# Requirements

Written by `make docs` out of `scripts/document_requirements.py` and the marks on the tests; change them there.
*proven*: the tests named are the proof. *partly*: what is there is tested, the note says what is missing.
*later*: not yet.

S rows are the commission, B rows go beyond it.

| id | requirement | state | tests |
|---|---|---|---|
"""


def marks() -> dict[str, set[str]]:
    """Requirement id -> test files with its mark."""
    found: dict[str, set[str]] = {}
    for path in sorted((ROOT / "tests").rglob("*.py")):
        for id in _marks_of(ast.parse(path.read_text())):
            found.setdefault(id, set()).add(str(path.relative_to(ROOT)))
    return found


def _marks_of(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.requirement":
            yield from (str(argument.value) for argument in node.args if isinstance(argument, ast.Constant))


def table() -> str:
    tests = marks()
    rows = []
    for row in REQUIREMENTS:
        state = f"{row.state}: {row.note}" if row.note else row.state
        files = "<br>".join(f"`{name.removeprefix('tests/')}`" for name in sorted(tests.get(row.id, ())))
        rows.append(f"| {row.id} | {row.text} | {state} | {files} |")
    return HEAD + "\n".join(rows) + "\n"


if __name__ == "__main__":
    sys.stdout.write(table())
