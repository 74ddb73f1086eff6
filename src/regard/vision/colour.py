"""Quality and dominant colours of a picture, its foreground, its background and the things in it.

A colour is told as people name it: every pixel counts for the nearest CSS colour in CIELAB, where distance is
close to how different two colours look, and the most frequent names are the dominant colours.
`colours.csv` has CSS Color 4's named colours (one spelling each where two names are the same colour) and the
simplified name of each, after the twelve groups in which the standard's colours are usually listed.
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from regard.vision.geometry import Box
from regard.vision.quality import blur_effect

MAX_DOMINANT_COLOURS = 10
LEAST_PERCENT = 1.0  # of the pixels; less is not dominant

TABLE = Path(__file__).with_name("colours.csv")
# Samples along each side: enough for percents, whatever the size of the picture, and for a thing in it.
_PICTURE_SAMPLES = 160
_THING_SAMPLES = 48
# Quality is judged at the size at which a picture is seen on a page: the long side in pixels.
_QUALITY_SIDE = 640
# Blur effect there of a photo blurred by a Gaussian of 4 pixels, and of the sharpest of COCO.
_BLURRED, _SHARP = 0.85, 0.15


@dataclass(frozen=True, slots=True)
class Colour:
    """A CSS colour (`red`, `green`, `blue` 0–255, `hex` as "#2f4f4f", `css_name`), the `simplified` name of its family
    (one of twelve), and the share of pixels, 0–100, that are nearest to it."""

    red: int
    green: int
    blue: int
    hex: str
    css_name: str
    simplified: str
    percent: float


@dataclass(frozen=True, slots=True)
class Quality:
    """Brightness, sharpness and contrast, 0–100.

    Brightness is the mean CIE lightness L*. Contrast is twice the standard deviation of L*, so that 100 is a
    picture half black and half white. Sharpness falls with `quality.blur_effect` at no more than 640 pixels a
    side: 100 for the sharpest photos, 0 where no detail is left to lose.
    """

    brightness: float
    sharpness: float
    contrast: float


@dataclass(frozen=True, slots=True)
class Region:
    """Quality and dominant colours, most frequent first, of a picture or a part of it."""

    quality: Quality
    colours: tuple[Colour, ...]


@dataclass(frozen=True, slots=True)
class Properties:
    """`foreground` and `background` are None where there is no such pixel."""

    whole: Region
    foreground: Region | None
    background: Region | None


def properties(image: NDArray[np.uint8], boxes: Sequence[Box] = (), limit: int = MAX_DOMINANT_COLOURS) -> Properties:
    """The properties of `image`, uint8 RGB [h, w, 3], whose foreground is what is inside `boxes`.

    At most `limit` colours are given for each part, none that is nearest to fewer than `LEAST_PERCENT` of its
    pixels. A box counts as far as it lies within the picture.
    """
    measured = _nearest(_sampled(image, _PICTURE_SAMPLES)), _lightness(image)
    inside = [_inside(part.shape, image, boxes) for part in measured]
    outside = [~mask for mask in inside]
    everywhere = [mask | ~mask for mask in inside]

    def region(where: list[NDArray[np.bool_]]) -> Region:
        return Region(_quality(measured[1], where[1]), _dominant(measured[0][where[0]], limit))

    return Properties(
        region(everywhere),
        region(inside) if all(mask.any() for mask in inside) else None,
        region(outside) if all(mask.any() for mask in outside) else None,
    )


def colours_in(image: NDArray[np.uint8], box: Box, limit: int = MAX_DOMINANT_COLOURS) -> tuple[Colour, ...]:
    """The dominant colours of what `box` shows of `image`, as `properties` gives them for parts of it."""
    return _dominant(_nearest(_sampled(image[_part(box, image.shape)], _THING_SAMPLES)), limit)


@cache
def _palette() -> tuple[tuple[tuple[str, str, str], ...], NDArray[np.float32]]:
    """Name, hex and simplified name of every colour, and their CIELAB values [n, 3]."""
    with TABLE.open(encoding="utf-8", newline="") as file:
        rows = tuple((row["name"], row["hex"], row["simplified"]) for row in csv.DictReader(file))
    rgb = np.array([list(bytes.fromhex(value[1:])) for _, value, _ in rows], np.uint8)
    return rows, _lab(rgb[None])[0]


def _lab(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.asarray(cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2LAB), np.float32)


def _sampled(image: NDArray[np.uint8], samples: int) -> NDArray[np.uint8]:
    """Pixels of a grid, about `samples` along a longer side.

    Picked rather than averaged, for a mean of two colours may be a third. The steps are odd: an even one
    would see one colour of a pattern that repeats every other pixel.
    """
    steps = [-(-side // samples) | 1 for side in image.shape[:2]]
    return image[steps[0] // 2 :: steps[0], steps[1] // 2 :: steps[1]]


def _nearest(image: NDArray[np.uint8]) -> NDArray[np.intp]:
    """The row of the nearest colour [h, w] for each pixel of `image` [h, w, 3]."""
    _, palette = _palette()
    lab = _lab(np.ascontiguousarray(image))
    return np.asarray((np.sum(palette**2, 1) - 2 * lab @ palette.T).argmin(-1))


def _dominant(nearest: NDArray[np.intp], limit: int) -> tuple[Colour, ...]:
    rows, _ = _palette()
    percents = 100 * np.bincount(nearest.ravel(), minlength=len(rows)) / nearest.size
    order = np.argsort(-percents, kind="stable")[:limit]
    return tuple(_colour(rows[i], float(percents[i])) for i in order.tolist() if percents[i] >= LEAST_PERCENT)


def _colour(row: tuple[str, str, str], percent: float) -> Colour:
    name, value, simplified = row
    red, green, blue = bytes.fromhex(value[1:])
    return Colour(red, green, blue, value, name, simplified, percent)


def _lightness(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """L* [h, w] of the picture at the size that quality is judged at."""
    height, width = image.shape[:2]
    shrink = min(1.0, _QUALITY_SIDE / max(height, width))
    if shrink < 1:
        size = max(1, round(width * shrink)), max(1, round(height * shrink))
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    return _lab(image)[:, :, 0]


def _quality(lightness: NDArray[np.float32], where: NDArray[np.bool_]) -> Quality:
    seen = lightness[where].astype(np.float64)
    sharpness = (_BLURRED - blur_effect(lightness, where)) / (_BLURRED - _SHARP)
    brightness, sharpness, contrast = np.clip([seen.mean(), 100 * sharpness, 2 * seen.std()], 0, 100).tolist()
    return Quality(brightness, sharpness, contrast)


def _inside(shape: tuple[int, ...], image: NDArray[Any], boxes: Sequence[Box]) -> NDArray[np.bool_]:
    """Which pixels of a smaller copy of `image`, `shape` [h, w], lie in a box."""
    mask = np.zeros(shape, bool)
    down, across = shape[0] / image.shape[0], shape[1] / image.shape[1]
    for box in boxes:
        scaled = Box(box.left * across, box.top * down, box.width * across, box.height * down)
        mask[_part(scaled, shape)] = True
    return mask


def _part(box: Box, shape: tuple[int, ...]) -> tuple[slice, slice]:
    """Rows and columns of a box in a picture of `shape` [h, w, …]: those it covers by half, one at least."""
    spans = ((box.top, box.height, shape[0]), (box.left, box.width, shape[1]))
    rows, columns = (_span(*span) for span in spans)
    return rows, columns


def _span(start: float, length: float, side: int) -> slice:
    first = min(max(round(start), 0), side - 1)
    return slice(first, min(max(round(start + length), first + 1), side))
