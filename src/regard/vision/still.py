"""Whether a frame of a video shows anything new, so that no network looks at the same picture twice.

Slides, interviews and the cameras of empty corridors stand still for most of the time. Frames are compared with the
one that was last looked at, never with the one before, so that slow change adds up and is noticed.
"""

from collections.abc import Callable
from typing import Generic, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

ThingT = TypeVar("ThingT")
Thumbnail = NDArray[np.int16]
"""A small picture [height, width] that stands for a frame."""

# Frames are compared as thumbnails [height, width] of their luminance; a pixel of 1280×720 is the mean of 8×8.
_SIZE = 90, 160
# Of 255 levels. In the frames of three compressed videos in which nothing moved, no pixel changed by more than 7; a
# person far away who enters changes some by 50 and more.
_NOISE = 8
# What is left of a thumbnail to tell another picture from one in which things move, and by how many levels it changes
# on average. People who walk by change it by up to 31, cuts by 33 and more, a camera that is moved fast by 20 to 44.
_COARSE = 9, 16
_ANOTHER = 20
_FAR = 60
# What a camera that moves does not change much is how much of the picture is how light. Half a second apart, in steps
# of 16 levels, at most 0.21 of it changed where a camera travelled over nine photos, and 0.27 and more at 22 cuts.
_SHADES = 16
_OTHER_SHADES = 0.24


def thumbnail(luminance: NDArray[np.uint8], size: tuple[int, int] = _SIZE) -> Thumbnail:
    """That of `luminance`, uint8 [h, w], in some height and width."""
    height, width = size
    return np.asarray(cv2.resize(luminance, (width, height), interpolation=cv2.INTER_AREA), np.int16)


def unchanged(before: Thumbnail, after: Thumbnail) -> bool:
    """Whether two thumbnails of one size differ by no more than compression makes them. Blind to mere colour."""
    return bool(np.abs(before - after).max() <= _NOISE)


def another(before: Thumbnail, after: Thumbnail) -> bool:
    """Whether two thumbnails seem to show another scene, not one in which something or the camera moved."""
    coarse = (cv2.resize(one, _COARSE[::-1], interpolation=cv2.INTER_AREA) for one in (before, after))
    change = float(np.abs(np.subtract(*coarse)).mean())
    if _ANOTHER <= change < _FAR:
        return float(np.abs(_shades(before) - _shades(after)).sum()) / 2 >= _OTHER_SHADES
    return change >= _FAR


def _shades(picture: Thumbnail) -> NDArray[np.float64]:
    """The share of its pixels that are so light, float64 [16]."""
    return np.bincount(picture.ravel() // (256 // _SHADES), minlength=_SHADES) / picture.size


class Still(Generic[ThingT]):
    """What was seen in the last frame that was looked at, for as long as it stays the same."""

    def __init__(self) -> None:
        self._kept: tuple[Thumbnail, ThingT] | None = None

    def see(self, now: Thumbnail, look: Callable[[], ThingT]) -> ThingT:
        """What `look` says of the frame of a thumbnail, or has said of one that shows the same."""
        if self._kept is None or not unchanged(self._kept[0], now):
            self._kept = now, look()
        return self._kept[1]


class Held(Generic[ThingT]):
    """What was seen in a frame, for some time or until the picture is another."""

    def __init__(self, holds_ms: int) -> None:
        self._holds_ms = holds_ms
        self._kept: tuple[int, Thumbnail, ThingT] | None = None

    def see(self, time_ms: int, now: Thumbnail, look: Callable[[], ThingT]) -> ThingT:
        """What `look` says of the frame of a time and a thumbnail, or has said of one shortly before."""
        if self._kept is None or time_ms - self._kept[0] >= self._holds_ms or another(self._kept[1], now):
            self._kept = time_ms, now, look()
        return self._kept[2]
