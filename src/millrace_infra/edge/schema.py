"""The service's JSON schemas (2020-12) as API Gateway reads them: draft 4, in the words of OpenAPI 3.0.

Exact or not at all: whatever the one accepts the other accepts, and a keyword that cannot be said so is
refused. The edge may then reject a body without ever rejecting what the service would have taken.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from millrace_infra.edge.refusal import CannotExpress, only

Schema = dict[str, Any]

REFERENCE: Final = "#/components/schemas/"
DROPPED: Final = frozenset(
    {
        "default", "examples", "example", "deprecated", "readOnly", "writeOnly", "$comment",
        "format", "contentMediaType", "contentEncoding",
    }
)  # fmt: skip
"""Annotations in 2020-12. A draft-4 validator would check `format`, the service does not: so it goes too."""
_TYPES: Final = ("string", "number", "boolean", "object")


def lowered(schema: Any, where: str) -> Schema:
    """The same set of values as a draft-4 schema; CannotExpress names the keyword that stands in the way."""
    if isinstance(schema, bool):
        return {} if schema else {"not": {}}
    if not isinstance(schema, Mapping):
        raise CannotExpress(where, got=schema, want="a schema")
    only(where, schema, handled={*KEYWORDS, *DROPPED, "$ref"})
    if "$ref" in schema:
        return _reference(schema, where)
    return joined([KEYWORDS[key](schema, where) for key in schema if key in KEYWORDS])


def joined(parts: list[Schema]) -> Schema:
    """One schema for which all parts hold; what two of them say with the same keyword goes into `allOf`."""
    base: Schema = {}
    rest: list[Schema] = []
    for part in parts:
        own = {key: value for key, value in part.items() if key != "allOf"}
        rest += part.get("allOf", [])
        if base.keys() & own.keys():
            rest.append(own)
        else:
            base |= own
    return base | ({"allOf": rest} if rest else {})


def model_name(name: str) -> str:
    """A schema's name as API Gateway takes it: letters and digits only."""
    return re.sub(r"[^A-Za-z0-9]", "", name)


def references(schema: Any) -> set[str]:
    """Names of the components that a lowered schema refers to."""
    if isinstance(schema, list):
        return {name for one in schema for name in references(one)}
    if not isinstance(schema, Mapping):
        return set()
    own = {str(schema["$ref"]).removeprefix(REFERENCE)} if isinstance(schema.get("$ref"), str) else set()
    return own | {name for one in schema.values() for name in references(one)}


# --- one function for each family of keywords: (schema, where) -> what it says ------------------------


def _reference(schema: Mapping[str, Any], where: str) -> Schema:
    """Draft 4 ignores what stands beside `$ref`: constraints move beside it, words are dropped."""
    target = schema["$ref"]
    if not isinstance(target, str) or not target.startswith(REFERENCE):
        raise CannotExpress(f"{where}/$ref", got=target, want=f"{REFERENCE}…")
    reference = {"$ref": REFERENCE + model_name(target.removeprefix(REFERENCE))}
    rest = {key: value for key, value in schema.items() if key != "$ref"}
    if not (rest.keys() & KEYWORDS.keys()) - {"title", "description"}:
        return reference
    return joined([lowered(rest, where), {"allOf": [reference]}])


def _type(schema: Mapping[str, Any], where: str) -> Schema:
    said = schema["type"]
    if isinstance(said, list) and said:
        # an array needs `items` in OpenAPI 3.0; in a branch it says nothing, the real one stands outside
        branches = [_one_type(one, where, {"items": {}}) for one in said]
        return branches[0] if len(branches) == 1 else {"anyOf": branches}
    return _one_type(said, where, {} if {"items", "prefixItems"} & schema.keys() else {"items": {}})


def _one_type(name: Any, where: str, items: Schema) -> Schema:
    if name == "null":
        return {"enum": [None]}  # OpenAPI 3.0 has no such type, and `nullable` is no word of draft 4
    if name == "integer":
        return {
            "type": "number",
            "multipleOf": 1,
        }  # draft 4 takes 1.0 for no integer; JSON and the service do
    if name == "array":
        return {"type": "array", **items}
    if name not in _TYPES:
        raise CannotExpress(f"{where}/type", got=name, want="a type of JSON schema")
    return {"type": name}


