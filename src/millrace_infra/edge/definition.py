"""The REST API's definition: the lowered document and what API Gateway does with each operation.

Each call goes over the VPC link to the private name of the load balancers, over TLS with that name's
certificate. The link is named by a stage variable: the definition is the same text before and after the link
exists, and removing the link leaves no method that still holds on to it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any, Final

from millrace_infra.edge.exposure import EXPOSURE, Exposure
from millrace_infra.edge.lowering import JSON_TYPE, Json, lower
from millrace_infra.edge.problems import gateway_responses

SERVICE_DOCUMENT: Final = "service.json"
"""The service's own document, kept beside this file by `scripts/document_api.py`: synthesis starts no service."""
LINK_VARIABLE: Final = "vpcLinkId"
TIMEOUT_MS: Final = 29_000
"""The longest that API Gateway waits without a raised quota."""
COMPRESSION_BYTES_MIN: Final = 1_400
"""Below one packet nothing is won. Bodies that come in gzip are inflated by API Gateway either way."""
KEY: Final = "api_key"
PARAMETERS, ALL = "parameters", "parameters-and-body"
VALIDATORS: Final = {
    PARAMETERS: {"validateRequestParameters": True, "validateRequestBody": False},
    ALL: {"validateRequestParameters": True, "validateRequestBody": True},
}


@cache
def service_document() -> str:
    """The service's document as it was last written."""
    return (files("millrace_infra.edge") / SERVICE_DOCUMENT).read_text(encoding="utf-8")


def definition(
    *, host: str, domain: str, exposure: Exposure = EXPOSURE, service: Mapping[str, Any] | None = None
) -> Json:
    """What `aws_api_gateway_rest_api.body` takes. `host`: the private name, `domain`: the public one."""
    document = json.loads(service_document()) if service is None else service
    out = lower(document, exposure)
    for path, item in out["paths"].items():
        for method, operation in item.items():
            operation |= _handling(path, method, operation, host)
    out["components"]["securitySchemes"] = {KEY: {"type": "apiKey", "name": "x-api-key", "in": "header"}}
    return out | {
        "servers": [
            {
                "url": f"https://{domain}",
                "x-amazon-apigateway-endpoint-configuration": {"disableExecuteApiEndpoint": True},
            }
        ],
        "x-amazon-apigateway-api-key-source": "HEADER",
        "x-amazon-apigateway-binary-media-types": binary_media_types(document, exposure),
        "x-amazon-apigateway-minimum-compression-size": COMPRESSION_BYTES_MIN,
        "x-amazon-apigateway-request-validators": VALIDATORS,
        "x-amazon-apigateway-gateway-responses": gateway_responses(exposure.hidden),
    }


def binary_media_types(service: Mapping[str, Any], exposure: Exposure) -> list[str]:
    """Whatever a body may be but JSON: as text its bytes would be decoded and encoded again on the way."""
    said = {
        media_type
        for path, item in service["paths"].items()
        if path not in exposure.hidden
        for operation in item.values()
        for media_type in operation.get("requestBody", {}).get("content", {})
    }
    return sorted((said | set(exposure.binary)) - {JSON_TYPE})


def as_terraform(document: Json) -> str:
    """Its text, with `${` escaped: that is Terraform's own, and here API Gateway's."""
    return json.dumps(document, sort_keys=True).replace("${", "$${").replace("%{", "%%{")


def _handling(path: str, method: str, operation: Mapping[str, Any], host: str) -> Json:
    return {
        "security": [{KEY: []}],
        "x-amazon-apigateway-request-validator": ALL if "requestBody" in operation else PARAMETERS,
        "x-amazon-apigateway-integration": _integration(path, method, operation, host),
    }


def _integration(path: str, method: str, operation: Mapping[str, Any], host: str) -> Json:
    """Query, headers and body pass as they are; only what stands in the path is carried over by name."""
    variables = [one["name"] for one in operation.get("parameters", []) if one["in"] == "path"]
    return {
        "type": "http_proxy",
        "httpMethod": method.upper(),
        "uri": f"https://{host}{path}",
        "connectionType": "VPC_LINK",
        "connectionId": f"${{stageVariables.{LINK_VARIABLE}}}",
        "passthroughBehavior": "when_no_match",
        "timeoutInMillis": TIMEOUT_MS,
        "requestParameters": {
            f"integration.request.path.{name}": f"method.request.path.{name}" for name in variables
        },
    }
