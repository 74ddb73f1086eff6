"""Values drawn from the shapes of the service model, for the tests that run over every operation."""

from datetime import UTC, datetime
from typing import Any

from botocore.model import ListShape, MapShape, Shape, StructureShape
from hypothesis import strategies as st

_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
_SCALARS: dict[str, st.SearchStrategy[Any]] = {
    "string": _TEXT,
    "boolean": st.booleans(),
    "integer": st.integers(-(2**31), 2**31 - 1),
    "long": st.integers(-(2**63), 2**63 - 1),
    "float": st.floats(width=32, allow_nan=False, allow_infinity=False),
    "blob": st.binary(max_size=40),
    "timestamp": st.integers(0, 4 * 10**12).map(lambda ms: datetime.fromtimestamp(ms / 1000, UTC)),
}


def values(shape: Shape) -> st.SearchStrategy[Any]:
    """Values of the right types for `shape`, any members absent, constraints not heeded."""
    if isinstance(shape, StructureShape):
        members = {name: st.deferred(lambda m=member: values(m)) for name, member in shape.members.items()}
        return st.fixed_dictionaries({}, optional=members)
    if isinstance(shape, ListShape):
        return st.lists(values(shape.member), max_size=2)
    if isinstance(shape, MapShape):
        return st.dictionaries(_TEXT, values(shape.value), max_size=2)
    return _SCALARS[shape.type_name]
