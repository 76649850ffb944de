"""One file imports the CDK: what it names is all that is loaded, and all that a change of engine touches."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import millrace_infra

ENGINES = {"cdktf", "cdktn", "constructs", "jsii", "cdktf_cdktf_provider_aws", "cdktn_provider_aws"}


def imported(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.partition(".")[0]
        elif isinstance(node, ast.Import):
            yield from (name.name.partition(".")[0] for name in node.names)


def test_one_file_imports_the_cdk() -> None:
    folder = Path(millrace_infra.__file__).parent
    assert {file.name for file in folder.rglob("*.py") if ENGINES & set(imported(file))} == {"terraform.py"}
