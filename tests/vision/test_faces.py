"""What a face is said to look like follows the picture: turn it, mirror it, hide a part of it."""

import csv
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import botocore.session
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from regard.vision import landmarks
from regard.vision.attributes import ATTRIBUTES, EMOTIONS
from regard.vision.faces import LANDMARKS, Face, FaceEngine
from regard.vision.geometry import Box
from regard.vision.pose import pose

Picture = NDArray[np.uint8]
EVERYTHING = frozenset(ATTRIBUTES)


def _main(engine: FaceEngine, picture: Picture, wanted: frozenset[str] = frozenset()) -> Face:
    return engine.describe(picture, engine.detect(picture)[:1], wanted)[0]


def _point(face: Face, name: str) -> NDArray[np.float32]:
    return np.asarray(face.landmarks[LANDMARKS.index(name)])


def test_the_landmarks_are_those_of_rekognition() -> None:
    shapes: Any = botocore.session.get_session().get_service_model("rekognition")
    assert list(LANDMARKS) == shapes.shape_for("LandmarkType").enum
    assert set(ATTRIBUTES) == set(shapes.shape_for("Attribute").enum) - {"ALL", "DEFAULT"}
    assert set(EMOTIONS) == set(shapes.shape_for("EmotionName").enum) - {"UNKNOWN"}


def test_landmarks_lie_where_their_names_say(engine: FaceEngine, obama: Picture) -> None:
    face = _main(engine, obama)
    x = {name: float(_point(face, name)[0]) for name in LANDMARKS}
    y = {name: float(_point(face, name)[1]) for name in LANDMARKS}
    across = ["upperJawlineLeft", "leftEyeLeft", "leftPupil", "leftEyeRight", "nose"]
    across += ["rightEyeLeft", "rightPupil", "rightEyeRight", "upperJawlineRight"]
    assert sorted(across, key=x.__getitem__) == across
    assert x["noseLeft"] < x["nose"] < x["noseRight"]
    down = ["leftEyeBrowUp", "leftEyeUp", "leftPupil", "leftEyeDown", "nose", "mouthUp", "mouthDown", "chinBottom"]
    assert sorted(down, key=y.__getitem__) == down
    assert x["mouthLeft"] < x["mouthUp"] < x["mouthRight"]
    assert x["midJawlineLeft"] < x["mouthLeft"]
    assert np.allclose(_point(face, "eyeLeft"), _point(face, "leftPupil"))


def test_faces_of_one_picture_are_seen_as_one_by_one(engine: FaceEngine, portraits: dict[str, Picture]) -> None:
    picture = np.hstack([np.asarray(cv2.resize(one, (360, 480)), np.uint8) for one in portraits.values()])
    found = engine.detect(picture)
    assert len(found) == len(portraits) > 2
    together = engine.describe(picture, found, EVERYTHING)
    alone = [engine.describe(picture, [detection], EVERYTHING)[0] for detection in found]
    assert [repr(face) for face in together] == [repr(face) for face in alone]
    assert np.array_equal(engine.embed(picture, together), [engine.embed(picture, [face])[0] for face in alone])


def test_landmarks_agree_with_the_detector(engine: FaceEngine, portraits: dict[str, Picture]) -> None:
    for picture in portraits.values():
        face = _main(engine, picture)
        apart = np.linalg.norm(face.landmarks[:5] - face.detection.keypoints, axis=1)
        assert apart.max() < 0.15 * face.detection.box.width


@pytest.mark.parametrize("degrees", [-40, -20, 20, 40])
def test_turning_the_picture_changes_roll_alone(engine: FaceEngine, obama: Picture, degrees: float) -> None:
    height, width = obama.shape[:2]
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), -degrees, 1)  # clockwise is positive for Pose
    turned = np.asarray(cv2.warpAffine(obama, turn, (width, height), borderMode=cv2.BORDER_REPLICATE), np.uint8)
    before, after = _main(engine, obama).pose, _main(engine, turned).pose
    assert after.roll - before.roll == pytest.approx(degrees, abs=4)
    assert after.yaw == pytest.approx(before.yaw, abs=6)
    assert after.pitch == pytest.approx(before.pitch, abs=6)


def test_mirroring_swaps_yaw_and_sides(engine: FaceEngine, portraits: dict[str, Picture]) -> None:
    picture = portraits["astronaut"]
    mirrored = np.ascontiguousarray(picture[:, ::-1])
    face, other = _main(engine, picture, EVERYTHING), _main(engine, mirrored, EVERYTHING)
    assert other.pose.yaw == pytest.approx(-face.pose.yaw, abs=4)
    assert other.pose.roll == pytest.approx(-face.pose.roll, abs=4)
    assert other.pose.pitch == pytest.approx(face.pose.pitch, abs=4)
    for name in LANDMARKS:
        x, y = _point(other, _mirrored(name))
        assert np.hypot(*(_point(face, name) - [picture.shape[1] - 1 - x, y])) < 0.06 * face.detection.box.width
    assert face.eye_direction is not None
    assert other.eye_direction is not None
    assert other.eye_direction.yaw == pytest.approx(-face.eye_direction.yaw, abs=8)


def _mirrored(name: str) -> str:
    for a, b in (("left", "right"), ("Left", "Right")):
        name = name.replace(a, "?").replace(b, a).replace("?", b)
    return name


