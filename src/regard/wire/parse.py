"""From the JSON of a request to typed parameters, by the operation's input shape.

Only the types are settled here; ranges, patterns and required members are `validate`'s part. What the shape
does not have is refused rather than dropped: a client that misspells a member must learn of it.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, cast

import numpy as np
import orjson
import pybase64
from botocore.model import ListShape, MapShape, OperationModel, Shape, StructureShape

from regard.wire.errors import InvalidParameterException, SerializationException
from regard.wire.service import input_shape

# Java's Integer and Long, which the AWS SDKs hold these types in.
INTEGER_BITS = {"integer": 32, "long": 64}

# Ours. The largest request has some five thousand: 4096 FaceIds. A few megabytes can hold millions, and each may
# become a sentence of the answer.
MAX_VALUES = 20_000

_JAVA_NAMES = {
    "string": "a String",
    "integer": "an Integer",
    "long": "a Long",
    "float": "a Float",
    "boolean": "a Boolean",
    "timestamp": "a Timestamp",
}


def parse(operation: OperationModel, body: bytes) -> dict[str, Any]:
    """The parameters of a request, by AWS's member names; those absent or null are left out.

    Blobs become bytes, timestamps aware datetimes in UTC, integers int, floats float. A null in a list or
    map stays None, for `validate` to report. An empty body counts as `{}`.

    SerializationException if the body is no JSON object in UTF-8, has more than `MAX_VALUES` values, or one of the
    wrong type; InvalidParameterException if a member is unknown.
    """
    if not body:
        return {}
    # Before each value stands one of these; they are not in base64, which is what makes a request long.
    written = np.frombuffer(body, np.uint8)  # which is counted four times as fast as `body` counts itself
    if sum(np.count_nonzero(written == mark) for mark in b",[{") > MAX_VALUES:
        raise SerializationException(f"The request body has more than {MAX_VALUES} values.")
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise SerializationException(f"The request body is not valid JSON: {error}") from None
    if not isinstance(document, dict):
        raise SerializationException("The request body is not a JSON object.")
    return _structure(input_shape(operation), document)


def _value(shape: Shape, value: Any) -> Any:
    return None if value is None else _READERS[shape.type_name](shape, value)


def _structure(shape: Shape, value: Any) -> dict[str, Any]:
    members = cast(StructureShape, shape).members
    if not isinstance(value, dict):
        raise _mismatch(shape, value)
    if unknown := value.keys() - members.keys():
        raise InvalidParameterException(f"Unknown members of {shape.name}: {', '.join(sorted(unknown))}")
    return {name: _value(members[name], item) for name, item in value.items() if item is not None}


def _list(shape: Shape, value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise _mismatch(shape, value)
    member = cast(ListShape, shape).member
    return [_value(member, item) for item in value]


def _map(shape: Shape, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _mismatch(shape, value)
    member = cast(MapShape, shape).value
    return {key: _value(member, item) for key, item in value.items()}


def _string(shape: Shape, value: Any) -> str:
    if not isinstance(value, str):
        raise _mismatch(shape, value)
    return value


def _boolean(shape: Shape, value: Any) -> bool:
    if not isinstance(value, bool):
        raise _mismatch(shape, value)
    return value


def _integer(shape: Shape, value: Any) -> int:
    # JavaScript and Lua write 5.0 for 5, which loses nothing.
    if isinstance(value, bool) or not isinstance(value, int | float) or value != int(value):
        raise _mismatch(shape, value)
    bound = 1 << (INTEGER_BITS[shape.type_name] - 1)
    if not -bound <= value < bound:
        raise _mismatch(shape, value)
    return int(value)


def _float(shape: Shape, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _mismatch(shape, value)
    return float(value)


def _timestamp(shape: Shape, value: Any) -> datetime:
    try:
        return datetime.fromtimestamp(_float(shape, value), UTC)
    except (OverflowError, ValueError, OSError):
        raise _mismatch(shape, value) from None


def _blob(shape: Shape, value: Any) -> bytes:
    if not isinstance(value, str):
        raise _mismatch(shape, value)
    try:
        # binascii alone lets too much padding pass.
        if len(value) % 4 or value.endswith("==="):
            raise ValueError("incorrect padding")
        return pybase64.b64decode(value, validate=True)  # ten times as fast as base64
    except ValueError as error:
        raise SerializationException(f"{shape.name} is not valid base64: {error}") from None


def _mismatch(shape: Shape, value: Any) -> SerializationException:
    """The error for a JSON value of the wrong type, in the words of AWS's own deserialiser."""
    if isinstance(value, dict):
        return SerializationException("Start of structure or map found where not expected.")
    if isinstance(value, list):
        return SerializationException("Start of list found where not expected.")
    if shape.type_name == "blob":
        return SerializationException("only base-64-encoded strings are convertible to bytes")
    if shape.type_name not in _JAVA_NAMES:
        return SerializationException("Unexpected field type")
    return SerializationException(f"{_token(value)} can not be converted to {_JAVA_NAMES[shape.type_name]}")


def _token(value: bool | int | float | str) -> str:
    if isinstance(value, bool):
        return "TRUE_VALUE" if value else "FALSE_VALUE"
    return {int: "NUMBER_VALUE", float: "DECIMAL_VALUE", str: "STRING_VALUE"}[type(value)]


_READERS: dict[str, Callable[[Shape, Any], Any]] = {
    "structure": _structure,
    "list": _list,
    "map": _map,
    "string": _string,
    "boolean": _boolean,
    "integer": _integer,
    "long": _integer,
    "float": _float,
    "timestamp": _timestamp,
    "blob": _blob,
}
