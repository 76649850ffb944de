"""Makes the synthesized definition callable on the emulator, with its integrations pointed at a running service.

The emulator's own import reads paths, keys and back ends only. So each operation is made by the calls that a
definition stands for: methods, models, validators, integrations, gateway responses, limits, plan and key.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import httpx

from tests.infra.edge.conftest import body_of
from tests.infra.program import Program

PLACES = {"path": "path", "query": "querystring", "header": "header"}


@dataclass(frozen=True)
class Limits:
    """What a test makes small; the rest is as synthesized."""

    rate: float
    burst: int
    quota: int


@dataclass(frozen=True)
class Invoked:
    """The API as a caller sees it."""

    url: str
    key: str

    def call(self, method: str, path: str, *, key: str | None = None, **more: Any) -> httpx.Response:
        headers = {"x-api-key": self.key if key is None else key} | more.pop("headers", {})
        kept = {name: value for name, value in headers.items() if value}
        return httpx.request(method, f"{self.url}{path}", headers=kept, timeout=60, **more)


def synthesized(program: Program) -> Limits:
    (plan,) = program.of("aws_api_gateway_usage_plan")
    throttle = plan["throttle_settings"]
    return Limits(throttle["rate_limit"], throttle["burst_limit"], plan["quota_settings"]["limit"])


class Importer:
    """One definition onto one emulator."""

    def __init__(self, client: Any, definition: dict[str, Any], *, service: str, host: str) -> None:
        self._client, self._definition = client, definition
        self._service, self._host = service, host
        self._api = client.create_rest_api(
            name="edge", binaryMediaTypes=definition["x-amazon-apigateway-binary-media-types"]
        )["id"]
        (root,) = client.get_resources(restApiId=self._api)["items"]
        self._resources: dict[tuple[str, ...], str] = {(): root["id"]}

    def publish(self, stage: str) -> str:
        self._models()
        validators = {
            name: self._validator(name, said) for name, said in self._said("request-validators").items()
        }
        for kind, said in self._said("gateway-responses").items():
            self._client.put_gateway_response(restApiId=self._api, responseType=kind, **said)
        for path, item in self._definition["paths"].items():
            resource = self._resource(tuple(path.strip("/").split("/")))
            for method, operation in item.items():
                self._operation(resource, method.upper(), operation, validators)
        self._client.create_deployment(restApiId=self._api, stageName=stage)
        return str(self._api)

    def _said(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self._definition[f"x-amazon-apigateway-{name}"]
        return found

    def _models(self) -> None:
        for name, schema in self._definition["components"]["schemas"].items():
            assert "$ref" not in json.dumps(schema), "the emulator resolves no components"
            self._client.create_model(
                restApiId=self._api, name=name, contentType="application/json", schema=json.dumps(schema)
            )

    def _validator(self, name: str, said: dict[str, bool]) -> str:
        return str(self._client.create_request_validator(restApiId=self._api, name=name, **said)["id"])

    def _resource(self, segments: tuple[str, ...]) -> str:
        if segments not in self._resources:
            parent = self._resource(segments[:-1])
            made = self._client.create_resource(restApiId=self._api, parentId=parent, pathPart=segments[-1])
            self._resources[segments] = made["id"]
        return self._resources[segments]

    def _operation(
        self, resource: str, method: str, operation: dict[str, Any], validators: dict[str, str]
    ) -> None:
        where = {"restApiId": self._api, "resourceId": resource, "httpMethod": method}
        self._client.put_method(
            **where,
            authorizationType="NONE",
            apiKeyRequired={"api_key": []} in operation["security"],
            requestParameters={
                f"method.request.{PLACES[one['in']]}.{one['name']}": one["required"]
                for one in operation.get("parameters", [])
            },
            requestModels={
                media_type: said["schema"]["$ref"].rpartition("/")[2]
                for media_type, said in operation.get("requestBody", {}).get("content", {}).items()
            },
            requestValidatorId=validators[operation["x-amazon-apigateway-request-validator"]],
        )
        said = operation["x-amazon-apigateway-integration"]
        self._client.put_integration(
            **where,
            type=said["type"].upper(),
            integrationHttpMethod=said["httpMethod"],
            uri=said["uri"].replace(self._host, self._service),
            requestParameters=said["requestParameters"],
            passthroughBehavior=said["passthroughBehavior"].upper(),
            timeoutInMillis=said["timeoutInMillis"],
        )


def publish(client: Any, address: str, program: Program, *, service: str, limits: Limits) -> Invoked:
    """The API of the program, in front of the service at that address, under these limits, with one key."""
    (stage,) = program.of("aws_api_gateway_stage")
    name = stage["stage_name"]
    definition = body_of(program)
    host = definition["paths"]["/v1/stats"]["get"]["x-amazon-apigateway-integration"]["uri"].removesuffix(
        "/v1/stats"
    )
    api = Importer(client, definition, service=service, host=host).publish(name)
    plan = client.create_usage_plan(
        name="plan",
        apiStages=[{"apiId": api, "stage": name}],
        throttle={"rateLimit": limits.rate, "burstLimit": limits.burst},
        quota={"limit": limits.quota, "period": "DAY"},
    )["id"]
    key = client.create_api_key(name="a-caller", enabled=True)
    client.create_usage_plan_key(usagePlanId=plan, keyId=key["id"], keyType="API_KEY")
    return Invoked(f"{address}/restapis/{api}/{name}/_user_request_", key["value"])
