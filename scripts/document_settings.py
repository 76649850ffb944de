"""Print docs/settings.md: every setting with its variable, default and manual, out of the code that reads
it.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))

from millrace.settings import GIB, MIB, Settings

HEAD = """# Settings

Written by `make docs` out of `src/millrace/settings.py`; change it there.

Precedence: environment, then the file that `MILLRACE_SETTINGS` names (YAML; else `settings.yaml` in the data
folder), then the defaults here. In a file the names are the variables in lower case without `MILLRACE_`.
Sizes take `20GB`, `512MiB` and the like. An unknown name is refused.

| variable | default | meaning |
|---|---|---|
"""


def shown(value: object) -> str:
    """A default as a person writes it."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= MIB and value % MIB == 0:
        return f"`{value // GIB}GiB`" if value % GIB == 0 else f"`{value // MIB}MiB`"
    return "" if value in ("", None) else f"`{str(value).lower() if isinstance(value, bool) else value}`"


def table() -> str:
    rows = []
    for name, field in Settings.model_fields.items():
        variable = f"MILLRACE_{(field.alias or name).upper()}"
        manual = " ".join((field.description or "").split())
        rows.append(f"| `{variable}` | {shown(field.default)} | {manual} |")
    return HEAD + "\n".join(rows) + "\n"


if __name__ == "__main__":
    sys.stdout.write(table())
