"""What a request asks for, in the terms of the rules of use: threshold, attributes, collection, how many.

Each operation has these under a name of its own; the tables say where.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from regard.operations.faces import DEFAULT_SIMILARITY_THRESHOLD
from regard.operations.searching import DEFAULT_THRESHOLD
from regard.operations.users import DEFAULT_ASSOCIATION_THRESHOLD

Path = tuple[str, ...]

_STREAM = ("Settings", "FaceSearch")
THRESHOLDS: Mapping[str, tuple[Path, float]] = {
    "AssociateFaces": (("UserMatchThreshold",), DEFAULT_ASSOCIATION_THRESHOLD),
    "CompareFaces": (("SimilarityThreshold",), DEFAULT_SIMILARITY_THRESHOLD),
    "CreateStreamProcessor": ((*_STREAM, "FaceMatchThreshold"), DEFAULT_THRESHOLD),
    "SearchFaces": (("FaceMatchThreshold",), DEFAULT_THRESHOLD),
    "SearchFacesByImage": (("FaceMatchThreshold",), DEFAULT_THRESHOLD),
    "SearchUsers": (("UserMatchThreshold",), DEFAULT_THRESHOLD),
    "SearchUsersByImage": (("UserMatchThreshold",), DEFAULT_THRESHOLD),
    "StartFaceSearch": (("FaceMatchThreshold",), DEFAULT_THRESHOLD),
}
"""Where an operation's threshold stands, and what AWS takes where it is not given."""
MATCHING = ("Compare", "Search")
"""How the names of operations begin that answer with matches."""

ASKED_BY = {"GetFaceSearch": "StartFaceSearch", "GetFaceDetection": "StartFaceDetection"}
"""The operation whose request said what the results of this one are."""

_ATTRIBUTES: Mapping[str, Path] = {
    "DetectFaces": ("Attributes",),
    "IndexFaces": ("DetectionAttributes",),
    "StartFaceDetection": ("FaceAttributes",),
}
_COUNTS = ("MaxFaces", "MaxUsers", "MaxResults")
_ARN = re.compile(r":collection/([a-zA-Z0-9_.\-]+)\Z")  # which the model lets be anything


def _at(request: Mapping[str, Any], path: Path) -> Any:
    value: Any = request
    for name in path:
        if not isinstance(value, Mapping) or name not in value:
            return None
        value = value[name]
    return value


def threshold(operation: str, request: Mapping[str, Any]) -> float | None:
    """The Similarity that is asked for; None where the operation knows none."""
    if operation not in THRESHOLDS:
        return None
    path, default = THRESHOLDS[operation]
    if len(path) > 1 and _at(request, path[:-1]) is None:
        return None
    given = _at(request, path)
    return default if given is None else float(given)


def set_threshold(operation: str, request: dict[str, Any], value: float) -> None:
    """Ask for another threshold."""
    *way, name = THRESHOLDS[operation][0]
    for step in way:
        request = request[step]
    request[name] = value


def threshold_name(operation: str) -> str:
    """The parameter of the threshold."""
    return THRESHOLDS[operation][0][-1]


def attributes(operation: str, request: Mapping[str, Any]) -> Sequence[str]:
    """The attributes of faces that are asked for by name, ALL among them."""
    given = _at(request, _ATTRIBUTES.get(operation, ("",)))
    return [given] if isinstance(given, str) else list(given or ())


def count(request: Mapping[str, Any]) -> int | None:
    """How many results are asked for."""
    return next((request[name] for name in _COUNTS if request.get(name) is not None), None)


def from_s3(request: Mapping[str, Any]) -> bool:
    """Whether a picture or video is read from a bucket."""
    return any(isinstance(value, Mapping) and value.get("S3Object") is not None for value in request.values())


def collection_id(request: Mapping[str, Any]) -> str | None:
    """The collection that a request is about, by its name or its ARN."""
    named: str | None = request.get("CollectionId") or _at(request, (*_STREAM, "CollectionId"))
    if named is None and (found := _ARN.search(request.get("ResourceArn", ""))):
        return found[1]
    return named


def tag_keys(request: Mapping[str, Any]) -> list[str] | None:
    """The keys of the tags that a request sets or removes; None if it does neither."""
    tags = request.get("Tags", request.get("TagKeys"))
    return None if tags is None else list(tags)
