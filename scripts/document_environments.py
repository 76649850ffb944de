"""Print docs/environments.md: every key of an environment's file, out of the code that reads it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))

from pydantic.fields import FieldInfo

from millrace_infra.settings import Settings
from millrace_infra.settings.section import Section

HEAD = """# The keys of an environment's file

Written by `make docs` out of `src/millrace_infra/settings/`; change it there. What to put in first is in
[deploy.md](deploy.md#1-your-account-in-a-settings-file), how to add an environment in
[add/environment.md](add/environment.md). Unknown keys are refused, and so is what cannot work together: too few shards
for the load, memory that Fargate does not offer beside the CPU, zones or a certificate of another region.

| key | takes | default | meaning |
|---|---|---|---|
"""
_WORDS = {str: "text", int: "a whole number", float: "a number", bool: "`true` or `false`"}


def entries(section: type[Section] = Settings, path: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """(dotted key, field) of every value, the parts of the file opened."""
    for name, field in section.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, Section):
            yield from entries(kind, f"{path}{name}.")
        else:
            yield f"{path}{name}", field


def taken(field: FieldInfo) -> str:
    kind = field.annotation
    if get_origin(kind) is Literal:
        return ", ".join(f"`{one}`" for one in get_args(kind))
    bounds = {
        name: getattr(one, name) for one in field.metadata for name in ("ge", "le") if hasattr(one, name)
    }
    if get_origin(kind) is tuple:
        return "a list"
    least, most = bounds.get("ge"), bounds.get("le")
    if least is not None:
        return f"{least} to {most}" if most is not None else f"{least} or more"
    return _WORDS.get(kind, "text") if isinstance(kind, type) else "text"


def default(field: FieldInfo) -> str:
    if field.is_required():
        return "none: must be there"
    values: Any = field.default if isinstance(field.default, tuple) else (field.default,)
    shown = [str(one).lower() if isinstance(one, bool) else str(one) for one in values if one != ""]
    return ", ".join(f"`{one}`" for one in shown) or "nothing"


def table() -> str:
    rows = []
    for key, field in entries():
        manual = " ".join((field.description or "").split())
        rows.append(f"| `{key}` | {taken(field)} | {default(field)} | {manual} |")
    return HEAD + "\n".join(rows) + "\n"


if __name__ == "__main__":
    sys.stdout.write(table())
