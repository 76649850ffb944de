"""Sends each AWS call to one of our additions, or on to moto.

An addition is a function of the parsed call. AWS's own model of the service (botocore's) says how a request
reads, what it must hold, and how an answer is written: an addition sees parameters and gives back a dict.
"""

from __future__ import annotations

import re
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Final

from botocore.validate import ParamValidator
from moto.core.exceptions import ServiceException
from moto.core.model import OperationModel
from moto.core.parse import PROTOCOL_PARSERS
from moto.core.request import Request, determine_request_protocol
from moto.core.routing import get_service_router
from moto.core.serialize import get_serializer_class
from moto.core.utils import get_service_model

from tests.infra.emulator.repeats import Answer, Repeats

ACCOUNT_ID: Final = "123456789012"
_SCOPE: Final = re.compile(r"Credential=[^/]+/\d+/([a-z0-9-]+)/([a-z0-9-]+)/aws4_request")
_MODEL_NAME: Final = {
    "monitoring": "cloudwatch", "elasticfilesystem": "efs", "servicequotas": "service-quotas",
}  # fmt: skip
"""Service in a signature -> name of its model, where they differ."""


class Refused(ServiceException):
    """An error as AWS would answer it: a code of the service's model, and a sentence."""


@dataclass(frozen=True)
class Call:
    region: str
    params: dict[str, Any]

    def __getitem__(self, name: str) -> Any:
        return self.params[name]

    def get(self, name: str, default: Any = None) -> Any:
        return self.params.get(name, default)

    def arn(self, service: str, resource: str) -> str:
        return f"arn:aws:{service}:{self.region}:{ACCOUNT_ID}:{resource}"


class PassOn(Exception):
    """An addition that has nothing to add to this call: moto answers it."""


Addition = Callable[[Call], dict[str, Any]]
ADDITIONS: dict[tuple[str, str], Addition] = {}
Store = defaultdict[str, dict[str, Any]]
"""Region -> name -> what is kept."""


def store() -> Store:
    return defaultdict(dict)


def answers(service: str, operation: str) -> Callable[[Addition], Addition]:
    """This function answers that call of that service, in the spelling of botocore's model."""

    def register(addition: Addition) -> Addition:
        ADDITIONS[service, operation] = addition
        return addition

    return register


StartResponse = Callable[..., Any]
Application = Callable[[dict[str, Any], StartResponse], Iterable[bytes]]


class Dispatcher:
    """The server's application. One lock round everything: moto's models are not safe for threads (two
    simultaneous changes of one network ACL end in a failed destroy), and neither are ours.
    """

    def __init__(self, moto: Application) -> None:
        self._moto = moto
        self._lock = threading.Lock()
        self._repeats = Repeats()

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        with self._lock:
            answer = self._repeats.known(environ)
            if answer is None:
                answer = self._answer(environ)
                self._repeats.keep(environ, answer)
        status, headers, content = answer
        start_response(status, headers)
        return content

    def _answer(self, environ: dict[str, Any]) -> Answer:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = BytesIO(body)
        added = _added(environ)
        if added is not None:
            code, headers, content = added
            return f"{code} -", [*headers.items(), ("Content-Length", str(len(content)))], [content]
        environ["wsgi.input"] = BytesIO(body)
        started: list[tuple[str, list[tuple[str, str]]]] = []
        written = list(self._moto(environ, lambda status, headers, *_: started.append((status, headers))))
        return (*started[-1], written)


def _added(environ: dict[str, Any]) -> tuple[int, dict[str, str], bytes] | None:
    match = _SCOPE.search(environ.get("HTTP_AUTHORIZATION", ""))
    if match is None:
        return None
    region, signed = match.groups()
    service = _MODEL_NAME.get(signed, signed)
    if all(known != service for known, _ in ADDITIONS):
        return None
    request = Request(environ)
    operation, path_params = _operation(service, request)
    addition = ADDITIONS.get((service, operation.name)) if operation else None
    if operation is None or addition is None:
        return None
    try:
        params = _params(operation, request, path_params)
        result: Any = addition(Call(region, params))
    except PassOn:
        return None
    except ServiceException as error:
        result = error
    return _written(service, operation, request, result)


def _operation(service: str, request: Request) -> tuple[OperationModel | None, dict[str, Any]]:
    model = get_service_model(service)
    name = request.values.get("Action") or request.headers.get("X-Amz-Target", "").rpartition(".")[2]
    if name:
        return (model.operation_model(name) if name in model.operation_names else None), {}
    try:
        return get_service_router(service).match(request)
    except Exception:
        return None, {}


def _params(operation: OperationModel, request: Request, path_params: dict[str, Any]) -> dict[str, Any]:
    protocol = determine_request_protocol(operation.service_model, request.content_type)
    parsed = PROTOCOL_PARSERS[protocol](operation, map_type=dict).parse(
        {
            "method": request.method,
            "values": request.values,
            "headers": request.headers,
            "body": request.data,
            "url_path": request.path,
            "url_params": path_params,
        }
    )
    mistakes = [] if operation.input_shape is None else list(_mistakes(parsed, operation.input_shape))
    if mistakes:
        raise Refused("ValidationException", "; ".join(mistakes))
    return dict(parsed)


def _mistakes(params: Any, shape: Any) -> Iterator[str]:
    """What botocore's model of the call says is wrong: members, types, lengths, then enums."""
    report = ParamValidator().validate(params, shape)
    if report.has_errors():
        yield str(report.generate_report())
    yield from _not_in_enum(params, shape)


def _not_in_enum(value: Any, shape: Any) -> Iterator[str]:
    if shape.type_name == "structure" and isinstance(value, dict):
        for name, inner in value.items():
            if name in shape.members:
                yield from _not_in_enum(inner, shape.members[name])
    elif shape.type_name == "list" and isinstance(value, list):
        for inner in value:
            yield from _not_in_enum(inner, shape.member)
    elif shape.type_name == "string" and getattr(shape, "enum", None) and value not in shape.enum:
        yield f"{shape.name}: found {value!r}, wanted one of {shape.enum}"


def _written(
    service: str, operation: OperationModel, request: Request, result: Any
) -> tuple[int, dict[str, str], bytes]:
    protocol = determine_request_protocol(operation.service_model, request.content_type)
    serializer = get_serializer_class(service, protocol)(operation_model=operation)
    written = serializer.serialize(result)
    body = written["body"]
    return (
        written["status_code"],
        dict(written["headers"]),
        body if isinstance(body, bytes) else body.encode(),
    )
