"""Annotated pictures: what is known of a picture is told and drawn, and no more."""

import io
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console

from regard.drawing import PALETTE, Mark, draw
from regard.look import SIGHTS, caption, face_marks, look_at
from regard.settings import Capability, settings
from regard.vision.attributes import Answer
from regard.vision.detection import Detection
from regard.vision.engines import NETWORKS, Engines
from regard.vision.faces import Face
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


def test_a_face_is_drawn_with_what_is_known_and_no_more(face: Face) -> None:
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
        np.testing.assert_array_equal(draw(image, face_marks([seen])), draw(image, [mark]))


def test_faces_next_to_each_other_have_colours_of_their_own(face: Face) -> None:
    other = replace(face, detection=replace(face.detection, box=Box(250, 60, 90, 110)))
    drawn = draw(plain(400, 300), face_marks([face, other]))
    frames = drawn[115, [100, 250]].astype(int)
    np.testing.assert_allclose(frames, PALETTE[:2], atol=30)  # thin lines are smoothed


@pytest.fixture(scope="module")
def engines() -> Engines:
    return Engines(settings())


def test_looking_at_photos_needs_no_server_and_survives_a_broken_file(
    engines: Engines, photos: dict[str, Path], tmp_path: Path
) -> None:
    told = io.StringIO()
    console = Console(file=told, width=200)
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no picture")
    assert look_at(engines, photos["astronaut"], ["faces"], tmp_path, console)
    assert not look_at(engines, broken, ["faces"], tmp_path, console)
    assert not look_at(engines, tmp_path / "absent.jpg", ["faces"], tmp_path, console)
    with Image.open(tmp_path / "astronaut-faces.png") as drawn, Image.open(photos["astronaut"]) as photo:
        assert drawn.size == photo.size
        assert np.asarray(drawn).tolist() != np.asarray(photo).tolist()
    for sight in ("years", "happy", "smile", "neither JPEG nor PNG", "No such file"):
        assert sight in told.getvalue()


@pytest.mark.parametrize(
    ("photo", "name", "sights", "drawn"),
    [
        ("coffee", "labels", ["Cup", "Dining Table", "Furniture and Furnishings"], True),
        ("page", "text", ["7 lines of text", "Region-based segmentation"], True),
        ("coffee", "text", ["0 lines of text"], False),
        ("astronaut", "moderation", ["0 moderation labels"], False),
        ("astronaut", "equipment", ["1 people", "face 99", "without"], True),
    ],
)
def test_every_capability_tells_and_draws_what_it_sees(
    engines: Engines,
    photos: dict[str, Path],
    tmp_path: Path,
    photo: str,
    name: Capability,
    sights: list[str],
    drawn: bool,
) -> None:
    told = io.StringIO()
    assert look_at(engines, photos[photo], [name], tmp_path, Console(file=told, width=200))
    for sight in sights:
        assert sight in told.getvalue()
    assert (tmp_path / f"{photo}-{name}.png").exists() == drawn


def test_whatever_can_be_seen_can_be_looked_at() -> None:
    assert list(SIGHTS) == list(get_args(Capability)) == list(NETWORKS)
