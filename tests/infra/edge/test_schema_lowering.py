"""Laws of the lowering of schemas: exact, valid in both dialects, and loud where it cannot be exact."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from jsonschema import Draft4Validator, Draft202012Validator
from openapi_spec_validator import OpenAPIV30SpecValidator
from openapi_spec_validator.validation.exceptions import ExtraParametersError

from millrace_infra.edge.refusal import CannotExpress
from millrace_infra.edge.schema import DROPPED, KEYWORDS, lowered, model_name, references

NAMES = st.sampled_from(["a", "b", "c"])
NUMBERS = st.integers(-4, 4) | st.sampled_from([-1.5, 0.5, 2.0, 3.0])
TYPES = st.sampled_from(["string", "number", "integer", "boolean", "null", "array", "object"])
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.sampled_from(["", "a", "ab", "7", "abcd"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)
LEAVES = st.one_of(
    st.booleans(),
    st.fixed_dictionaries({"type": TYPES}),
    st.fixed_dictionaries({"type": st.lists(TYPES, min_size=1, max_size=3, unique=True)}),
    st.fixed_dictionaries({"const": st.none() | st.booleans() | NUMBERS | st.sampled_from(["a", ["a"]])}),
    st.fixed_dictionaries(
        {"enum": st.lists(st.sampled_from(["a", "ab", None, 1.5]), min_size=1, unique=True)}
    ),
    st.fixed_dictionaries(
        {},
        optional={
            "type": TYPES,
            "minimum": NUMBERS,
            "maximum": NUMBERS,
            "exclusiveMinimum": NUMBERS,
            "exclusiveMaximum": NUMBERS,
            "multipleOf": st.sampled_from([1, 2, 0.5]),
            "minLength": st.integers(0, 3),
            "maxLength": st.integers(0, 3),
            "pattern": st.sampled_from(["^a", r"^\d*$"]),
            "format": st.sampled_from(["date-time", "binary"]),
            "title": st.just("t"),
            "default": st.none(),
            "examples": st.just([1]),
        },
    ),
)


def larger(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    several = st.lists(inner, min_size=1, max_size=3)
    return st.one_of(
        st.fixed_dictionaries(
            {},
            optional={
                "type": TYPES | st.just(["array", "object", "null"]),
                "items": inner,
                "minItems": st.integers(0, 2),
                "maxItems": st.integers(0, 3),
                "uniqueItems": st.booleans(),
                "properties": st.dictionaries(NAMES, inner, max_size=2),
                "required": st.lists(NAMES, max_size=2, unique=True),
                "additionalProperties": inner,
                "minProperties": st.integers(0, 2),
                "maxProperties": st.integers(0, 3),
                "anyOf": several,
                "const": st.just("a"),
            },
        ),
        st.fixed_dictionaries(
            {}, optional={"anyOf": several, "oneOf": several, "allOf": several, "not": inner}
        ),
        st.builds(
            lambda one, count, closed: {"prefixItems": [one] * count, "items": False if closed else one},
            inner,
            st.integers(1, 3),
            st.booleans(),
        ),
    )


SCHEMAS = st.recursive(LEAVES, larger, max_leaves=6)


@pytest.mark.requirement("S-10")
@settings(max_examples=400)
@given(schema=SCHEMAS, value=VALUES)
# keywords that are lowered to the same one, which random schemas seldom bring together
@example(schema={"minimum": 3, "exclusiveMinimum": 1}, value=2)
@example(schema={"type": ["array", "null"], "anyOf": [{"minItems": 2}]}, value="text")
@example(schema={"exclusiveMinimum": 1, "not": {"type": "string"}}, value=1)
def test_the_lowered_schema_takes_exactly_what_the_services_takes(schema: Any, value: Any) -> None:
    before = Draft202012Validator(schema).is_valid(value)
    assert Draft4Validator(lowered(schema, "#")).is_valid(value) == before


@settings(max_examples=200)
@given(schema=SCHEMAS)
def test_the_lowered_schema_is_draft_4_and_a_schema_object_of_openapi_3_0(schema: Any) -> None:
    found = lowered(schema, "#")
    Draft4Validator.check_schema(found)
    # a required field without a schema of its own is legal: that the validator minds it is its own taste
    errors = OpenAPIV30SpecValidator(document_with(found)).iter_errors()
    assert [error for error in errors if not isinstance(error, ExtraParametersError)] == []


@settings(max_examples=200)
@given(schema=SCHEMAS)
def test_lowering_again_changes_nothing(schema: Any) -> None:
    once = lowered(schema, "#")
    assert lowered(once, "#") == once


def test_the_laws_see_values_on_both_sides() -> None:
    """The strategies are worth something only if a schema both takes and refuses."""
    taken = [
        Draft4Validator(lowered({"type": ["integer", "null"]}, "#")).is_valid(v)
        for v in (1, 1.0, None, 1.5, "1")
    ]
    assert taken == [True, True, True, False, False]


def document_with(schema: dict[str, Any]) -> dict[str, Any]:
    return {
        "openapi": "3.0.1",
        "info": {"title": "t", "version": "1"},
        "paths": {},
        "components": {"schemas": {"A": schema}},
    }


@pytest.mark.parametrize(
    "keyword",
    ["if", "then", "contains", "patternProperties", "propertyNames", "dependentRequired", "dependentSchemas",
     "unevaluatedProperties", "unevaluatedItems", "$defs", "$dynamicRef", "$id", "nullable", "discriminator"],
)  # fmt: skip
@pytest.mark.parametrize("depth", [0, 2])
def test_a_keyword_that_nobody_handles_is_refused_with_its_place(keyword: str, depth: int) -> None:
    schema: dict[str, Any] = {keyword: {}}
    for _ in range(depth):
        schema = {"type": "object", "properties": {"inner": schema}}
    where = "#" + "/properties/inner" * depth + f"/{keyword}"
    with pytest.raises(CannotExpress) as refused:
        lowered(schema, "#")
    assert str(refused.value).startswith(f"{where}: found")


@pytest.mark.parametrize(
    ("schema", "wanted"),
    [
        ({"prefixItems": [{"type": "string"}, {"type": "number"}]}, "named fields"),
        ({"prefixItems": [{"type": "string"}]}, "named fields"),
        ({"exclusiveMinimum": True}, "a number, as in 2020-12"),
        ({"type": "file"}, "a type of JSON schema"),
        ({"type": []}, "a type of JSON schema"),
        ({"anyOf": []}, "a list with a schema in it"),
        ({"$ref": "other.json"}, "#/components/schemas/"),
        ("string", "a schema"),
    ],
)
def test_what_cannot_be_said_is_refused_with_what_would_do(schema: Any, wanted: str) -> None:
    with pytest.raises(CannotExpress, match=wanted):
        lowered(schema, "#")


def test_a_reference_keeps_what_stands_beside_it() -> None:
    found = lowered({"$ref": "#/components/schemas/Tag-Path", "minLength": 1, "description": "d"}, "#")
    assert found == {
        "minLength": 1, "description": "d", "allOf": [{"$ref": "#/components/schemas/TagPath"}],
    }  # fmt: skip
    assert references(found) == {"TagPath"}
    assert lowered({"$ref": "#/components/schemas/A", "description": "d"}, "#") == {
        "$ref": "#/components/schemas/A"
    }


def test_no_keyword_is_both_said_and_dropped() -> None:
    assert not KEYWORDS.keys() & DROPPED


def test_a_models_name_is_letters_and_digits() -> None:
    assert model_name("Page[Tag]-v1") == "PageTagv1"
