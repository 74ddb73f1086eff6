"""From the result of an operation to the JSON of a response, by the operation's output shape.

The shape is the contract: a member that it lacks or a value of another type is an error of ours and raises,
so that no client ever meets it.
"""

import base64
import math
import struct
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cache
from typing import Any, cast

import orjson
from botocore.model import ListShape, MapShape, OperationModel, Shape, StructureShape

from regard.wire.parse import INTEGER_BITS
from regard.wire.service import output_shape

Writer = Callable[[Any], Any]

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
    return orjson.dumps(_writer(shape)(value))


@cache
def _writer(shape: Shape) -> Writer:
    """What makes JSON of a shape's values. Made once, for looking all up in the shape takes as long again; no shape of
    the service holds itself."""
    return _WRITERS[shape.type_name](shape)


def _structure(shape: Shape) -> Writer:
    writers = {name: _writer(member) for name, member in cast(StructureShape, shape).members.items()}

    def write(value: Any) -> dict[str, Any]:
        if not isinstance(value, dict | Mapping):  # a dictionary is told at once
            raise _mismatch(shape, value)
        written = {}
        for name, item in value.items():
            writer = writers.get(name)
            if writer is None:
                raise TypeError(f"{shape.name} has no member {name}")
            if item is not None:
                written[name] = writer(item)
        return written

    return write


def _list(shape: Shape) -> Writer:
    writer = _writer(cast(ListShape, shape).member)

    def write(value: Any) -> list[Any]:
        if not isinstance(value, list | tuple):
            raise _mismatch(shape, value)
        return [writer(item) for item in value]

    return write


def _map(shape: Shape) -> Writer:
    writer = _writer(cast(MapShape, shape).value)

    def write(value: Any) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise _mismatch(shape, value)
        return {key: writer(item) for key, item in value.items()}

    return write


def _of_type(kind: type) -> Callable[[Shape], Writer]:
    def make(shape: Shape) -> Writer:
        def write(value: Any) -> Any:
            if not isinstance(value, kind):
                raise _mismatch(shape, value)
            return value

        return write

    return make


def _integer(shape: Shape) -> Writer:
    bound = 1 << (INTEGER_BITS[shape.type_name] - 1)

    def write(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise _mismatch(shape, value)
        if not -bound <= value < bound:
            raise ValueError(f"{shape.name} cannot hold {value}")
        return value

    return write


def _float(shape: Shape) -> Writer:
    def write(value: Any) -> float:
        if type(value) is not float and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise _mismatch(shape, value)
        try:
            rounded: float = _FLOAT32.unpack(_FLOAT32.pack(value))[0]
        except (OverflowError, struct.error):
            rounded = math.inf
        if not math.isfinite(rounded):
            raise ValueError(f"{shape.name} cannot hold {value}")
        return rounded

    return write


def _timestamp(shape: Shape) -> Writer:
    def write(value: Any) -> float:
        if not isinstance(value, datetime):
            raise _mismatch(shape, value)
        if value.tzinfo is None:
            raise ValueError(f"{shape.name} cannot hold a time without a zone")
        return round(value.timestamp(), 3)

    return write


def _blob(shape: Shape) -> Writer:
    def write(value: Any) -> str:
        if not isinstance(value, bytes):
            raise _mismatch(shape, value)
        return base64.b64encode(value).decode("ascii")

    return write


def _mismatch(shape: Shape, value: Any) -> TypeError:
    return TypeError(f"{shape.name} is a {shape.type_name}, not {type(value).__name__}")


_WRITERS: dict[str, Callable[[Shape], Writer]] = {
    "structure": _structure,
    "list": _list,
    "map": _map,
    "string": _of_type(str),
    "boolean": _of_type(bool),
    "integer": _integer,
    "long": _integer,
    "float": _float,
    "timestamp": _timestamp,
    "blob": _blob,
}
