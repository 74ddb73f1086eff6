"""From the result of an operation to the JSON of a response, by the operation's output shape.

The shape is the contract: a member that it lacks or a value of another type is an error of ours and raises,
so that no client ever meets it.
"""

import base64
import math
import struct
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, cast

import orjson
from botocore.model import ListShape, MapShape, OperationModel, Shape, StructureShape

from regard.wire.parse import INTEGER_BITS
from regard.wire.service import output_shape

_FLOAT32 = struct.Struct("<f")


def serialise(operation: OperationModel, result: Mapping[str, Any]) -> bytes:
    """The body of a response; members that are None are left out, an empty result gives `{}`.

    Floats are rounded to float32 and widened again, as AWS's are. Timestamps are aware datetimes and become
    seconds since 1970 with milliseconds; blobs are bytes and become base64.

    TypeError for an unknown member or a value of the wrong type; ValueError for a number that is not
    finite or out of the type's range, and for a naive datetime.
    """
    return serialise_value(output_shape(operation), result)


def serialise_value(shape: Shape, value: Any) -> bytes:
    """A part of a response, by the shape of that part."""
    return orjson.dumps(_value(shape, value))


def _value(shape: Shape, value: Any) -> Any:
    return _WRITERS[shape.type_name](shape, value)


def _structure(shape: Shape, value: Any) -> dict[str, Any]:
    members = cast(StructureShape, shape).members
    if not isinstance(value, Mapping):
        raise _mismatch(shape, value)
    if unknown := value.keys() - members.keys():
        raise TypeError(f"{shape.name} has no member {', '.join(sorted(unknown))}")
    return {name: _value(members[name], item) for name, item in value.items() if item is not None}


def _list(shape: Shape, value: Any) -> list[Any]:
    if not isinstance(value, list | tuple):
        raise _mismatch(shape, value)
    member = cast(ListShape, shape).member
    return [_value(member, item) for item in value]


def _map(shape: Shape, value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
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
    if isinstance(value, bool) or not isinstance(value, int):
        raise _mismatch(shape, value)
    bound = 1 << (INTEGER_BITS[shape.type_name] - 1)
    if not -bound <= value < bound:
        raise ValueError(f"{shape.name} cannot hold {value}")
    return value


def _float(shape: Shape, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _mismatch(shape, value)
    try:
        rounded = cast(float, _FLOAT32.unpack(_FLOAT32.pack(value))[0])
    except (OverflowError, struct.error):
        rounded = math.inf
    if not math.isfinite(rounded):
        raise ValueError(f"{shape.name} cannot hold {value}")
    return rounded


def _timestamp(shape: Shape, value: Any) -> float:
    if not isinstance(value, datetime):
        raise _mismatch(shape, value)
    if value.tzinfo is None:
        raise ValueError(f"{shape.name} cannot hold a time without a zone")
    return round(value.timestamp(), 3)


def _blob(shape: Shape, value: Any) -> str:
    if not isinstance(value, bytes):
        raise _mismatch(shape, value)
    return base64.b64encode(value).decode("ascii")


def _mismatch(shape: Shape, value: Any) -> TypeError:
    return TypeError(f"{shape.name} is a {shape.type_name}, not {type(value).__name__}")


_WRITERS: dict[str, Callable[[Shape, Any], Any]] = {
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
