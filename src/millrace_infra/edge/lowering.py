"""The service's OpenAPI 3.1 document as OpenAPI 3.0.1: what API Gateway imports.

The definition says what the edge checks, no more: bodies that have a JSON schema, parameters, and which
statuses there are. What answers look like is in the service's own document; the edge passes them on unread.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from millrace_infra.edge.exposure import Exposure
from millrace_infra.edge.paths import Route, check, spelled
from millrace_infra.edge.refusal import CannotExpress, only
from millrace_infra.edge.schema import REFERENCE, Schema, lowered, model_name, references

Json = dict[str, Any]

VERSION: Final = "3.0.1"
METHODS: Final = ("get", "put", "post", "delete", "patch", "head", "options")
WITHOUT_BODY: Final = ("get", "head", "options")
"""Methods whose body API Gateway drops."""
JSON_TYPE: Final = "application/json"
DOCUMENT: Final = ("openapi", "info", "paths", "components", "tags", "servers")
OPERATION: Final = ("summary", "description", "operationId", "parameters", "requestBody", "responses", "tags")
PARAMETER: Final = ("name", "in", "required", "description", "schema", "example", "examples", "deprecated")
BODY: Final = ("description", "required", "content")
PLACES: Final = ("query", "header", "path")


def lower(service: Mapping[str, Any], exposure: Exposure) -> Json:
    """The document; CannotExpress names the place that stands in the way."""
    only("#", service, handled=DOCUMENT)
    if not str(service["openapi"]).startswith("3.1."):
        raise CannotExpress("#/openapi", got=service["openapi"], want="3.1")
    if stale := (exposure.hidden.keys() | exposure.unchecked.keys()) - service["paths"].keys():
        raise CannotExpress(
            "#/paths", got=sorted(service["paths"]), want=f"{sorted(stale)}, or a shorter table"
        )
    models = Models(service.get("components", {}))
    paths: Json = {}
    for path, item in service["paths"].items():
        if path not in exposure.hidden:
            only(f"#/paths/{path}", item, handled=METHODS)
            for route in spelled(path, exposure.slashed):
                paths[route.path] = {
                    method: OperationOf(models, route, method, path not in exposure.unchecked).lowered(
                        operation, f"#/paths/{path}/{method}"
                    )
                    for method, operation in item.items()
                }
    check(paths)
    info = {key: service["info"][key] for key in ("title", "version")}
    return {"openapi": VERSION, "info": info, "paths": paths, "components": {"schemas": models.reached()}}


class Models:
    """Schemas by name. API Gateway makes a model of each, and knows a body's schema only by such a name."""

    def __init__(self, components: Mapping[str, Any]) -> None:
        only("#/components", components, handled=("schemas",))
        self._lowered: dict[str, Schema] = {}
        self._of_service: dict[str, str] = {}
        self._schemas: Mapping[str, Any] = components.get("schemas", {})
        self._used: set[str] = set()
        for name in self._schemas:
            self._take(model_name(name), name)

    def _take(self, short: str, name: str) -> None:
        if self._of_service.setdefault(short, name) != name:
            raise CannotExpress(
                f"{REFERENCE}{name}", got=short, want="a name of its own, in letters and digits"
            )

    def named(self, name: str, schema: Schema) -> Schema:
        """A reference to the schema, which is from now on known by this name."""
        if "$ref" in schema:
            return self.use(schema)
        self._take(name, f"the body of {name}")
        self._lowered[name] = schema
        return self.use({"$ref": REFERENCE + name})

    def use(self, schema: Schema) -> Schema:
        """The schema itself; what it refers to will be there."""
        self._used |= references(schema)
        return schema

    def reached(self) -> dict[str, Schema]:
        """What operations use, in order of name. A circle is refused: API Gateway does not resolve it."""
        found: dict[str, Schema] = {}

        def visit(name: str, above: tuple[str, ...]) -> None:
            if name in above or name not in self._of_service:
                raise CannotExpress(
                    f"{REFERENCE}{name}", got=" -> ".join((*above, name)), want="no circle, no gap"
                )
            found[name] = self._schema(name)
            for inner in sorted(references(found[name])):
                visit(inner, (*above, name))

        for name in sorted(self._used):
            visit(name, ())
        return dict(sorted(found.items()))

    def _schema(self, short: str) -> Schema:
        if short not in self._lowered:
            name = self._of_service[short]
            self._lowered[short] = lowered(self._schemas[name], f"{REFERENCE}{name}")
        return self._lowered[short]


class OperationOf:
    """The operation of a method on a route."""

    def __init__(self, models: Models, route: Route, method: str, checks_body: bool) -> None:
        self._models, self._route, self._method, self._checks_body = models, route, method, checks_body

    def lowered(self, operation: Mapping[str, Any], where: str) -> Json:
        only(where, operation, handled=OPERATION)
        out: Json = {key: operation[key] for key in ("summary", "description") if key in operation}
        out["operationId"] = operation["operationId"] + self._route.suffix
        said = enumerate(operation.get("parameters", []))
        if parameters := [
            one for at, each in said for one in self._parameter(each, f"{where}/parameters/{at}")
        ]:
            out["parameters"] = parameters
        if body := self._body(operation, where):
            out["requestBody"] = body
        out["responses"] = {
            status: {"description": answer.get("description", "")}
            for status, answer in operation["responses"].items()
        }
        return out

    def _parameter(self, parameter: Mapping[str, Any], where: str) -> list[Json]:
        only(where, parameter, handled=PARAMETER)
        if parameter["in"] not in PLACES:
            raise CannotExpress(f"{where}/in", got=parameter["in"], want=" or ".join(PLACES))
        out: Json = {"name": parameter["name"], "in": parameter["in"]}
        out["required"] = parameter["in"] == "path" or bool(parameter.get("required"))
        if "description" in parameter:
            out["description"] = parameter["description"]
        out["schema"] = self._models.use(lowered(parameter.get("schema", True), f"{where}/schema"))
        if parameter["in"] != "path":
            return [out]
        return [out | {"name": name} for name in self._route.variables[parameter["name"]]]

    def _body(self, operation: Mapping[str, Any], where: str) -> Json:
        """Only what has a model: another media type passes unread, and the service judges it."""
        said = operation.get("requestBody", {})
        only(f"{where}/requestBody", said, handled=BODY)
        if said and self._method in WITHOUT_BODY:
            raise CannotExpress(
                f"{where}/requestBody", got="a body", want="another method: here it is dropped"
            )
        content = said.get("content", {}).get(JSON_TYPE, {})
        only(f"{where}/requestBody/content", content, handled=("schema", "example", "examples"))
        if not self._checks_body or "schema" not in content:
            return {}
        schema = lowered(content["schema"], f"{where}/requestBody/content/{JSON_TYPE}/schema")
        model = self._models.named(f"{_camel(operation['operationId'])}Body", schema)
        return {"required": bool(said.get("required")), "content": {JSON_TYPE: {"schema": model}}}


def _camel(name: str) -> str:
    return "".join(word.capitalize() for word in name.split("_"))
