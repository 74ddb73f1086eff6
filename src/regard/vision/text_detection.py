"""Find text: oriented rectangles around pieces of lines, whatever the script.

The network is of the family of Liao, Wan, Yao, Chen and Bai, "Real-time Scene Text Detection with Differentiable
Binarization", AAAI 2020: it answers for each pixel the probability that it lies in the shrunk core of a text.
Each core gets the smallest rectangle around it, and the rectangle is grown back to the text by the paper's rule.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from regard.vision.planes import LEVELS, planes
from regard.vision.session import CPU, Session

# Pixels that the network sees, whatever the picture's shape: with more it finds smaller letters and takes longer.
PIXELS = 1280 * 720
# A core is where the probability is above `_CORE`, and counts where its mean is above `_TEXT`.
_CORE = 0.2
_TEXT = 0.4
# By how much a core grows to its text, in units of its area / perimeter (Liao et al., section 3.4).
_GROWTH = 1.2
_SMALLEST = 3.0  # pixels of a core's short side; fewer are noise
_MOST_CORES = 3000
# A rectangle that is at least this many times as long as high is read along its longer side; one that is not,
# along the side that is nearer to the horizontal.
_LONG = 1.5
_STRIDE = 32
_MEAN = np.array([0.485, 0.456, 0.406], np.float32) * 255
_DEVIATION = np.array([0.229, 0.224, 0.225], np.float32) * 255
_LEVELS = (LEVELS - _MEAN[:, None]) / _DEVIATION[:, None]

Corners = NDArray[np.float32]
"""[4, 2] in pixels: a rectangle at any angle, its corners at the start and the end of the upper edge of the text,
then at the end and the start of the lower edge."""


@dataclass(frozen=True, slots=True)
class Strip:
    """A piece of a line of text, read within ±90° of the horizontal.

    `core` is what the network marks, the letters without their rim. `score` 0–1 is the mean probability of its
    pixels; it is not calibrated.
    """

    core: Corners
    score: float

    @property
    def corners(self) -> Corners:
        """Around the letters; may reach a little beyond the picture."""
        return self.grown(_GROWTH, _GROWTH)

    def grown(self, along: float, across: float) -> Corners:
        """The core, grown in reading direction and across it by multiples of its area / perimeter."""
        return grow(self.core, along * self._unit, across * self._unit)

    @property
    def _unit(self) -> float:
        width, height = sides(self.core)
        return width * height / (2 * (width + height))


def sides(corners: Corners) -> tuple[float, float]:
    """Width, in reading direction, and height of a rectangle."""
    return float(np.linalg.norm(corners[1] - corners[0])), float(np.linalg.norm(corners[3] - corners[0]))


def degrees(corners: Corners) -> float:
    """How far the reading direction is turned clockwise from the horizontal."""
    x, y = (corners[1] - corners[0]).tolist()
    return float(np.degrees(np.arctan2(y, x)))


def grow(corners: Corners, along: float, across: float) -> Corners:
    """A rectangle that reaches so many pixels further at each end, and above and below."""
    width, height = sides(corners)
    right = (corners[1] - corners[0]) / width * along
    down = (corners[3] - corners[0]) / height * across
    return np.asarray(corners + np.array([-right - down, right - down, right + down, down - right]), np.float32)


class TextDetector:
    """The detector. Any number of threads may use it at once."""

    def __init__(self, network: Path, *, threads: int, device: str = CPU, cache: Path | None = None) -> None:
        self._session = Session(network, threads=threads, device=device, shapes={0: (1, 3, -1, -1)}, cache=cache)

    def find(self, image: NDArray[np.uint8], pixels: int = PIXELS) -> list[Strip]:
        """The pieces of text in `image`, uint8 RGB [h, w, 3], in no particular order, seen at so many `pixels`."""
        probability = self._probability(image, pixels)
        scale = np.array(image.shape[1::-1], np.float32) / np.array(probability.shape[::-1], np.float32)
        return [Strip(oriented(np.asarray(core * scale, np.float32)), score) for core, score in _cores(probability)]

    def _probability(self, image: NDArray[np.uint8], pixels: int) -> NDArray[np.float32]:
        """The probability of each pixel of the resized picture, float32 [h', w'], multiples of 32."""
        scale = float(np.sqrt(pixels / (image.shape[0] * image.shape[1])))
        height, width = (max(_STRIDE, round(side * scale / _STRIDE) * _STRIDE) for side in image.shape[:2])
        by = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        seen = np.asarray(cv2.resize(image, (width, height), interpolation=by), np.uint8)
        (answer,) = self._session.run(planes(seen, _LEVELS, bgr=True))
        return np.asarray(answer[0, 0], np.float32)


def _cores(probability: NDArray[np.float32]) -> Iterator[tuple[NDArray[np.float32], float]]:
    """The smallest rectangle around each core, in pixels of `probability`, and its score."""
    contours, _ = cv2.findContours((probability > _CORE).astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
    for contour in map(np.asarray, contours[:_MOST_CORES]):
        centre, (width, height), angle = cv2.minAreaRect(contour)
        if min(width, height) >= _SMALLEST and (score := _mean_inside(probability, contour)) >= _TEXT:
            yield np.asarray(cv2.boxPoints((centre, (width, height), angle)), np.float32), score


def _mean_inside(probability: NDArray[np.float32], contour: NDArray[Any]) -> float:
    left, top, width, height = cv2.boundingRect(contour)
    mask = np.zeros((height, width), np.uint8)
    cv2.drawContours(mask, [contour], -1, 1, cv2.FILLED, offset=(-left, -top))
    return float(cv2.mean(probability[top : top + height, left : left + width], mask)[0])


def oriented(box: NDArray[np.float32]) -> Corners:
    """The corners of a rectangle, given in turn, in the order of `Corners`."""
    # Sides scaled by different factors are no longer at right angles.
    box = np.asarray(cv2.boxPoints(cv2.minAreaRect(box)), np.float32)
    edges = box[[1, 2]] - box[[0, 1]]
    lengths = np.linalg.norm(edges, axis=1)
    long = lengths.max() > _LONG * lengths.min()
    first = int(np.argmax(lengths if long else np.abs(edges[:, 0]) / lengths))
    x, y = edges[first]
    forwards = x > 0 or (x == 0 and y > 0)
    return np.asarray(np.roll(box, -first if forwards else -first - 2, axis=0), np.float32)
