"""Which CDK synthesizes, and how little of its AWS package is loaded.

The provider's package imports its 1,000 modules in its own `__init__`: 15 s and half a gigabyte. The program
uses some 120 of them, and each of those needs only the package's `_jsii` beside it. So the package is put in
place without running that `__init__`, and what `terraform.py` names is all that is loaded.

CDKTF lives on as CDKTN with the same classes. `MILLRACE_CDK=cdktn` puts its packages in the place of the old
names; the two cannot be installed side by side, so that happens in an environment of its own.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from types import ModuleType
from typing import Final

from millrace.errors import SettingError

ENV_ENGINE: Final = "MILLRACE_CDK"
AWS_PACKAGE: Final = "cdktf_cdktf_provider_aws"
_PACKAGES: Final = {"cdktf": AWS_PACKAGE, "cdktn": "cdktn_provider_aws"}

_TARGETS: Final = '{"targetVersions": {"terraform": ">=1.11.0"}}'
"""CDKTN refuses write-only arguments unless the program says that it runs on nothing older than 1.11."""


NODE_MIN: Final = 20
"""The release that the CDK is tested with; on one that is much older it ends in a traceback of its own."""
_ANSWER_WAIT_S: Final = 30
_NODE_WANTED: Final = f"Node.js {NODE_MIN} or later, for the CDK"


def need_node() -> None:
    """SettingError where there is none, or one too old: importing the CDK starts it."""
    program = shutil.which("node")
    if program is None:
        raise SettingError("node", got="nothing of that name on PATH", want=_NODE_WANTED)
    said = _version_of(program)
    version = re.match(r"v(\d+)\.", said)
    if version is None:
        raise SettingError(program, got="no answer to which version it is", want=_NODE_WANTED)
    if int(version[1]) < NODE_MIN:
        raise SettingError(program, got=said, want=_NODE_WANTED)


def _version_of(program: str) -> str:
    """`v20.20.2`, or nothing."""
    try:
        done = subprocess.run(
            [program, "--version"], capture_output=True, text=True, check=False, timeout=_ANSWER_WAIT_S
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def load() -> None:
    """Make `cdktf` and the AWS package importable; repeated calls do nothing."""
    if AWS_PACKAGE in sys.modules:
        return
    need_node()
    # jsii warns of each Node release that it will leave behind one day; the lock decides, not the warning
    os.environ.setdefault("JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION", "20")
    engine = os.environ.get(ENV_ENGINE, "cdktf")
    if engine not in _PACKAGES:
        raise SettingError(ENV_ENGINE, got=engine, want=" or ".join(_PACKAGES))
    if engine != "cdktf":
        os.environ.setdefault("CDKTF_CONTEXT_JSON", _TARGETS)  # before jsii starts Node, which reads it there
        sys.modules["cdktf"] = importlib.import_module(engine)
    sys.modules[AWS_PACKAGE] = _without_its_init(_PACKAGES[engine])


def _without_its_init(name: str) -> ModuleType:
    spec = importlib.util.find_spec(name)
    if spec is None or spec.submodule_search_locations is None:
        raise SettingError(name, got="not installed", want="the extra `infra`: make test sets it up")
    package = ModuleType(AWS_PACKAGE)
    package.__path__ = list(spec.submodule_search_locations)
    return package
