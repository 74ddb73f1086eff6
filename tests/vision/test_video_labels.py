"""Frames of a video are named like pictures, and looked at no more than they must be."""

from collections import Counter
from typing import Any, cast

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from regard.settings import settings
from regard.vision import labels
from regard.vision.engines import Engines
from regard.vision.video_labels import LabelWatcher

Picture = NDArray[np.uint8]


class Counting:
    """The networks, and how often each of them was asked for."""

    def __init__(self, engines: Engines) -> None:
        self._engines, self.asked = engines, Counter[str]()

    def __getattr__(self, name: str) -> Any:
        self.asked[name] += 1
        return getattr(self._engines, name)


@pytest.fixture(scope="module")
def engines() -> Engines:
    return Engines(settings())


@pytest.fixture
def counting(engines: Engines) -> Counting:
    return Counting(engines)


@pytest.fixture
def watch(counting: Counting) -> Any:
    """`watch(picture, time_ms)` are the names and confidences in a frame."""
    watcher = LabelWatcher(cast(Engines, counting))

    def look(picture: Picture, time_ms: int) -> dict[str, float]:
        luminance = np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), np.uint8)
        return {label.concept.name: label.confidence for label in watcher.look(picture, luminance, time_ms)}

    return look


def moved(picture: Picture, pixels: int) -> Picture:
    return np.roll(picture, pixels, axis=1)


def test_a_frame_is_named_like_a_picture(watch: Any, engines: Engines, pictures: dict[str, Picture]) -> None:
    for number, name in enumerate(("obama", "cat")):
        seen = watch(pictures[name], 500 * number)
        expected = {label.concept.name: label.confidence for label in labels.find(engines, pictures[name])}
        sure = {label for label, confidence in expected.items() if confidence >= 75}
        assert sure
        assert sure <= {label for label, confidence in seen.items() if confidence >= 50}


def test_a_still_frame_is_not_looked_at_again(watch: Any, counting: Counting, pictures: dict[str, Picture]) -> None:
    first = watch(pictures["cat"], 0)
    asked = counting.asked.copy()
    assert watch(np.clip(pictures["cat"] + 1.0, 0, 255).astype(np.uint8), 5000) == first
    assert counting.asked == asked


def test_faces_and_text_hold_for_two_seconds_while_things_are_looked_for(
    watch: Any, counting: Counting, obama: Picture
) -> None:
    asked = []
    for number, time_ms in enumerate((0, 500, 1500, 2000)):
        assert "Face" in watch(moved(obama, 8 * number), time_ms)
        asked.append((counting.asked["objects"], counting.asked["text"], counting.asked["faces"]))
    assert asked == [(1, 1, 1), (2, 1, 1), (3, 1, 1), (4, 2, 2)]


def test_a_face_is_gone_with_the_person(watch: Any, obama: Picture, pictures: dict[str, Picture]) -> None:
    assert "Face" in watch(obama, 0)
    assert "Face" not in watch(pictures["cat"], 500)
