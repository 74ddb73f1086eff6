"""Quality follows what it names, and the bars of QualityFilter reject what they name."""

from dataclasses import replace
from itertools import pairwise

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from regard.vision.faces import Face, FaceEngine
from regard.vision.geometry import Box
from regard.vision.pose import Pose
from regard.vision.quality import BARS, Quality, quality, rejections

Picture = NDArray[np.uint8]


@pytest.fixture(scope="module")
def face(engine: FaceEngine, obama: Picture) -> Face:
    return engine.describe(obama, engine.detect(obama), frozenset())[0]


def test_darkening_lowers_brightness_alone(face: Face, obama: Picture) -> None:
    levels = [quality((obama * share).astype(np.uint8), face.keypoints) for share in (1, 0.7, 0.4, 0.15)]
    brightness = [level.brightness for level in levels]
    assert brightness == sorted(brightness, reverse=True)
    assert brightness[0] > 60
    assert brightness[-1] < 20
    assert max(level.sharpness for level in levels) - min(level.sharpness for level in levels[:3]) < 10


def test_blurring_lowers_sharpness_alone(face: Face, obama: Picture) -> None:
    pixel = face.detection.box.width / 80
    levels = [face.quality] + [
        quality(np.asarray(cv2.GaussianBlur(obama, (0, 0), sigma * pixel), np.uint8), face.keypoints)
        for sigma in (1, 2, 4)
    ]
    sharpness = [level.sharpness for level in levels]
    assert sharpness == sorted(sharpness, reverse=True)
    assert sharpness[0] > 60
    assert sharpness[-1] < 15
    assert max(abs(level.brightness - face.quality.brightness) for level in levels) < 5


def test_the_size_of_the_picture_hardly_matters(face: Face, obama: Picture) -> None:
    half = np.asarray(cv2.resize(obama, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), np.uint8)
    halved = quality(half, (face.keypoints + 0.5) / 2 - 0.5)
    assert halved.brightness == pytest.approx(face.quality.brightness, abs=3)
    assert halved.sharpness == pytest.approx(face.quality.sharpness, abs=10)


def test_a_flat_picture_has_no_sharpness(face: Face, obama: Picture) -> None:
    assert quality(np.full_like(obama, 128), face.keypoints).sharpness == 0


def test_a_good_portrait_passes_every_level(face: Face, obama: Picture) -> None:
    size = (obama.shape[1], obama.shape[0])
    assert [rejections(face, size, level) for level in ("NONE", *BARS)] == [()] * 5


@pytest.mark.parametrize("level", BARS)
def test_each_flaw_is_named(face: Face, obama: Picture, level: str) -> None:
    size = (obama.shape[1], obama.shape[0])
    box = face.detection.box
    flawed = {
        "EXTREME_POSE": replace(face, pose=Pose(0, 85, 0)),
        "LOW_BRIGHTNESS": replace(face, quality=Quality(5, 90)),
        "LOW_SHARPNESS": replace(face, quality=Quality(70, 3)),
        "LOW_CONFIDENCE": replace(face, detection=replace(face.detection, confidence=45.0)),
        "SMALL_BOUNDING_BOX": replace(face, detection=replace(face.detection, box=Box(box.left, box.top, 11, 14))),
        "LOW_FACE_QUALITY": replace(
            face, detection=replace(face.detection, box=Box(-0.8 * box.width, box.top, box.width, box.height))
        ),
    }
    assert {reason: rejections(worse, size, level) for reason, worse in flawed.items()} == {
        reason: (reason,) for reason in flawed
    }


def test_a_higher_level_never_accepts_what_a_lower_one_rejects() -> None:
    order = [BARS[level] for level in ("LOW", "AUTO", "MEDIUM", "HIGH")]
    for lower, higher in pairwise(order):
        for name in ("confidence", "brightness", "sharpness", "pixels", "presence", "inside"):
            assert getattr(lower, name) <= getattr(higher, name)
        assert lower.yaw >= higher.yaw
        assert lower.pitch >= higher.pitch