def _bound(keyword: str, inclusive: str) -> Callable[[Mapping[str, Any], str], Schema]:
    """`exclusiveMinimum: 5` as "5 or more, and not 5": API Gateway does not know draft 4's own spelling."""

    def said(schema: Mapping[str, Any], where: str) -> Schema:
        limit = schema[keyword]
        if isinstance(limit, bool) or not isinstance(limit, int | float):
            raise CannotExpress(f"{where}/{keyword}", got=limit, want="a number, as in 2020-12")
        return {inclusive: limit, "not": {"enum": [limit]}}

    return said


def _same(keyword: str) -> Callable[[Mapping[str, Any], str], Schema]:
    return lambda schema, where: {keyword: schema[keyword]}


def _each(keyword: str) -> Callable[[Mapping[str, Any], str], Schema]:
    """A list of schemas."""

    def said(schema: Mapping[str, Any], where: str) -> Schema:
        if not isinstance(schema[keyword], list) or not schema[keyword]:
            raise CannotExpress(f"{where}/{keyword}", got=schema[keyword], want="a list with a schema in it")
        return {keyword: [lowered(one, f"{where}/{keyword}/{at}") for at, one in enumerate(schema[keyword])]}

    return said


def _inner(keyword: str) -> Callable[[Mapping[str, Any], str], Schema]:
    """One schema."""
    return lambda schema, where: {keyword: lowered(schema[keyword], f"{where}/{keyword}")}


def _items(schema: Mapping[str, Any], where: str) -> Schema:
    return {} if "prefixItems" in schema else _inner("items")(schema, where)


def _prefix_items(schema: Mapping[str, Any], where: str) -> Schema:
    """OpenAPI 3.0 has one schema for all items: a tuple can be said only where all of its places are alike."""
    places = _each("prefixItems")(schema, where)["prefixItems"]
    rest = schema.get("items", True)
    if all(place == places[0] for place in places):
        if rest is False:
            return joined([{"items": places[0]}, {"maxItems": len(places)}])
        if lowered(rest, f"{where}/items") == places[0]:
            return {"items": places[0]}
    raise CannotExpress(f"{where}/prefixItems", got=schema["prefixItems"], want="an object with named fields")


def _properties(schema: Mapping[str, Any], where: str) -> Schema:
    said = schema["properties"]
    return {"properties": {name: lowered(one, f"{where}/properties/{name}") for name, one in said.items()}}


def _additional(schema: Mapping[str, Any], where: str) -> Schema:
    if isinstance(schema["additionalProperties"], bool):
        return {"additionalProperties": schema["additionalProperties"]}
    return _inner("additionalProperties")(schema, where)


KEYWORDS: Final[Mapping[str, Callable[[Mapping[str, Any], str], Schema]]] = {
    **{
        keyword: _same(keyword)
        for keyword in (
            "title", "description", "enum", "minLength", "maxLength", "pattern", "minimum", "maximum",
            "multipleOf", "minItems", "maxItems", "uniqueItems", "minProperties", "maxProperties",
        )
    },
    "type": _type,
    "const": lambda schema, where: {"enum": [schema["const"]]},
    "exclusiveMinimum": _bound("exclusiveMinimum", "minimum"),
    "exclusiveMaximum": _bound("exclusiveMaximum", "maximum"),
    "anyOf": _each("anyOf"),
    "oneOf": _each("oneOf"),
    "allOf": _each("allOf"),
    "not": _inner("not"),
    "items": _items,
    "prefixItems": _prefix_items,
    "properties": _properties,
    "additionalProperties": _additional,
    "required": lambda schema, where: {"required": schema["required"]} if schema["required"] else {},
}  # fmt: skip
"""Every keyword that can be said in draft 4, and how. Whatever stands in neither table is refused."""
