"""A synthesized program as its tests read it: resources by type, references followed, policies parsed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

REFERENCE = re.compile(r"\$\{([a-z0-9_.-]+?)\.([A-Za-z0-9_-]+)\.([a-z_0-9\[\].\"*]+)\}")


@dataclass(frozen=True)
class Resource:
    """One block of the program's JSON."""

    type: str
    id: str
    body: Mapping[str, Any] = field(hash=False)

    @property
    def address(self) -> str:
        return f"{self.type}.{self.id}"

    @property
    def path(self) -> str:
        """Where in the construct tree it was made, without the stack: `keys/stream/key`."""
        return str(self.body["//"]["metadata"]["path"]).partition("/")[2]

    def __getitem__(self, key: str) -> Any:
        return self.body[key]

    def get(self, key: str, default: Any = None) -> Any:
        return self.body.get(key, default)

    def statements(self, key: str = "policy") -> list[dict[str, Any]]:
        """The statements of the policy document that it carries."""
        found: list[dict[str, Any]] = json.loads(self.body[key])["Statement"]
        return found


class Program:
    """The JSON of one stack."""

    def __init__(self, name: str, text: str) -> None:
        self.name = name
        self.text = text
        self.json: dict[str, Any] = json.loads(text)

    @classmethod
    def changed(cls, name: str, content: dict[str, Any]) -> Program:
        """One that is broken on purpose; few tests read its text, so it is written when one does."""
        made = cls.__new__(cls)
        made.name, made.json = name, content
        return made

    @cached_property
    def text(self) -> str:
        return json.dumps(self.json)

    @property
    def environment(self) -> str:
        """The environment's name, as the provider tags every resource with it."""
        return str(self.json["provider"]["aws"][0]["default_tags"][0]["tags"]["environment"])

    def __iter__(self) -> Iterator[Resource]:
        for kind, blocks in self.json.get("resource", {}).items():
            for id_, body in blocks.items():
                yield Resource(kind, id_, body)

    def of(self, *types: str) -> list[Resource]:
        return [resource for resource in self if resource.type in types]

    def at(self, path: str) -> Resource:
        """The one resource whose construct path ends so."""
        found = [resource for resource in self if resource.path.endswith(path)]
        assert len(found) == 1, f"{path}: {[resource.path for resource in found]}"
        return found[0]

    def data(self, type_: str) -> list[Resource]:
        blocks = self.json.get("data", {}).get(type_, {})
        return [Resource(f"data.{type_}", id_, body) for id_, body in blocks.items()]

    def follow(self, value: str) -> Resource | None:
        """The resource that a `${type.id.attribute}` names."""
        match = REFERENCE.search(value)
        if match is None:
            return None
        body = self.json["resource"].get(match[1], {}).get(match[2])
        return Resource(match[1], match[2], body) if body is not None else None

    def policies(self) -> Iterator[tuple[Resource, dict[str, Any]]]:
        """Each statement of each policy document in the program, with the resource that carries it."""
        for resource in self:
            for key in ("policy", "assume_role_policy", "access_policy"):
                text = resource.get(key)
                if isinstance(text, str) and text.startswith("{"):
                    for statement in json.loads(text).get("Statement", []):
                        yield resource, statement
