"""Find faces: their boxes, five keypoints each, and a confidence that has been calibrated.

YuNet (Wu, Peng and Yu, "YuNet: A Tiny Millisecond-level Face Detector", Machine Intelligence Research 2023)
was trained for faces of about 10 to 300 pixels, so it looks at the picture at several sizes. An owner may put
another network in its place.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from regard.vision import models
from regard.vision.geometry import Box, resize
from regard.vision.models import DetectorDescription, ModelError
from regard.vision.planes import LEVELS, planes
from regard.vision.session import CPU, Session
from regard.vision.spreading import Spreader

MAX_FACES = 100  # DetectFaces and IndexFaces answer for the 100 largest

# A finer view places keypoints better, so for a face of fewer than this many of its pixels it is preferred to
# a coarser one unless its score is lower by more than `_PREFERENCE`.
_FINE_LIMIT = 256
_PREFERENCE = 0.2
# The coarsest of several views has an empty border of this share of the long side, for faces that fill the
# picture or are cut by its edge.
_MARGIN = 0.25
# A view is left out unless it is at least this much smaller than the finer one before it.
_STEP = 0.6
# A picture in which no face is this certain is also looked at turned by 90, 180 and 270 degrees, at no more
# than `_TURNED_SIZE`. Faces on their side or upside down get up to 98 % otherwise, but with wrong keypoints.
_UPRIGHT_CERTAIN = 99.0
# Only a face that is this certain counts in a turned picture: below, most are fruit, wheels and dogs.
_TURNED_CERTAIN = 95.0
_TURNED_SIZE = 640

Rows = NDArray[np.float32]
"""[n, 16]: left, top, right, bottom, five times x and y, score, priority among overlapping rows."""
_SCORE, _PRIORITY = 14, 15
_NOTHING: Rows = np.empty((0, 16), np.float32)
_Floats = NDArray[np.floating]
_Outputs = Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class Detection:
    """A face.

    `confidence` is the probability in percent that this is a face, on the pictures that the detector was
    calibrated on (see its card); a detector without calibration points gives its score times 100.
    `keypoints` is float32 [5, 2] in pixels: eye, eye, nose tip, mouth corner, mouth corner; those that are at
    the left when the face is upright come first.
    """

    box: Box
    confidence: float
    keypoints: NDArray[np.float32]


def yunet(cache: Path) -> DetectorDescription:
    """The detector that is used unless the owner brings one. Raises `ModelMissing`."""
    calibration = json.loads((models.WEIGHTS / "yunet" / "calibration.json").read_text("utf-8"))
    return DetectorDescription(
        task="detector",
        network=models.path("yunet", cache),
        format="yunet",
        colour="bgr",
        sizes=(1280, 512, 256),
        any_size=True,
        precision="bf16",
        threshold=calibration["threshold"],
        overlap=0.3,
        calibration=calibration["points"],
    )


class Detector:
    """A face detector that many threads may use at once."""

    def __init__(
        self, description: DetectorDescription, *, threads: int, device: str = CPU, cache: Path | None = None
    ) -> None:
        """Compile the network, run it once and check what it answers.

        `cache` is a folder for compiled networks. Raises `ModelError` if the network cannot be read, does not
        take the sizes described, or lacks an output.
        """
        self._description = description
        self._spreader = Spreader(threads, "detector")
        self._levels = (LEVELS - np.array(description.mean, np.float32)[:, None]) * np.float32(description.scale)
        sizes = sorted(description.sizes, reverse=True)
        try:
            sessions = [
                Session(
                    description.network,
                    threads=threads,
                    device=device,
                    precision=description.precision,
                    shapes={0: (1, 3, side, side)},
                    cache=cache,
                )
                # One for each size though it takes any: to see another shape than the last one costs up to a third.
                for side in ([-1] * len(sizes) if description.any_size else sizes)
            ]
            self._sessions = dict(zip(sizes, sessions, strict=True))
            for size in sizes:
                self._run(_View(np.zeros((size, size, 3), np.uint8), 0, 1.0, size))
        except (RuntimeError, KeyError, ValueError) as error:
            problem = f"it has no output {error}" if isinstance(error, KeyError) else error
            raise ModelError(
                f"{description.network} is no '{description.format}' detector for pictures of {sizes}: {problem}"
            ) from error

    def detect(self, image: NDArray[np.uint8]) -> list[Detection]:
        """The faces in `image`, uint8 RGB [h, w, 3], the largest first, at most 100.

        A box may reach beyond the picture.
        """
        rows = self._look(image, tuple(self._sessions))
        if not (self._confidence(rows) >= _UPRIGHT_CERTAIN).any():
            rows = _suppress(np.concatenate([rows, *self._look_turned(image)]), self._description.overlap)
        return self._detections(rows)

    def upright(self, image: NDArray[np.uint8]) -> list[Detection]:
        """As `detect`, without looking for faces that lie on their side or are upside down."""
        return self._detections(self._look(image, tuple(self._sessions)))

    def _detections(self, rows: Rows) -> list[Detection]:
        area = (rows[:, 2] - rows[:, 0]) * (rows[:, 3] - rows[:, 1])
        rows = rows[np.argsort(-area, kind="stable")[:MAX_FACES]]
        return [
            Detection(
                Box(float(row[0]), float(row[1]), float(row[2] - row[0]), float(row[3] - row[1])),
                float(confidence),
                row[4:14].reshape(5, 2),
            )
            for row, confidence in zip(rows, self._confidence(rows), strict=True)
        ]

    def _look_turned(self, image: NDArray[np.uint8]) -> Iterator[Rows]:
        sizes = [size for size in self._sessions if size <= _TURNED_SIZE] or [min(self._sessions)]
        scale = min(1.0, sizes[0] / max(image.shape))
        image = resize(image, max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
        for turns in (1, 2, 3):
            rows = self._look(np.ascontiguousarray(np.rot90(image, turns)), sizes)
            rows = _turn_back(rows[self._confidence(rows) >= _TURNED_CERTAIN], turns, image.shape[1], image.shape[0])
            rows[:, :_SCORE] /= scale
            yield rows

    def _confidence(self, rows: Rows) -> NDArray[np.float64]:
        if not self._description.calibration:
            return np.asarray(rows[:, _SCORE] * 100, np.float64)
        score, confidence = zip(*self._description.calibration, strict=True)
        return np.asarray(np.interp(rows[:, _SCORE], score, confidence), np.float64)

    def _look(self, image: NDArray[np.uint8], sizes: Sequence[int]) -> Rows:
        """What is found at these sizes, from fine to coarse, in pixels of `image`."""
        views = list(_views(image, sizes))
        found: list[Rows] = []
        finer = 0.0
        for view, rows in zip(views, self._spreader.each(self._run, views), strict=True):
            sides = np.maximum(rows[:, 2] - rows[:, 0], rows[:, 3] - rows[:, 1])
            if found:
                rows[sides * finer < _FINE_LIMIT, _PRIORITY] -= _PREFERENCE
            found.append(rows)
            finer = view.scale
        return _suppress(np.concatenate(found), self._description.overlap)

    def _run(self, view: "_View") -> Rows:
        """What the network finds in a view, in pixels of the whole picture, before suppression."""
        description, pixels, size = self._description, view.pixels, view.size
        height, width = pixels.shape[:2]
        stride = max(description.strides)
        down = -height % stride if description.any_size else size - height
        right = -width % stride if description.any_size else size - width
        if down or right:
            pixels = np.asarray(cv2.copyMakeBorder(pixels, 0, down, 0, right, cv2.BORDER_CONSTANT), np.uint8)
        blob = planes(pixels, self._levels, bgr=description.colour == "bgr")
        session = self._sessions[size]
        outputs = dict(zip(session.outputs, session.run(blob), strict=True))
        rows = _DECODERS[description.format](outputs, (height + down, width + right), description)
        rows[:, :_SCORE] = (rows[:, :_SCORE] - view.border) / view.scale
        return rows


@dataclass(frozen=True, slots=True)
class _View:
    """The picture, `scale` times as large, with `border` empty pixels around; RGB, at most `size` long."""

    pixels: NDArray[np.uint8]
    border: int
    scale: float
    size: int


def _views(image: NDArray[np.uint8], sizes: Sequence[int]) -> Iterator[_View]:
    """The picture at these sizes, from fine to coarse; only the last is ever larger than the picture."""
    height, width = image.shape[:2]
    finer = np.inf
    for size in sizes:
        last = size == sizes[-1]
        margin = _MARGIN if last and len(sizes) > 1 else 0.0
        scale = size / (1 + 2 * margin) / max(height, width)
        if not last:
            scale = min(scale, 1.0)
        if last or scale <= _STEP * finer:
            image = resize(image, max(1, round(width * scale)), max(1, round(height * scale)))
            border = int(margin * max(image.shape))
            padded = image
            if border:
                padded = np.asarray(
                    cv2.copyMakeBorder(image, border, border, border, border, cv2.BORDER_CONSTANT), np.uint8
                )
            yield _View(padded, border, scale, size)
            finer = scale


def _decode_yunet(outputs: _Outputs, shape: tuple[int, int], description: DetectorDescription) -> Rows:
    """YuNet's answer: centre, logarithm of the size and keypoints, in strides from each cell's corner.

    The score is the geometric mean of the network's two, as OpenCV's FaceDetectorYN takes it.
    """
    found = [_NOTHING]
    for stride in description.strides:
        cells = _cells(shape, stride, 1)
        kind, objectness, box, points = (
            outputs[f"{name}_{stride}"].reshape(len(cells), columns)
            for name, columns in (("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10))
        )
        score = np.sqrt(np.clip(kind, 0, 1) * np.clip(objectness, 0, 1))[:, 0]
        hit = np.flatnonzero(score >= description.threshold)
        if not hit.size:
            continue
        centre = cells[hit] + box[hit, :2]
        half = np.exp(box[hit, 2:]) / 2
        keypoints = cells[hit, None] + points[hit].reshape(-1, 5, 2)
        found.append(_rows(centre - half, centre + half, keypoints, score[hit], stride))
    return np.concatenate(found)


def _decode_scrfd(outputs: _Outputs, shape: tuple[int, int], description: DetectorDescription) -> Rows:
    """SCRFD's answer as InsightFace exports it: distances from each cell's corner to the edges, in strides.

    The outputs have no dependable names; each is known by its number of rows and columns.
    """
    found = [_NOTHING]
    by_shape = {(value.size // value.shape[-1], value.shape[-1]): value for value in outputs.values()}
    for stride in description.strides:
        cells = _cells(shape, stride, description.anchors)
        score, box, points = (by_shape[len(cells), columns].reshape(-1, columns) for columns in (1, 4, 10))
        hit = np.flatnonzero(score[:, 0] >= description.threshold)
        if not hit.size:
            continue
        near, far = cells[hit] - box[hit, :2], cells[hit] + box[hit, 2:]
        keypoints = cells[hit, None] + points[hit].reshape(-1, 5, 2)
        found.append(_rows(near, far, keypoints, score[hit, 0], stride))
    return np.concatenate(found)


_DECODERS: Mapping[str, Callable[[_Outputs, tuple[int, int], DetectorDescription], Rows]] = {
    "yunet": _decode_yunet,
    "scrfd": _decode_scrfd,
}


@lru_cache(maxsize=64)
def _cells(shape: tuple[int, int], stride: int, anchors: int) -> NDArray[np.float32]:
    """x and y of each cell of the grid, row by row, each `anchors` times; float32 [n, 2], not to be written to."""
    y, x = np.mgrid[: shape[0] // stride, : shape[1] // stride]
    return np.repeat(np.stack([x.ravel(), y.ravel()], 1), anchors, axis=0).astype(np.float32)


def _rows(near: _Floats, far: _Floats, keypoints: _Floats, score: _Floats, stride: int) -> Rows:
    """Rows in pixels from geometry in strides."""
    geometry = np.column_stack([near, far, keypoints.reshape(-1, 10)])
    return np.column_stack([geometry * stride, score, score]).astype(np.float32)


def _turn_back(rows: Rows, turns: int, width: int, height: int) -> Rows:
    """Rows found after `np.rot90(image, turns)`, in pixels of the `width`×`height` image."""
    points = rows[:, :_SCORE].reshape(-1, 7, 2)
    for _ in range(turns):
        points = np.stack([np.float32(0) - points[..., 1], points[..., 0]], -1)
    shift = {1: (width, 0), 2: (width, height), 3: (0, height)}[turns]
    points = points + np.array(shift, np.float32)
    corners = np.concatenate([points[:, :2].min(1), points[:, :2].max(1)], 1)
    return np.column_stack([corners, points[:, 2:].reshape(-1, 10), rows[:, _SCORE:]])


def _suppress(rows: Rows, overlap: float) -> Rows:
    """Non-maximum suppression: of rows that overlap by more, the one with the highest priority stays."""
    rows = rows[np.argsort(-rows[:, _PRIORITY], kind="stable")]
    near, far = rows[:, :2], rows[:, 2:4]
    area = np.prod(far - near, axis=1)
    kept: list[int] = []
    left = np.arange(len(rows))
    while left.size:
        best, rest = left[0], left[1:]
        kept.append(int(best))
        sides = np.minimum(far[best], far[rest]) - np.maximum(near[best], near[rest])
        shared = np.prod(np.clip(sides, 0, None), axis=1)
        left = rest[shared <= overlap * (area[best] + area[rest] - shared)]
    return rows[kept]
