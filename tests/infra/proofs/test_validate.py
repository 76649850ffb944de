"""Terraform itself accepts every stack: kinds, arguments and references exist as the provider knows them."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from millrace_infra.terraform_mirror import configured
from tests.infra.conftest import ENVIRONMENTS
from tests.infra.proofs.conftest import STACKS, Stacks

# one init and one validation take five seconds; what differs between environments is sizes
SLOW = [(e, k) for e in ENVIRONMENTS for k in STACKS if (e, k) != ("us-east-1", "platform")]
EACH = [("us-east-1", "platform"), *(pytest.param(*one, marks=pytest.mark.long) for one in SLOW)]


@pytest.mark.requirement("B-12")
@pytest.mark.requirement("S-01")
@pytest.mark.parametrize(("environment", "kind"), EACH)
def test_terraform_accepts_every_stack(environment: str, kind: str, stacks: Stacks, tmp_path: Path) -> None:
    terraform = shutil.which("terraform")
    if terraform is None:
        pytest.skip("Terraform is not on PATH")
    program = stacks(environment, kind)
    (tmp_path / "cdk.tf.json").write_text(program.text)
    version = program.json["terraform"]["required_providers"]["aws"]["version"]
    with configured(version) as given:
        for verb in (["init", "-backend=false", "-input=false"], ["validate", "-json"]):
            done = subprocess.run(
                [terraform, *verb],
                cwd=tmp_path,
                env=given,
                check=False,
                capture_output=True,
                text=True,
                timeout=200,
            )
            if verb[0] == "init" and done.returncode and "registry" in done.stderr:
                pytest.skip("the provider can neither be downloaded nor found in a mirror")
            assert done.returncode == 0, done.stderr or done.stdout
    assert json.loads(done.stdout)["diagnostics"] == []
