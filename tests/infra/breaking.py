"""Breaking a rule on purpose: changes of one resource of a synthesized program, for the tables of mutations."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from tests.infra.program import Program

Body = dict[str, Any]
Change = Callable[[Body], None]
NOTICED = (AssertionError, KeyError, ValueError)
"""What a test raises that sees the broken rule; an unpacking that finds too much or too little is a ValueError."""


def put(path: str, value: Any) -> Change:
    """Set what lies at a dotted path of a resource."""

    def on(body: Body) -> None:
        *parents, last = path.split(".")
        place: Any = body
        for parent in parents:
            place = place[int(parent) if parent.isdigit() else parent]
        place[int(last) if last.isdigit() else last] = value

    return on


def drop(key: str) -> Change:
    def on(body: Body) -> None:
        del body[key]

    return on


def policy(change: Callable[[list[Body]], Any], key: str = "policy") -> Change:
    """Change the statements of a policy."""

    def on(body: Body) -> None:
        found = json.loads(body[key])
        change(found["Statement"])
        body[key] = json.dumps(found)

    return on


def first(key: str, value: Any) -> Callable[[list[Body]], None]:
    return lambda statements: statements[0].update({key: value})


def without(kind: str) -> Change:
    """The whole program without a kind of resource."""

    def on(whole: Body) -> None:
        del whole["resource"][kind]

    return on


def also(kind: str, body: Body) -> Change:
    """A resource more in the whole program."""

    def on(whole: Body) -> None:
        content = {**body, "//": {"metadata": {"path": "x/added", "uniqueId": "added"}}}
        whole["resource"].setdefault(kind, {})["added"] = content

    return on


def broken(program: Program, path: str, change: Change) -> Program:
    """A copy in which the resource of that path is changed, or the whole program where the path is empty."""
    copy = Program(program.name, program.text)
    try:
        change(_at(copy, path))
    except (*NOTICED, AttributeError, IndexError, StopIteration) as error:
        raise RuntimeError(f"nothing was broken: no such place in {path}") from error
    return Program(program.name, json.dumps(copy.json))


def _at(program: Program, path: str) -> Body:
    if not path:
        return program.json
    (found,) = [one for one in program if one.path == path]
    return found.body  # type: ignore[return-value]