def test_portraits_are_described_as_a_viewer_would(engine: FaceEngine, portraits: dict[str, Picture]) -> None:
    obama = _main(engine, portraits["obama"], EVERYTHING)
    collins = _main(engine, portraits["astronaut"], EVERYTHING)
    assert obama.gender is not None
    assert obama.gender.value == "Male"
    for face in (obama, collins):
        assert face.smile is not None
        assert face.smile.value
        assert face.emotions is not None
        assert face.emotions[0][0] == "HAPPY"
        assert {name for name, _ in face.emotions} == set(EMOTIONS)
        assert face.eyeglasses is not None
        assert not face.eyeglasses.value
        assert face.eyes_open is not None
        assert face.eyes_open.value
        assert face.age_range is not None
        assert 20 <= face.age_range[0] < face.age_range[1] <= 75
        assert face.face_occluded is not None
        assert not face.face_occluded.value
        assert face.eye_direction is not None
        assert max(abs(face.eye_direction.yaw), abs(face.eye_direction.pitch)) < 15


def test_confidence_is_of_the_answer_given(engine: FaceEngine, portraits: dict[str, Picture]) -> None:
    for picture in portraits.values():
        face = _main(engine, picture, EVERYTHING)
        for name in ("smile", "eyeglasses", "beard", "gender", "face_occluded", "eyes_open", "mouth_open"):
            assert 50 <= getattr(face, name).confidence <= 100


def test_only_what_was_wanted_is_said(engine: FaceEngine, obama: Picture) -> None:
    fields = {field for field, _ in ATTRIBUTES.values()}
    plain, smiling = _main(engine, obama), _main(engine, obama, frozenset({"SMILE"}))
    assert {field for field in fields if getattr(plain, field) is not None} == set()
    assert {field for field in fields if getattr(smiling, field) is not None} == {"smile"}
    with pytest.raises(KeyError):
        engine.describe(obama, engine.detect(obama), frozenset({"RACE"}))


def test_masked_faces_are_occluded_and_bare_ones_are_not(engine: FaceEngine, evaluation_data: Path) -> None:
    said: dict[str, list[bool]] = {"with_mask": [], "without_mask": []}
    for note in sorted((evaluation_data / "masks").glob("*.xml"))[:40]:
        content = note.read_text("utf-8")
        kinds = [kind for kind in said if content.count("<name>") == 1 and f"<name>{kind}<" in content]
        if kinds:
            picture = _read(note.with_suffix(".jpg"))
            for face in engine.describe(picture, engine.detect(picture)[:1], frozenset({"FACE_OCCLUDED"})):
                assert face.face_occluded is not None
                said[kinds[0]].append(face.face_occluded.value)
    assert min(map(len, said.values())) >= 8
    assert np.mean(said["with_mask"]) > 0.8
    assert np.mean(said["without_mask"]) < 0.15


def test_keypoints_alone_give_landmarks_and_pose() -> None:
    frontal = np.array([[80, 100], [120, 100], [100, 125], [86, 145], [114, 145]], np.float32)
    to_the_right = frontal + np.array([[8, 0], [0, 0], [14, 0], [8, 0], [2, 0]], np.float32)
    points, turned = landmarks.from_keypoints(to_the_right)
    straight, unturned = landmarks.from_keypoints(frontal)
    assert np.allclose(points[:5], to_the_right)
    assert abs(pose(unturned).yaw) < 3
    assert pose(turned).yaw > 15
    jaw = [LANDMARKS.index(name) for name in ("upperJawlineLeft", "upperJawlineRight")]
    left, right = abs(points[jaw, 0] - points[2, 0])
    assert left > 1.3 * right
    assert np.ptp(straight[:, 0]) < 120


def test_many_threads_get_the_answers_of_one(engine: FaceEngine, portraits: dict[str, Picture]) -> None:
    pictures = list(portraits.values())
    alone = [engine.embed(picture, engine.detect(picture)[:1]) for picture in pictures]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda picture: engine.embed(picture, engine.detect(picture)[:1]), pictures * 3))
    for i, vector in enumerate(together):
        assert vector == pytest.approx(alone[i % len(pictures)], abs=1e-5)


def test_profiles_are_turned_and_frontal_faces_are_not(engine: FaceEngine, evaluation_data: Path) -> None:
    def yaws(kind: str) -> NDArray[np.float64]:
        pictures = map(_read, sorted(evaluation_data.glob(f"cfp/00?/{kind}/0[12].jpg")))
        return np.array([abs(_main(engine, picture).pose.yaw) for picture in pictures])

    assert np.median(yaws("frontal")) < 6
    assert np.median(yaws("profile")) > 40


def test_genuine_pairs_are_more_similar_than_strangers(engine: FaceEngine, evaluation_data: Path) -> None:
    pairs = list(csv.DictReader((evaluation_data / "lfw" / "pairs.csv").read_text("utf-8").splitlines()))
    chosen = pairs[:30] + pairs[-30:]
    vectors = {name: _central(engine, evaluation_data / "lfw" / name) for p in chosen for name in (p["a"], p["b"])}
    scores = np.array([engine.compare(vectors[p["a"]][None], vectors[p["b"]][None]).item() for p in chosen])
    same = np.array([p["same"] == "1" for p in chosen])
    assert {True, False} == set(same.tolist())
    assert np.mean((engine.similarity.similarity(scores) > 50) == same) >= 0.97


def _central(engine: FaceEngine, path: Path) -> NDArray[np.float32]:
    picture = _read(path)
    faces = engine.detect(picture)
    centre = np.array(picture.shape[1::-1]) / 2

    def off(box: Box) -> float:
        return float(np.hypot(box.left + box.width / 2 - centre[0], box.top + box.height / 2 - centre[1]))

    return np.asarray(engine.embed(picture, [min(faces, key=lambda face: off(face.box))])[0])


def _read(path: Path) -> Picture:
    return np.ascontiguousarray(np.asarray(cv2.imread(str(path)), np.uint8)[:, :, ::-1])
