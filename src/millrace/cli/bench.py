"""`millrace bench`: run a benchmark of the repository."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from millrace.errors import MillraceError


def bench(
    name: Annotated[
        str, typer.Argument(help="Which one, as listed without an argument, e.g. micro.decode.")
    ] = "",
    arguments: Annotated[list[str] | None, typer.Argument(help="Handed on to it, after --.")] = None,
) -> None:
    """List the benchmarks of this checkout, or run one of them."""
    root = _root()
    names = available(root)
    if not name:
        typer.echo("\n".join(names))
        return
    if name not in names:
        from millrace.errors import nearest

        raise MillraceError(
            f"no benchmark is called {name!r}{nearest(name, names)}; `millrace bench` lists them"
        )
    command = [sys.executable, "-m", f"benchmarks.{name}", *(arguments or [])]
    raise typer.Exit(subprocess.run(command, cwd=root, env=os.environ, check=False).returncode)


def available(root: Path) -> list[str]:
    """Benchmarks that can be run: modules with a main, by their name below `benchmarks`."""
    folder = root / "benchmarks"
    return sorted(
        ".".join(file.relative_to(folder).with_suffix("").parts)
        for file in folder.rglob("*.py")
        if '__name__ == "__main__"' in file.read_text()
    )


def _root() -> Path:
    """The checkout that this installation runs from."""
    for folder in (Path.cwd(), *Path(__file__).parents):
        if (folder / "benchmarks").is_dir() and (folder / "pyproject.toml").exists():
            return folder
    raise MillraceError("the benchmarks are part of the repository: run this from a checkout of it")
