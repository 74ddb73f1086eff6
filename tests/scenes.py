"""Scenes made of portraits, in which who is seen where is known: for what is said of people in videos."""

from collections.abc import Iterator, Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
Portraits = Mapping[str, Picture]

WIDTH, HEIGHT = 640, 360
_WALL = (90, 110, 120)


def empty(count: int) -> Iterator[Picture]:
    """Nobody, for so many frames."""
    for _ in range(count):
        yield np.full((HEIGHT, WIDTH, 3), _WALL, np.uint8)


def panned(portrait: Picture, count: int, start: float = 200, step: float = 4, height: int = 300) -> Iterator[Picture]:
    """A portrait that moves to the right by `step` pixels a frame."""
    for number, picture in enumerate(empty(count)):
        _put(picture, portrait, height, start + step * number)
        yield picture


def zoomed(portrait: Picture, count: int) -> Iterator[Picture]:
    """A portrait that comes nearer, to twice its size."""
    for number, picture in enumerate(empty(count)):
        _put(picture, portrait, round(170 * (1 + number / (count - 1))), 200 - 50 * number / (count - 1))
        yield picture


def crossing(front: Picture, behind: Picture, count: int) -> Iterator[Picture]:
    """Two who change places, one passing before the other."""
    for number, picture in enumerate(empty(count)):
        way = (WIDTH - 180) * number / (count - 1)
        _put(picture, behind, 220, WIDTH - 180 - way)
        _put(picture, front, 220, way)
        yield picture


def faded(first: Picture, second: Picture, count: int) -> Iterator[Picture]:
    """A portrait that turns into another one."""
    pairs = zip(panned(first, count), panned(second, count), strict=True)
    for number, (a, b) in enumerate(pairs):
        share = number / (count - 1)
        yield np.asarray(cv2.addWeighted(a, 1 - share, b, share, 0), np.uint8)


def _put(picture: Picture, portrait: Picture, height: int, left: float) -> None:
    """Paste a portrait of that height on the floor, cut where it leaves the picture."""
    width = round(portrait.shape[1] * height / portrait.shape[0])
    small = cv2.resize(portrait, (width, height), interpolation=cv2.INTER_AREA)
    x, y = round(left), picture.shape[0] - height
    start, stop = max(x, 0), min(x + width, picture.shape[1])
    if start < stop:
        picture[max(y, 0) :, start:stop] = small[max(-y, 0) :, start - x : stop - x]
