"""AWS's JSON 1.1 protocol over HTTP: which operation a request asks for, and how answers look.

`Request` and `Response` are plain values, so that nothing below depends on a web framework.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from botocore.model import OperationModel

from regard.wire.errors import ServiceError, UnknownOperationException
from regard.wire.serialise import serialise
from regard.wire.service import TARGET_PREFIX, operation_names

CONTENT_TYPE = "application/x-amz-json-1.1"
NO_HEADERS: Mapping[str, str] = {}
_NAMES = frozenset(operation_names())


@dataclass(frozen=True, slots=True)
class Request:
    """An HTTP request. `path` and `query` are as sent, still percent-encoded, the query without its `?`.

    `headers` are pairs of lower-case name and value in the order sent, the bytes read as Latin-1. `client_ip` is
    the address that the request came from.
    """

    method: str
    path: str
    query: str
    headers: Sequence[tuple[str, str]]
    body: bytes
    client_ip: str = ""
    _values: dict[str, list[str]] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name, value in self.headers:
            self._values.setdefault(name, []).append(value)

    def header(self, name: str) -> str | None:
        """The value of a header by its lower-case name, repeated ones joined by a comma; None if absent."""
        values = self.values(name)
        return ",".join(values) if values else None

    def values(self, name: str) -> Sequence[str]:
        """The values of a header by its lower-case name, in the order sent."""
        return self._values.get(name, ())


@dataclass(frozen=True, slots=True)
class Response:
    """An HTTP response, without the header that tells where its body ends."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


def operation_name(request: Request) -> str:
    """The operation that `X-Amz-Target` names, such as "DetectFaces".

    UnknownOperationException, as AWS answers, for any other target, method, path or content type.
    """
    if request.method != "POST" or request.path != "/":
        raise UnknownOperationException("Operations are sent as POST to /.")
    content_type = (request.header("content-type") or "").partition(";")[0].strip().lower()
    if content_type != CONTENT_TYPE:
        raise UnknownOperationException(f"The content type must be {CONTENT_TYPE}.")
    prefix, _, name = (request.header("x-amz-target") or "").partition(".")
    if prefix != TARGET_PREFIX or name not in _NAMES:
        raise UnknownOperationException
    return name


def success(
    operation: OperationModel, result: Mapping[str, Any], request_id: str, headers: Mapping[str, str] = NO_HEADERS
) -> Response:
    """The answer with an operation's result and further headers; see `serialise` for what it raises."""
    return _response(200, [*headers.items()], serialise(operation, result), request_id)


def failure(error: ServiceError, request_id: str, headers: Mapping[str, str] = NO_HEADERS) -> Response:
    """The answer with an error and further headers.

    The message stands under both spellings, since SDKs differ in the one they read. `Logref` is the id of
    the request, by which an operator finds it in the log.
    """
    body = {
        "__type": error.code,
        "Code": error.code,
        "Logref": request_id,
        "Message": error.message,
        "message": error.message,
        **error.members,
    }
    return _response(error.status, [("x-amzn-errortype", error.code), *headers.items()], orjson.dumps(body), request_id)


def _response(status: int, extra: list[tuple[str, str]], body: bytes, request_id: str) -> Response:
    return Response(status, [("x-amzn-RequestId", request_id), *extra, ("content-type", CONTENT_TYPE)], body)
