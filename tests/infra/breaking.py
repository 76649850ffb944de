"""Breaking a rule on purpose: changes of one resource of a synthesized program, for the tables of mutations."""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import deepcopy
from typing import Any

from tests.infra.program import Program, Resource

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
    copy, body = apart(program, path)
    try:
        change(body)
    except (*NOTICED, AttributeError, IndexError, StopIteration) as error:
        raise RuntimeError(f"nothing was broken: no such place in {path}") from error
    return copy


def apart(program: Program, path: str) -> tuple[Program, Body]:
    """A copy, and what of it may be changed: all else it shares with the program, which is large."""
    if not path:
        copy = Program(program.name, program.text)
        del copy.text
        return copy, copy.json
    found = [one for one in program if one.path == path]
    if len(found) != 1:
        raise RuntimeError(f"nothing was broken: no such place as {path}")
    return beside(program, found[0])


def beside(program: Program, resource: Resource) -> tuple[Program, Body]:
    """A copy with a resource of its own in place of that one."""
    body, resources = deepcopy(dict(resource.body)), program.json["resource"]
    blocks = {**resources[resource.type], resource.id: body}
    content = {**program.json, "resource": {**resources, resource.type: blocks}}
    return Program.changed(program.name, content), body
