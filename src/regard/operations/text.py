"""DetectText: lines and the words in them, all of them or those that the request's filters let through.

A filter judges words. A line consists of its words that pass, and one without any is left out.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from regard.operations import pictures, shapes
from regard.operations.context import Context, Request, Response
from regard.vision.geometry import Box
from regard.vision.text import VERSION, Line, Word, line_of
from regard.vision.text_detection import Corners, Strip
from regard.wire.errors import InvalidParameterException

# AWS's default for a WordFilter; without a filter every word is answered.
DEFAULT_MIN_CONFIDENCE = 80.0
# AWS: "a shape made up of up to 10 Point objects"; one of fewer than three has no inside.
POINTS = range(3, 11)
# AWS: a word "is included in the region if it is more than half in that region".
INSIDE = 0.5
_ACROSS, _ALONG = 8, 64  # places on a text at which it is looked up whether they are in a region

Polygon = NDArray[np.float64]
"""Corners [n, 2] as ratios of the picture's width and height."""


@dataclass(frozen=True, slots=True)
class Filters:
    """What a request's Filters let through: words in one of the regions, if there are any, that pass the filter."""

    regions: tuple[Polygon, ...]
    word_filter: Mapping[str, float] | None

    @classmethod
    def of(cls, request: Request) -> Self:
        """Raises InvalidParameterException for a region that is none."""
        filters = request.get("Filters", {})
        return cls(tuple(map(_region, filters.get("RegionsOfInterest", ()))), filters.get("WordFilter"))


class Reader(Protocol):
    """Finds and reads text in pictures, uint8 RGB [h, w, 3], or in frame after frame of a video."""

    def find(self, image: NDArray[np.uint8]) -> list[Strip]: ...

    def read(self, image: NDArray[np.uint8], strips: Sequence[Strip] | None = None) -> list[Line]: ...


def detect_text(context: Context, request: Request) -> Response:
    filters = Filters.of(request)
    picture = pictures.load(context, request["Image"])
    return {
        "TextDetections": text_detections(context.services.vision.text, picture.pixels, filters),
        "TextModelVersion": VERSION,
    }


def text_detections(reader: Reader, image: NDArray[np.uint8], filters: Filters) -> list[dict[str, Any]]:
    """The TextDetections of a picture."""
    height, width = image.shape[:2]
    lines = _lines(reader, image, filters.regions)
    if (word_filter := filters.word_filter) is not None:
        lines = _only(lines, lambda word: _passes(word, (width, height), word_filter))
    return list(_detections(lines, (width, height)))


def _lines(reader: Reader, image: NDArray[np.uint8], regions: Sequence[Polygon]) -> list[Line]:
    """What is read in the picture, or in its regions alone."""
    if not regions:
        return reader.read(image)
    size = image.shape[1], image.shape[0]
    strips = [
        strip
        for strip in reader.find(image)
        if any(share_inside(strip.corners, size, region) > 0 for region in regions)
    ]
    return _only(
        reader.read(image, strips),
        lambda word: any(share_inside(word.corners, size, region) > INSIDE for region in regions),
    )


def _only(lines: Sequence[Line], wanted: Callable[[Word], bool]) -> list[Line]:
    kept = [[word for word in line.words if wanted(word)] for line in lines]
    return [line_of(words) for words in kept if words]


def _passes(word: Word, size: tuple[int, int], word_filter: Mapping[str, float]) -> bool:
    box = _box(word.corners, size)
    (confidence, width, height) = shapes.as_sent(np.array([word.confidence, box["Width"], box["Height"]]))
    return (
        confidence >= word_filter.get("MinConfidence", DEFAULT_MIN_CONFIDENCE)
        and width >= word_filter.get("MinBoundingBoxWidth", 0.0)
        and height >= word_filter.get("MinBoundingBoxHeight", 0.0)
    )


def _region(region: Mapping[str, Any]) -> Polygon:
    """The polygon of a RegionOfInterest, which is a box or a polygon within the picture."""
    box, points = region.get("BoundingBox"), region.get("Polygon")
    if (box is None) == (points is None):
        raise InvalidParameterException("A region of interest is either a BoundingBox or a Polygon.")
    corners = _corners_of(box) if box is not None else _corners_of_points(points or ())
    if corners.min() < 0 or corners.max() > 1:
        raise InvalidParameterException("A region of interest lies within the image: its ratios are from 0 to 1.")
    return corners


def _corners_of(box: Mapping[str, float]) -> Polygon:
    if set(box) != {"Left", "Top", "Width", "Height"} or box["Width"] <= 0 or box["Height"] <= 0:
        raise InvalidParameterException("A region's BoundingBox has a Left, a Top, and a Width and Height above 0.")
    left, top = box["Left"], box["Top"]
    right, bottom = left + box["Width"], top + box["Height"]
    # A box up to the edge may miss 1 by the rounding of its sum.
    right, bottom = (1.0 if np.isclose(end, 1.0) else end for end in (right, bottom))
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]])


def _corners_of_points(points: Sequence[Mapping[str, float]]) -> Polygon:
    if len(points) not in POINTS or any(set(point) != {"X", "Y"} for point in points):
        raise InvalidParameterException(
            f"A region's Polygon has {POINTS.start} to {POINTS.stop - 1} points, each with X and Y."
        )
    return np.array([[point["X"], point["Y"]] for point in points], np.float64)


def share_inside(corners: Corners, size: tuple[int, int], region: Polygon) -> float:
    """The share, 0–1, of a rectangle in pixels that lies in a region, by the even-odd rule at a grid of places."""
    along, across = np.meshgrid((np.arange(_ALONG) + 0.5) / _ALONG, (np.arange(_ACROSS) + 0.5) / _ACROSS)
    shares = np.stack([along.ravel(), across.ravel()], 1)
    places = (corners[0] + shares @ (corners[[1, 3]] - corners[0])) / np.array(size)
    x, y = places[:, :1], places[:, 1:]
    ends = np.roll(region, -1, axis=0)
    crossed = (region[:, 1] > y) != (ends[:, 1] > y)
    rise = np.where(ends[:, 1] == region[:, 1], 1.0, ends[:, 1] - region[:, 1])
    border = region[:, 0] + (y - region[:, 1]) / rise * (ends[:, 0] - region[:, 0])
    return float((np.count_nonzero(crossed & (x < border), axis=1) % 2).mean())


def _detections(lines: Sequence[Line], size: tuple[int, int]) -> Iterator[dict[str, Any]]:
    """A TextDetection for each line and then for each word, numbered on, as AWS does."""
    for number, line in enumerate(lines):
        yield _detection("LINE", number, line, size)
    words = [(parent, word) for parent, line in enumerate(lines) for word in line.words]
    for number, (parent, word) in enumerate(words, len(lines)):
        yield _detection("WORD", number, word, size) | {"ParentId": parent}


def _detection(kind: str, number: int, found: Line | Word, size: tuple[int, int]) -> dict[str, Any]:
    return {
        "DetectedText": found.text,
        "Type": kind,
        "Id": number,
        "Confidence": found.confidence,
        "Geometry": {
            "BoundingBox": _box(found.corners, size),
            "Polygon": [{"X": x, "Y": y} for x, y in (found.corners / np.array(size)).tolist()],
        },
    }


def _box(corners: Corners, size: tuple[int, int]) -> dict[str, float]:
    """The BoundingBox of a rectangle in pixels."""
    (left, top), (right, bottom) = corners.min(0).tolist(), corners.max(0).tolist()
    return shapes.bounding_box(shapes.ratios(Box(left, top, right - left, bottom - top), size))
