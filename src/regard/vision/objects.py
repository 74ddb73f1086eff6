"""Find things of COCO's 80 kinds: their names, boxes and calibrated scores.

Two small detectors look at the picture and their findings are fused: EfficientDet-Lite0 (Tan, Pang and Le,
"EfficientDet: Scalable and Efficient Object Detection", CVPR 2020) finds more small things, SSDLite MobileNet-V2
(Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", CVPR 2018) is better at large ones. Each
also looks at the picture's mirror image: what is found in all four looks is there more surely.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from regard.settings import Settings
from regard.vision import models
from regard.vision.fusion import Found, fuse, suppress
from regard.vision.geometry import Box, resize
from regard.vision.models import ModelError
from regard.vision.session import CPU, Session
from regard.vision.spreading import Spreader

# fmt: off
COCO_CLASSES = (
    "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat", "traffic light",
    "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse", "sheep", "cow",
    "elephant", "bear", "zebra", "giraffe", "backpack", "umbrella", "handbag", "tie", "suitcase", "frisbee",
    "skis", "snowboard", "sports ball", "kite", "baseball bat", "baseball glove", "skateboard", "surfboard",
    "tennis racket", "bottle", "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple",
    "sandwich", "orange", "broccoli", "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch",
    "potted plant", "bed", "dining table", "toilet", "tv", "laptop", "mouse", "remote", "keyboard",
    "cell phone", "microwave", "oven", "toaster", "sink", "refrigerator", "book", "clock", "vase", "scissors",
    "teddy bear", "hair drier", "toothbrush",
)
# fmt: on

# COCO numbers its categories 1–90; these numbers were never used. A network's column is the number less 1.
_UNUSED = (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)
_CLASS_OF_COLUMN = np.cumsum([number not in _UNUSED for number in range(1, 91)]) - 1

LEAST_SCORE = 0.05
_LEAST_RAW = 0.03  # in one look; a thing that is seen in one of four gets a quarter of its score
_CANDIDATES = 2000  # in one view, before suppression
_FOUND = 100  # in one look, after it; COCO's evaluation counts as many
_SUPPRESS = 0.5
FUSE = 0.55  # as in the paper

# Tiles: two by two parts of the picture, each this share of its sides, so that they overlap by a third of a tile.
_TILE = 0.6
# A box closer than this share of a tile to an edge inside the picture is cut; another view sees the thing whole.
_CUT = 0.01


@dataclass(frozen=True, slots=True)
class Instance:
    """A thing in a picture.

    `class_name` is one of `COCO_CLASSES`; `score` is the probability, 0–1, that it is there and the box
    overlaps it by half (intersection over union). The box lies within the picture.
    """

    class_name: str
    score: float
    box: Box


class _Detector(Protocol):
    side: int

    def find(self, pixels: NDArray[np.uint8]) -> Found:
        """What may be in `pixels`, RGB [side, side, 3]: raw scores 0–1, boxes in shares of the side."""
        ...


class EfficientDet:
    """EfficientDet-Lite0, for a picture squeezed into a square."""

    side = 320

    def __init__(self, path: Path, *, threads: int, device: str = CPU, cache: Path | None = None) -> None:
        self._session = Session(path, threads=threads, device=device, cache=cache)
        self._anchors = np.concatenate([_anchors(self.side, 2**level) for level in range(3, 8)])

    def find(self, pixels: NDArray[np.uint8]) -> Found:
        scores, codes = self._session.run(pixels[None])
        middle, size = self._anchors[:, :2], self._anchors[:, 2:]
        centre, half = middle + codes[0, :, :2] * size, np.exp(codes[0, :, 2:]) * size / 2
        return _candidates(scores[0], np.concatenate([centre - half, centre + half], 1) / self.side)


class SSDLite:
    """SSDLite MobileNet-V2, for a picture squeezed into a square."""

    side = 300

    def __init__(self, path: Path, *, threads: int, device: str = CPU, cache: Path | None = None) -> None:
        self._session = Session(path, threads=threads, device=device, cache=cache)

    def find(self, pixels: NDArray[np.uint8]) -> Found:
        boxes, scores = self._session.run(pixels[None])
        return _candidates(scores[0], boxes[0])


class ObjectEngine:
    """Finds things; many threads may use it at once."""

    def __init__(self, settings: Settings) -> None:
        threads, device, cache = settings.threads, settings.device, settings.cache / "compiled"
        self._detectors: tuple[_Detector, ...] = (
            EfficientDet(
                models.path("efficientdet_lite0", settings.cache), threads=threads, device=device, cache=cache
            ),
            SSDLite(models.path("ssdlite", settings.cache), threads=threads, device=device, cache=cache),
        )
        self._calibration: Mapping[str, tuple[float, float]] = json.loads(
            (models.WEIGHTS / "objects" / "calibration.json").read_text("utf-8")
        )["platt"]
        self._spreader = Spreader(threads, "objects")

    @classmethod
    def load(cls, settings: Settings) -> Self:
        """Raises `models.ModelError`."""
        try:
            return cls(settings)
        except RuntimeError as error:
            raise ModelError(f"a network cannot be read, see `regard models verify`: {error}") from error

    def detect(self, image: NDArray[np.uint8], *, tiles: bool = False) -> list[Instance]:
        """The things in `image`, uint8 RGB [h, w, 3], best first, with a score of 0.05 or more.

        With `tiles` parts of the picture are looked at as well, which finds small things and takes longer.
        """
        return self._probable(self.find(image, tiles=tiles), "tiles" if tiles else "whole")

    def glance(self, image: NDArray[np.uint8]) -> list[Instance]:
        """The same without mirror images, in half the time and a little less well: for the many frames of a video."""
        return self._probable(self.find(image, mirrored=False), "once")

    def find(self, image: NDArray[np.uint8], *, tiles: bool = False, mirrored: bool = True) -> Found:
        """What all looks have found together, with boxes in pixels and raw scores, which are no probabilities."""
        return fuse(self.look(image, tiles=tiles, mirrored=mirrored), FUSE)

    def look(self, image: NDArray[np.uint8], *, tiles: bool = False, mirrored: bool = True) -> list[Found]:
        """What each detector finds in `image` by itself, and with `mirrored` in its mirror image.

        Two or four lists with raw scores and boxes in pixels, at most 100 each, best first. Tiles are not mirrored.
        """
        height, width = image.shape[:2]
        whole = _View(0, 0, width, height)
        looks = [[whole, *(_tiles(width, height) if tiles else ())]]
        if mirrored:
            looks.append([replace(whole, mirrored=True)])

        def found(look: tuple[_Detector, Sequence[_View]]) -> Found:
            detector, views = look
            parts = self._spreader.each(partial(_in_view, detector, image), views)
            return suppress(Found.join(parts), _SUPPRESS, _FOUND)

        return self._spreader.each(found, [(detector, views) for detector in self._detectors for views in looks])

    def _probable(self, found: Found, looks: str) -> list[Instance]:
        """What is found with a score of 0.05 or more, once scores are probabilities; `looks` names the calibration."""
        scores = platt(found.scores, self._calibration[looks])
        return instances(Found(found.boxes, scores, found.classes)[scores >= LEAST_SCORE])


def instances(found: Found) -> list[Instance]:
    """The same as instances, in the same order."""
    return [
        Instance(COCO_CLASSES[number], score, Box(left, top, right - left, bottom - top))
        for (left, top, right, bottom), score, number in zip(
            found.boxes.tolist(), found.scores.tolist(), found.classes.tolist(), strict=True
        )
    ]


def platt(scores: NDArray[np.float64], line: tuple[float, float]) -> NDArray[np.float64]:
    """Probabilities of raw scores 0–1, by a line (slope, shift) between their logits (Platt 1999)."""
    inside = np.clip(scores, 1e-6, 1 - 1e-6)
    slope, shift = line
    return np.asarray(1 / (1 + np.exp(-(slope * np.log(inside / (1 - inside)) + shift))), np.float64)


def _anchors(side: int, stride: int) -> NDArray[np.float32]:
    """EfficientDet's anchors of one level, float32 [n, 4], cell by cell: y and x of the middle, height, width."""
    cells = -(-side // stride)
    y, x = np.mgrid[:cells, :cells]
    middles = (np.stack([y.ravel(), x.ravel()], 1) + 0.5) * stride
    octaves, ratios = np.repeat(2.0 ** (np.arange(3) / 3), 3), np.tile([1.0, 2.0, 0.5], 3)  # width / height
    sizes = 3.0 * stride * octaves[:, None] * np.stack([ratios**-0.5, ratios**0.5], 1)
    return np.column_stack([np.repeat(middles, 9, 0), np.tile(sizes, (len(middles), 1))]).astype(np.float32)


def _candidates(scores: NDArray[np.float32], boxes: NDArray[np.floating]) -> Found:
    """Of raw scores [n, 90] and boxes [n, 4], as top, left, bottom, right, those worth looking at."""
    row, column = np.divmod(np.flatnonzero(scores.ravel() >= _LEAST_RAW), scores.shape[1])
    used = ~np.isin(column + 1, _UNUSED)
    row, column = row[used], column[used]
    found = Found(
        boxes[row][:, [1, 0, 3, 2]].astype(np.float64),
        scores[row, column].astype(np.float64),
        _CLASS_OF_COLUMN[column].astype(np.int64),
    )
    return found.best(_CANDIDATES)


@dataclass(frozen=True, slots=True)
class _View:
    """A part of the picture in pixels, perhaps seen in a mirror."""

    left: int
    top: int
    right: int
    bottom: int
    mirrored: bool = False


def _tiles(width: int, height: int) -> Iterator[_View]:
    across, down = max(1, round(_TILE * width)), max(1, round(_TILE * height))
    for top in (0, height - down):
        for left in (0, width - across):
            yield _View(left, top, left + across, top + down)


def _in_view(detector: _Detector, image: NDArray[np.uint8], view: _View) -> Found:
    """What `detector` finds in a part of `image`, in pixels of `image`, without what the part cuts."""
    pixels = resize(image[view.top : view.bottom, view.left : view.right], detector.side, detector.side)
    found = detector.find(np.ascontiguousarray(pixels[:, ::-1]) if view.mirrored else pixels)
    boxes = np.clip(found.boxes, 0, 1)
    if view.mirrored:
        boxes = np.column_stack([1 - boxes[:, 2], boxes[:, 1], 1 - boxes[:, 0], boxes[:, 3]])
    near, far = np.array([view.left, view.top]), np.array([view.right, view.bottom])
    whole = ((boxes[:, :2] > _CUT) | (near == 0)) & ((boxes[:, 2:] < 1 - _CUT) | (far == image.shape[1::-1]))
    boxes = boxes * np.tile(far - near, 2) + np.tile(near, 2)
    there = (boxes[:, 2:] > boxes[:, :2]).all(1)
    return Found(boxes, found.scores, found.classes)[whole.all(1) & there]
