"""Annotated pictures: what is known of a picture is told and drawn, and no more."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console

from regard.drawing import PALETTE, Mark, draw
from regard.look import annotate, caption, look_at
from regard.settings import settings
from regard.vision.attributes import Answer
from regard.vision.detection import Detection
from regard.vision.faces import Face, FaceEngine
from regard.vision.geometry import Box
from regard.vision.pose import Pose
from regard.vision.quality import Quality


def plain(width: int, height: int) -> NDArray[np.uint8]:
    return np.full((height, width, 3), 128, np.uint8)


def test_a_caption_says_what_is_known_and_nothing_more() -> None:
    assert caption(99.94) == ("face 99.9 %",)
    assert caption(87, age_range=(38, 46), gender="Female", emotion="HAPPY", traits=["smile", "eyeglasses"]) == (
        "face 87.0 %",
        "38-46 years, female, happy",
        "smile, eyeglasses",
    )
    assert caption(87, emotion="CALM") == ("face 87.0 %", "calm")


@pytest.fixture
def face() -> Face:
    where = Box(100, 60, 90, 110)
    points = np.array([[125, 100], [165, 100], [145, 120], [130, 145], [160, 145]], np.float32)
    return Face(
        Detection(where, 99.3, points),
        keypoints=points,
        landmarks=np.repeat(points, 6, 0),
        pose=Pose(0.0, 0.0, 0.0),
        quality=Quality(80.0, 90.0),
        presence=0.99,
    )


def test_annotate_draws_what_is_known_and_no_more(face: Face) -> None:
    image = plain(400, 300)
    described = replace(
        face,
        age_range=(38, 46),
        gender=Answer("Female", 97.0),
        smile=Answer(True, 99.0),
        beard=Answer(False, 99.0),
        mustache=Answer(True, 61.0),
        emotions=(("HAPPY", 92.0), ("CALM", 8.0)),
    )
    for seen, lines in (
        (face, ("face 99.3 %",)),
        (described, ("face 99.3 %", "38-46 years, female, happy", "smile")),
        (replace(described, gender=Answer("Male", 69.0)), ("face 99.3 %", "38-46 years, happy", "smile")),
    ):
        mark = Mark(face.detection.box, face.landmarks.astype(float), lines)
        np.testing.assert_array_equal(annotate(image, [seen]), draw(image, [mark]))


def test_faces_next_to_each_other_have_colours_of_their_own(face: Face) -> None:
    other = replace(face, detection=replace(face.detection, box=Box(250, 60, 90, 110)))
    drawn = annotate(plain(400, 300), [face, other])
    frames = drawn[115, [100, 250]].astype(int)
    np.testing.assert_allclose(frames, PALETTE[:2], atol=30)  # thin lines are smoothed


def test_looking_at_photos_needs_no_server_and_survives_a_broken_file(photos: dict[str, Path], tmp_path: Path) -> None:
    engine = FaceEngine.load(settings())
    told = io.StringIO()
    console = Console(file=told, width=200)
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no picture")
    assert look_at(engine, photos["astronaut"], tmp_path, console)
    assert not look_at(engine, broken, tmp_path, console)
    assert not look_at(engine, tmp_path / "absent.jpg", tmp_path, console)
    with Image.open(tmp_path / "astronaut-faces.png") as drawn, Image.open(photos["astronaut"]) as photo:
        assert drawn.size == photo.size
        assert np.asarray(drawn).tolist() != np.asarray(photo).tolist()
    for sight in ("years", "happy", "smile", "neither JPEG nor PNG", "No such file"):
        assert sight in told.getvalue()
