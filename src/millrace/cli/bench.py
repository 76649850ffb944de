"""`millrace bench`: run a benchmark of the repository."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer

from millrace.cli.platform import JsonOption, print_json
from millrace.errors import MillraceError, SettingError, nearest

JSON_OPTION = "--json"


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A module with a main. `json`: it has an option of its own for it."""

    name: str
    title: str
    json: bool


def bench(
    name: Annotated[
        str,
        typer.Argument(
            help="Which one, as the list names it, e.g. micro.decode; without it they are listed.",
            show_default=False,
        ),
    ] = "",
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            help="For the benchmark itself, after --, e.g. micro.kernels -- --tags 1000; -- --help lists them.",
            show_default=False,
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List the benchmarks of this checkout, or run one."""
    root = _root()
    known = available(root)
    if not name:
        _list(known, as_json=as_json)
        return
    chosen = next((one for one in known if one.name == name), None)
    if chosen is None:
        near = nearest(name, [one.name for one in known])
        raise SettingError("benchmark", got=name, want=f"one that `millrace bench` lists{near}")
    if as_json and not chosen.json:
        able = ", ".join(one.name for one in known if one.json)
        raise SettingError(JSON_OPTION, got=f"{name}, which prints text only", want=f"one of {able}")
    command = [sys.executable, "-m", f"benchmarks.{name}", *[JSON_OPTION] * as_json, *(arguments or [])]
    raise typer.Exit(subprocess.run(command, cwd=root, env=os.environ, check=False).returncode)


def _list(known: list[Benchmark], *, as_json: bool) -> None:
    if as_json:
        print_json([asdict(one) for one in known])
        return
    width = max(len(one.name) for one in known)
    typer.echo("\n".join(f"{one.name:<{width}}  {one.title}" for one in known))


def available(root: Path) -> list[Benchmark]:
    """Benchmarks that can be run: modules with a main, by their name below `benchmarks`."""
    folder = root / "benchmarks"
    texts = {file: file.read_text() for file in folder.rglob("*.py")}
    return sorted(
        (
            Benchmark(
                name=".".join(file.relative_to(folder).with_suffix("").parts),
                title=(ast.get_docstring(ast.parse(text)) or "").split("\n\n")[0].replace("\n", " "),
                json=f'add_argument("{JSON_OPTION}"' in text,
            )
            for file, text in texts.items()
            if '__name__ == "__main__"' in text
        ),
        key=lambda one: one.name,
    )


def _root() -> Path:
    """The checkout that this installation runs from."""
    for folder in (Path.cwd(), *Path(__file__).parents):
        if (folder / "benchmarks").is_dir() and (folder / "pyproject.toml").exists():
            return folder
    raise MillraceError("the benchmarks are part of the repository: run this from a checkout of it")
