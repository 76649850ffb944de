"""The document as a whole: every operation is there or listed, and nothing is lost without a word."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft4Validator
from openapi_spec_validator import OpenAPIV30SpecValidator, OpenAPIV31SpecValidator

from millrace_infra.edge.definition import as_terraform, binary_media_types, definition, service_document
from millrace_infra.edge.exposure import EXPOSURE, Exposure, Hidden
from millrace_infra.edge.lowering import lower
from millrace_infra.edge.paths import RESOURCES_MAX, check, spelled
from millrace_infra.edge.refusal import CannotExpress

NOTHING = Exposure(hidden={}, slashed={}, unchecked={})
SERVICE: dict[str, Any] = json.loads(service_document())
SIX = "/v1/tags/{path1}/{path2}/{path3}/{path4}/{path5}/{path6}"


def service(path: str = "/v1/things", method: str = "get", **operation: Any) -> dict[str, Any]:
    """A document of one operation."""
    said = {"operationId": "call", "responses": {"200": {"description": "fine"}}} | operation
    return {
        "openapi": "3.1.0",
        "info": {"title": "t", "version": "1"},
        "paths": {path: {method: said}},
        "components": {"schemas": {}},
    }


def changed(document: dict[str, Any], *path: str, value: Any) -> dict[str, Any]:
    out = copy.deepcopy(document)
    place = out
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return out


@pytest.mark.requirement("S-10")
def test_every_operation_of_the_contract_is_there_or_listed_with_its_reason() -> None:
    lowered = lower(SERVICE, EXPOSURE)["paths"]
    for path, item in SERVICE["paths"].items():
        if path in EXPOSURE.hidden:
            assert EXPOSURE.hidden[path].reason
            assert EXPOSURE.hidden[path].instead
            assert not any(route.path in lowered for route in spelled(path, EXPOSURE.slashed))
        else:
            for route in spelled(path, EXPOSURE.slashed):
                assert lowered[route.path].keys() == item.keys()


def test_nothing_is_there_that_the_contract_does_not_have() -> None:
    routes = {route.path for path in SERVICE["paths"] for route in spelled(path, EXPOSURE.slashed)}
    assert lower(SERVICE, EXPOSURE)["paths"].keys() <= routes


@pytest.mark.requirement("S-10")
def test_the_definition_is_valid_openapi_3_0_with_draft_4_models() -> None:
    OpenAPIV31SpecValidator(SERVICE).validate()
    found = definition(host="internal.example.com", domain="api.example.com")
    OpenAPIV30SpecValidator(found).validate()
    assert found["openapi"] == "3.0.1"
    assert found["components"]["schemas"]
    for name, model in found["components"]["schemas"].items():
        assert name.isalnum()
        Draft4Validator.check_schema(model)


def test_the_stream_of_events_is_not_exposed_and_says_what_to_use() -> None:
    assert "/v1/live" not in lower(SERVICE, EXPOSURE)["paths"]
    assert "/v1/equipment/{path}/live" in EXPOSURE.hidden["/v1/live"].instead


def test_an_entry_for_a_path_that_is_gone_is_refused() -> None:
    stale = Exposure(hidden={"/v1/gone": Hidden("r", "i")}, slashed={}, unchecked={})
    with pytest.raises(CannotExpress, match="/v1/gone"):
        lower(service(), stale)


# --- paths ----------------------------------------------------------------------------------------------


def test_a_tag_is_reached_on_every_level_of_its_path() -> None:
    paths = lower(SERVICE, EXPOSURE)["paths"]
    assert {"/v1/tags/{path1}/latest", f"{SIX}/latest", f"{SIX}/history"} <= paths.keys()
    parameters = paths[f"{SIX}/latest"]["get"]["parameters"]
    assert [one["name"] for one in parameters if one["in"] == "path"] == [f"path{n}" for n in range(1, 7)]
    assert all(one["required"] for one in parameters if one["in"] == "path")


@given(levels=st.integers(1, 12), number=st.integers(1, 12))
def test_spelled_out_routes_name_each_level_once(levels: int, number: int) -> None:
    routes = spelled("/v1/tags/{path}/latest", {"path": levels})
    assert len({route.path for route in routes}) == levels
    route = routes[min(number, levels) - 1]
    concrete = "/v1/tags/" + "/".join(route.variables["path"]) + "/latest"
    assert route.path.replace("{", "").replace("}", "") == concrete
    assert len(route.variables["path"]) == route.number


def test_operations_keep_names_of_their_own() -> None:
    operations = [one for item in lower(SERVICE, EXPOSURE)["paths"].values() for one in item.values()]
    names = [one["operationId"] for one in operations]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("paths", "wanted"),
    [
        (["/v1/a/{x}", "/v1/a/{y}/b"], "{x}, as in other paths"),
        (["/v1/a b"], "letters, digits"),
        (["/v1/a{x}"], "letters, digits"),
        (["/v1/{x+}/b"], "letters, digits"),
        ([f"/v1/{number}" for number in range(RESOURCES_MAX)], "300 at most"),
    ],
)
def test_a_path_that_api_gateway_does_not_take_is_refused(paths: list[str], wanted: str) -> None:
    with pytest.raises(CannotExpress, match=wanted):
        check(paths)


def test_two_paths_in_one_path_are_refused() -> None:
    with pytest.raises(CannotExpress, match="one variable with slashes"):
        spelled("/v1/{a}/to/{b}", {"a": 2, "b": 2})


# --- what an operation may say -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("where", "value"),
    [
        (("webhooks",), {}),
        (("components", "securitySchemes"), {}),
        (("paths", "/v1/things", "parameters"), []),
        (("paths", "/v1/things", "get", "callbacks"), {}),
        (("paths", "/v1/things", "get", "servers"), []),
        (("paths", "/v1/things", "get", "security"), []),
        (("paths", "/v1/things", "get", "parameters"), [{"name": "a", "in": "cookie"}]),
        (("paths", "/v1/things", "get", "parameters"), [{"name": "a", "in": "query", "style": "deepObject"}]),
        (("paths", "/v1/things", "get", "parameters"), [{"name": "a", "in": "query", "content": {}}]),
        (("paths", "/v1/things", "get", "requestBody"), {"content": {}}),
        (("openapi",), "3.0.1"),
    ],
)
def test_what_the_edge_cannot_do_is_refused(where: tuple[str, ...], value: Any) -> None:
    with pytest.raises(CannotExpress) as refused:
        lower(changed(service(), *where, value=value), NOTHING)
    assert where[-1] in str(refused.value)


def body(schema: Any) -> dict[str, Any]:
    return {"required": True, "content": {"application/json": {"schema": schema}}}


def test_a_body_becomes_a_model_of_the_operations_name() -> None:
    found = lower(service(method="post", requestBody=body({"type": "object", "required": ["a"]})), NOTHING)
    assert found["components"]["schemas"] == {"CallBody": {"type": "object", "required": ["a"]}}
    said = found["paths"]["/v1/things"]["post"]["requestBody"]
    assert said["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/CallBody"}


def test_a_body_that_the_service_alone_judges_has_no_model() -> None:
    exposure = Exposure(hidden={}, slashed={}, unchecked={"/v1/things": "why"})
    found = lower(service(method="post", requestBody=body({"type": "object"})), exposure)
    assert "requestBody" not in found["paths"]["/v1/things"]["post"]


@pytest.mark.requirement("S-19")
def test_a_bad_reading_is_left_to_the_service_and_its_quarantine() -> None:
    assert "requestBody" not in lower(SERVICE, EXPOSURE)["paths"]["/v1/readings"]["post"]


def test_only_components_that_are_used_are_there() -> None:
    reference = {"$ref": "#/components/schemas/Used-One"}
    document = service(method="post", requestBody=body(reference))
    document["components"]["schemas"] = {
        "Used-One": {"type": "array", "items": {"$ref": "#/components/schemas/Inner"}},
        "Inner": {"type": "string"},
        "Unused": {"type": "string"},
    }
    assert lower(document, NOTHING)["components"]["schemas"].keys() == {"UsedOne", "Inner"}


@pytest.mark.parametrize(
    ("schemas", "wanted"),
    [
        ({"A": {"items": {"$ref": "#/components/schemas/A"}}}, "no circle"),
        ({"A": {"$ref": "#/components/schemas/B"}}, "no circle, no gap"),
        ({"A": {"type": "string"}, "A-": {"type": "number"}}, "a name of its own"),
    ],
)
def test_components_that_api_gateway_cannot_resolve_are_refused(schemas: dict[str, Any], wanted: str) -> None:
    document = service(method="post", requestBody=body({"$ref": "#/components/schemas/A"}))
    document["components"]["schemas"] = schemas
    with pytest.raises(CannotExpress, match=wanted):
        lower(document, NOTHING)


def test_bodies_that_are_no_json_pass_as_bytes() -> None:
    found = binary_media_types(SERVICE, EXPOSURE)
    assert {
        "application/vnd.apache.arrow.stream",
        "application/x-ndjson",
        "application/vnd.millrace.frame",
    } == set(found)
    assert "application/json" not in found


def test_terraform_reads_no_expression_into_the_definition() -> None:
    text = as_terraform({"a": "${stageVariables.x}", "b": "%{ if }", "c": "$context.requestId"})
    assert text == '{"a": "$${stageVariables.x}", "b": "%%{ if }", "c": "$context.requestId"}'
