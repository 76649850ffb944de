"""Where Terraform finds its provider without a registry: a mirror, found by its shape.

A mirror is a folder that holds `<registry>/hashicorp/aws/<version>/<platform>/`. Where one lies with the
wanted version, Terraform gets a configuration of its own that names it; where there is none, it downloads as
usual. No path is fixed here: machines keep mirrors in different places.
"""

from __future__ import annotations

import os
import platform
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

ENV_MIRROR: Final = "MILLRACE_TERRAFORM_MIRROR"
"""A mirror's folder, if it lies where nobody would look."""
ENV_CONFIG: Final = "TF_CLI_CONFIG_FILE"
_FOLDERS: Final = ("/usr/share", "/usr/local/share", "/usr/local/lib", "/opt", "/var/lib")
_MACHINE: Final = {"x86_64": "amd64", "aarch64": "arm64", "arm64": "arm64", "AMD64": "amd64"}


def this_platform() -> str:
    """As Terraform names it, for example `linux_amd64`."""
    return f"{sys.platform}_{_MACHINE.get(platform.machine(), platform.machine())}"


def places(environ: Mapping[str, str]) -> list[Path]:
    """Folders that may be a mirror or hold one, the nearest to the user first."""
    named = [environ[name] for name in (ENV_MIRROR, "TF_PLUGIN_CACHE_DIR") if environ.get(name)]
    home = Path(environ.get("HOME", "/")) / ".terraform.d"
    return [*map(Path, named), home, *map(Path, _FOLDERS)]


def find(version: str, places: Iterable[Path]) -> Path | None:
    """The first mirror that holds this version of the AWS provider for this machine."""
    below = f"hashicorp/aws/{version}/{this_platform()}"
    for place in places:
        # the place itself is a mirror, a folder in it is one, or a folder in that
        for depth in ("", "*/", "*/*/"):
            for found in sorted(_glob(place, f"{depth}*/{below}")):
                return found.parents[4]
    return None


def _glob(place: Path, pattern: str) -> list[Path]:
    try:
        return [path for path in place.glob(pattern) if path.is_dir()]
    except OSError:  # a folder that we may not read holds no mirror for us
        return []


@contextmanager
def configured(version: str, environ: Mapping[str, str] = os.environ) -> Iterator[dict[str, str]]:
    """The environment for Terraform: the user's own configuration if there is one, a mirror's, or none."""
    own = {key: value for key, value in environ.items() if key != ENV_CONFIG}
    if (config := environ.get(ENV_CONFIG)) and Path(config).is_file():
        yield {**own, ENV_CONFIG: config}
        return
    mirror = find(version, places(environ))
    if mirror is None:
        yield own  # a configuration that is named and not there would only be an error
        return
    with tempfile.TemporaryDirectory(prefix="terraform-") as folder:
        file = Path(folder) / "terraform.rc"
        file.write_text(
            f'provider_installation {{\n  filesystem_mirror {{\n    path = "{mirror}"\n'
            '    include = ["*/*/*"]\n  }\n}\n'
        )
        yield {**own, ENV_CONFIG: str(file)}
