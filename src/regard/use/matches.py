"""Where in a response matches stand: in itself, or with each person of a video."""

from collections.abc import Iterator, Mapping
from typing import Any

MATCHES = ("FaceMatches", "UserMatches")


def holders(response: Mapping[str, Any]) -> Iterator[Any]:
    """The structures of a response that may have members `MATCHES`."""
    yield response
    yield from response.get("Persons") or ()
