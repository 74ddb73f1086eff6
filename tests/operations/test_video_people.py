"""Faces and people in video files, looked at without jobs: the same whatever the chunks, and right on real videos."""

from collections import defaultdict
from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import cv2
import numpy as np
import pytest
from tests.analyses import analyse
from tests.scenes import Picture, crossing, empty, panned
from tests.videos import make_video

from regard.operations.context import Context, Unguarded
from regard.operations.video.analysis import Result
from regard.operations.video.faces import FaceDetection
from regard.operations.video.people import PersonTracking
from regard.settings import settings
from regard.vision.engines import Engines

RATE = 8
PEOPLE = 6  # one after the other in one-by-one-person-detection.mp4, counted by eye


@pytest.fixture(scope="module")
def context(cache: Path) -> Context:
    """Networks and nothing else: neither analysis asks the database."""
    vision = Engines(settings().model_copy(update={"cache": cache}))
    return cast("Context", SimpleNamespace(services=SimpleNamespace(vision=vision), guard=Unguarded()))


@pytest.fixture(scope="module")
def portraits(photos: dict[str, Path]) -> dict[str, Picture]:
    names = ("obama", "biden", "hopper")
    return {name: np.asarray(cv2.imread(str(photos[name])), np.uint8)[:, :, ::-1].copy() for name in names}


@pytest.fixture(scope="module")
def scene(portraits: dict[str, Picture], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Obama walks out after two seconds, an empty second, Obama and Biden cross: seven seconds, 8 frames each."""
    frames = chain(
        panned(portraits["obama"], 16, 200, 30), empty(8), crossing(portraits["obama"], portraits["biden"], 32)
    )
    return make_video(tmp_path_factory.mktemp("scene") / "scene.mp4", frames, rate=RATE, gop=4)


def paths(results: Iterable[Result]) -> dict[int, list[dict[str, Any]]]:
    """The PersonDetails of each person by Index."""
    found = defaultdict(list)
    for result in results:
        person = result.body["Person"]
        assert result.key == person["Index"]
        assert result.body["Timestamp"] == result.time_ms
        found[person["Index"]].append(person | {"Timestamp": result.time_ms})
    return found


def test_the_same_whatever_the_chunks(context: Context, scene: Path) -> None:
    """Chunks are looked at last to first here, and people walk over their borders."""
    whole = analyse(context, PersonTracking(), scene, {}, cuts=())
    assert analyse(context, PersonTracking(), scene, {}, cuts=(8, 12, 24, 36, 44)) == whole
    found = paths(whole)
    assert set(found) == {0, 1}
    assert found[0][0]["Timestamp"] == 0
    assert found[0][-1]["Timestamp"] == 6750
    assert all(result.time_ms % 250 == 0 for result in whole)


def test_what_is_said_of_a_person(context: Context, scene: Path) -> None:
    first, *_ = analyse(context, PersonTracking(), scene, {})
    person = first.body["Person"]
    box, face = person["BoundingBox"], person["Face"]
    assert set(person) == {"Index", "BoundingBox", "Face"}
    assert set(face) == {"BoundingBox", "Confidence", "Landmarks", "Pose", "Quality"}  # AWS: the default attributes
    assert len(face["Landmarks"]) == 5
    assert box["Left"] <= face["BoundingBox"]["Left"]
    assert box["Top"] <= face["BoundingBox"]["Top"] <= box["Top"] + box["Height"] / 3
    assert face["BoundingBox"]["Width"] < box["Width"] < 1


def test_faces_every_half_second_with_what_was_asked_for(context: Context, scene: Path) -> None:
    results = analyse(context, FaceDetection(), scene, {"FaceAttributes": "ALL"})
    times = {result.time_ms for result in results}
    assert {0, 500, 1000, 3000, 6500} <= times
    assert times <= set(range(0, 7000, 500))
    assert not times & {2000, 2500}  # nobody is there
    (at_first,) = [result.body for result in results if result.time_ms == 0]
    assert at_first["Face"]["Gender"]["Value"] == "Male"
    assert len(at_first["Face"]["Landmarks"]) > 5
    plain = analyse(context, FaceDetection(), scene, {})
    assert [result.time_ms for result in plain] == [result.time_ms for result in results]
    assert set(plain[0].body["Face"]) == {"BoundingBox", "Confidence", "Landmarks", "Pose", "Quality"}


def test_what_the_rules_withhold_is_not_inferred(context: Context, scene: Path) -> None:
    guard = Unguarded()
    guard.withheld = frozenset({"EMOTIONS", "GENDER"})
    guarded = cast("Context", SimpleNamespace(services=context.services, guard=guard))
    results = analyse(guarded, FaceDetection(), scene, {"FaceAttributes": "ALL"})
    assert results
    for result in results:
        assert "AgeRange" in result.body["Face"]
        assert not {"Emotions", "Gender"} & result.body["Face"].keys()


def test_one_face_all_along_is_one_person(context: Context, evaluation_data: Path) -> None:
    """`carphone.mp4`: 176 × 144 pixels, a man who talks and turns."""
    found = paths(analyse(context, PersonTracking(), evaluation_data / "video" / "carphone.mp4", {}))
    assert set(found) == {0}
    assert len(found[0]) == 16
    assert all("Face" in person for person in found[0])


def test_no_people_are_seen_in_leaves_and_deer(context: Context, evaluation_data: Path) -> None:
    assert analyse(context, PersonTracking(), evaluation_data / "video" / "testvideo.mp4", {}) == []


@pytest.mark.timeout(1200)
def test_people_one_by_one(context: Context, evaluation_data: Path) -> None:
    """Six people come, stand at a table with their backs to us, and go: each is one path of one piece, and nobody
    is seen where nobody is, though the pose network sees somebody in the table all the time."""
    video = evaluation_data / "video" / "one-by-one-person-detection.mp4"
    found = paths(analyse(context, PersonTracking(), video, {}))
    assert list(found) == list(range(PEOPLE))
    spans = [(path[0]["Timestamp"], path[-1]["Timestamp"]) for path in found.values()]
    # When they are in the picture, by eye, in frames of 100 ms.
    visible = [(60, 200), (230, 450), (504, 700), (744, 870), (925, 1197), (1235, 1362)]
    for (start, stop), (come, gone), path in zip(spans, visible, found.values(), strict=True):
        assert abs(start - 100 * come) <= 1000
        assert abs(stop - 100 * gone) <= 1000
        assert len(path) >= 0.95 * (stop - start) / 250
        assert all(0.1 < person["BoundingBox"]["Left"] + person["BoundingBox"]["Width"] / 2 < 1 for person in path)
