"""The constraints of the service model, checked on typed parameters and reported in AWS's words.

All that fail are reported at once, as AWS does. The constraints of a shape are built once and kept. The
same check runs on responses in tests, through `violations`.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from botocore.model import ListShape, MapShape, OperationModel, Shape, StructureShape

from regard.wire.errors import InvalidParameterException
from regard.wire.service import input_shape

# Some patterns take quadratic time on a text made for it. The model bounds most patterned strings; the
# others are ARNs and identifiers, which AWS keeps below 2048 characters.
LONGEST_UNBOUNDED = 2048

# Letters, separators and numbers of Unicode, which Python's expressions cannot name: `\w` is exactly
# letters, numbers and the underscore; the separators are listed.
_JAVA_CLASSES = r"\p{L}\p{Z}\p{N}_"
_PYTHON_CLASSES = r"\w \u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"

_COMPOUND = (StructureShape, ListShape, MapShape)
_NOT_NULL = "Member must not be null"


@dataclass(frozen=True, slots=True)
class Constraint:
    """One condition on a value and AWS's sentence for it."""

    text: str
    holds: Callable[[Any], bool]


def validate(operation: OperationModel, params: Mapping[str, Any]) -> None:
    """Check parsed parameters; InvalidParameterException names every constraint that fails."""
    errors = list(violations(input_shape(operation), params))
    if errors:
        count = f"{len(errors)} validation error{'s' if len(errors) > 1 else ''} detected: "
        raise InvalidParameterException(count + "; ".join(errors))


def violations(shape: Shape, value: Any, path: str = "") -> Iterator[str]:
    """AWS's sentence for each constraint of `shape` that `value` (not None) at `path` fails.

    Paths are lowerCamel member names, with `.1.member` for the first structure of a list. Scalars of a
    list are reported at the list itself, together with every constraint that they have.
    """
    for constraint in constraints(shape):
        if not constraint.holds(value):
            yield f"{_shown(shape, value)} {_failed(path)}{constraint.text}"
    if isinstance(shape, StructureShape):
        yield from _in_structure(shape, value, path)
    elif isinstance(shape, ListShape) and isinstance(shape.member, _COMPOUND):
        for number, item in enumerate(value, 1):
            yield from _present(shape.member, item, f"{path}.{number}.member")
    elif isinstance(shape, ListShape):
        yield from _among(shape, value, path, shape.member, value, "Member must")
    elif isinstance(shape, MapShape):
        yield from _among(shape, value, path, shape.key, value, "Map keys must")
        yield from _among(shape, value, path, shape.value, value.values(), "Map value must")


def _in_structure(shape: StructureShape, value: Mapping[str, Any], path: str) -> Iterator[str]:
    prefix = f"{path}." if path else ""
    for name, member in shape.members.items():
        if name in value or name in shape.required_members:
            yield from _present(member, value.get(name), f"{prefix}{name[0].lower()}{name[1:]}")


def _present(shape: Shape, value: Any, path: str) -> Iterator[str]:
    if value is None:
        yield f"Value null {_failed(path)}{_NOT_NULL}"
    else:
        yield from violations(shape, value, path)


def _among(shape: Shape, whole: Any, path: str, member: Shape, values: Iterable[Any], whose: str) -> Iterator[str]:
    wanted = constraints(member)
    if any(value is None or not all(one.holds(value) for one in wanted) for value in values):
        texts = ", ".join([*(one.text for one in wanted), _NOT_NULL])
        yield f"{_shown(shape, whole)} {_failed(path)}{whose} satisfy constraint: [{texts}]"


def _failed(path: str) -> str:
    return f"at '{path}' failed to satisfy constraint: "


def _shown(shape: Shape, value: Any) -> str:
    """The value as Java prints it, unless it is bytes or holds structures."""
    if isinstance(shape, ListShape) and not isinstance(shape.member, _COMPOUND):
        return f"Value '[{', '.join(map(_printed, value))}]'"
    if isinstance(shape, MapShape) and not isinstance(shape.value, _COMPOUND):
        return f"Value '{{{', '.join(f'{key}={_printed(item)}' for key, item in value.items())}}}'"
    return "Value" if isinstance(shape, _COMPOUND) or shape.type_name == "blob" else f"Value '{value}'"


def _printed(value: Any) -> str:
    return "null" if value is None else str(value)


@cache
def constraints(shape: Shape) -> tuple[Constraint, ...]:
    """What the model asks of a value of `shape` itself, not of what it holds."""
    return tuple(_constraints(shape))


def _constraints(shape: Shape) -> Iterator[Constraint]:
    numeric = shape.type_name in ("integer", "long", "float")
    size: Callable[[Any], float] = float if numeric else len
    quantity = "value" if numeric else "length"
    metadata = shape.metadata
    if values := getattr(shape, "enum", None):
        allowed = frozenset(values)
        yield Constraint(f"Member must satisfy enum value set: [{', '.join(values)}]", lambda value: value in allowed)
    if (most := metadata.get("max")) is not None:
        yield Constraint(f"Member must have {quantity} less than or equal to {most}", lambda value: size(value) <= most)
    if (least := metadata.get("min")) is not None:
        yield Constraint(
            f"Member must have {quantity} greater than or equal to {least}",
            lambda value: size(value) >= least,
        )
    if (pattern := metadata.get("pattern")) is not None:
        yield Constraint(f"Member must satisfy regular expression pattern: {pattern}", _matcher(pattern, most))


def _matcher(pattern: str, most: int | None) -> Callable[[str], bool]:
    """Whether a whole text matches; one longer than `most` passes, since its length is reported already."""
    compiled = compile_pattern(pattern)
    if most is None:
        return lambda text: len(text) <= LONGEST_UNBOUNDED and compiled.fullmatch(text) is not None
    return lambda text: len(text) > most or compiled.fullmatch(text) is not None


def compile_pattern(pattern: str) -> re.Pattern[str]:
    r"""A pattern of the model, written for Java, in Python's terms.

    Java's `\d`, `\w` and `\s` are ASCII. Of Java's Unicode classes the one combination that the model uses
    is understood; re.error for any other.
    """
    translated = pattern.replace(_JAVA_CLASSES, _PYTHON_CLASSES)
    return re.compile(translated, re.ASCII if translated == pattern else re.UNICODE)
