"""People, their parts and their masks, on photos that may be shown anywhere and on annotated ones."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from regard.media import images
from regard.settings import settings
from regard.vision import body
from regard.vision.detection import Detection
from regard.vision.engines import Engines
from regard.vision.equipment import LEAST, MAX_PERSONS, EquipmentEngine, Found, Person, united, with_faces
from regard.vision.geometry import Box
from regard.vision.masks import aligned_contrast, covers_nose, worn

Picture = NDArray[np.uint8]
WORN = {"mask": 1.0, "occluded": 1.5, "offset": 2.5}


@pytest.fixture(scope="module")
def equipment(cache: Path) -> EquipmentEngine:
    return Engines(settings().model_copy(update={"cache": cache})).equipment


def parts(person: Person) -> dict[str, Box]:
    return {part.name: part.box for part in person.parts}


def middle(box: Box) -> tuple[float, float]:
    return box.left + box.width / 2, box.top + box.height / 2


def test_a_portrait_is_one_person_whose_face_is_bare(equipment: EquipmentEngine, obama: Picture) -> None:
    (person,) = equipment.look(obama)
    found = {part.name: part for part in person.parts}
    assert person.confidence > 95
    assert found["FACE"].cover is not None
    assert found["FACE"].cover.confidence < 10
    assert found["HEAD"].cover is None, "no network knows what is on a head"
    head, face = found["HEAD"].box, found["FACE"].box
    assert head.top < face.top
    assert head.width > face.width


def test_a_painted_mask_is_seen_where_it_is(equipment: EquipmentEngine, obama: Picture) -> None:
    (bare,) = equipment.look(obama)
    face = parts(bare)["FACE"]
    outline = np.array([(0.02, 0.5), (0.5, 0.4), (0.98, 0.5), (0.92, 0.85), (0.7, 1), (0.3, 1), (0.08, 0.85)])
    outline = outline * (face.width, face.height) + (face.left, face.top)
    painted = cv2.fillPoly(obama.copy(), [outline.astype(np.int32)], (170, 205, 235))
    (person,) = equipment.look(painted)
    (cover,) = [part.cover for part in person.parts if part.cover is not None]
    assert cover.name == "FACE_COVER"
    assert cover.confidence > 90
    assert cover.covers.value
    (left, top), (right, bottom) = outline.min(0), outline.max(0)
    assert cover.box.overlap(Box(left, top, right - left, bottom - top)) > 0.5


def test_people_are_in_the_picture_and_the_largest_comes_first(
    equipment: EquipmentEngine, portraits: dict[str, Picture]
) -> None:
    large, small = portraits["obama"], portraits["biden"][::3, ::3]
    canvas = np.full((max(large.shape[0], small.shape[0]), large.shape[1] + small.shape[1] + 100, 3), 255, np.uint8)
    canvas[: large.shape[0], : large.shape[1]] = large
    canvas[: small.shape[0], large.shape[1] + 100 :] = small
    people = equipment.look(canvas)
    assert len(people) == 2
    assert people[0].box.area > people[1].box.area
    for person in people:
        assert person.box.left >= 0
        assert person.box.top >= 0
        assert person.box.left + person.box.width <= canvas.shape[1]
        assert person.box.top + person.box.height <= canvas.shape[0]


@pytest.mark.parametrize("shape", [(64, 64), (1, 64), (64, 1), (1, 1), (20, 2000), (2000, 20)])
def test_pictures_of_nothing_and_of_odd_sizes_have_no_people(
    equipment: EquipmentEngine, shape: tuple[int, int]
) -> None:
    assert equipment.look(np.full((*shape, 3), 127, np.uint8)) == []


def test_hands_are_the_persons_own(equipment: EquipmentEngine, evaluation_data: Path) -> None:
    picture = images.decode((evaluation_data / "samples" / "groups" / "014_5.jpg").read_bytes())
    flipped = np.ascontiguousarray(picture[:, ::-1])
    sides = {"LEFT_HAND": "RIGHT_HAND", "RIGHT_HAND": "LEFT_HAND"}
    agree, differ = 0, 0
    others = [(part.name, *middle(part.box)) for person in equipment.look(flipped) for part in person.parts]
    for person in equipment.look(picture):
        for part in person.parts:
            if part.name in sides:
                x, y = middle(part.box)
                near = [
                    name
                    for name, other_x, other_y in others
                    if name in sides and np.hypot(picture.shape[1] - other_x - x, other_y - y) < 0.03 * picture.shape[1]
                ]
                agree += sides[part.name] in near
                differ += part.name in near and sides[part.name] not in near
    assert agree > differ, "a mirrored person's left hand is the right one"
    assert agree >= 2


def test_a_crowd_is_answered_for_fifteen(equipment: EquipmentEngine, obama: Picture) -> None:
    small = obama[::4, ::4]
    crowd = np.tile(small, (4, 6, 1))
    people = equipment.look(np.ascontiguousarray(crowd))
    assert len(people) == MAX_PERSONS


def test_masks_on_annotated_photos(equipment: EquipmentEngine, evaluation_data: Path) -> None:
    """Every fifth photo; the evaluation has all."""
    right, wrong = 0, 0
    for file in sorted((evaluation_data / "masks").glob("maksssksksss*.jpg"))[::5]:
        text = file.with_suffix(".xml").read_text()
        if text.count("<object>") != 1:
            continue
        people = equipment.look(images.decode(file.read_bytes(), 1))
        covers = [part.cover for person in people for part in person.parts if part.cover is not None]
        if covers:
            says = (covers[0].confidence >= LEAST) == ("with_mask" in text)
            right, wrong = right + says, wrong + (not says)
    assert right >= 8
    assert wrong <= 1


def joints(x: float, y: float) -> NDArray[np.float32]:
    """A pose whose head is at a point."""
    found = np.zeros((len(body.JOINTS), 3), np.float32)
    found[:5] = x, y, 0.9
    return found


def test_two_finders_of_one_person_make_one() -> None:
    box, pose = Box(0, 0, 100, 200), body.Body(Box(5, 5, 95, 200), 0.4, joints(50, 20))
    part = body.Body(Box(10, 10, 50, 60), 0.2, joints(50, 20))
    other = body.Body(Box(300, 0, 100, 200), 0.4, joints(350, 20))
    found = united([Found(box, 70.0)], [(pose, 90.0), (part, 60.0), (other, 80.0)])
    assert [(one.box, one.confidence, one.body) for one in found] == [
        (box, 90.0, pose),
        (other.box, 80.0, other),
    ]


def test_faces_go_to_the_nearest_head_and_none_to_two() -> None:
    left, right = (body.Body(Box(x, 0, 100, 300), 0.5, joints(x + 50, 40)) for x in (0, 80))
    faces = [Detection(Box(x, 20, 40, 40), 99.0, np.zeros((5, 2), np.float32)) for x in (112, 32, 500)]
    people = [Found(pose.box, 90.0, pose) for pose in (left, right)]
    found = with_faces(people, faces, (640, 480))
    assert [one.face for one in found] == [faces[1], faces[0], faces[2]]
    assert found[2].body is None, "a face that nobody has is a person"


def test_a_doubtful_person_does_not_take_the_face_of_a_sure_one() -> None:
    face = Detection(Box(40, 20, 40, 40), 99.0, np.zeros((5, 2), np.float32))
    doubtful = Found(Box(300, 0, 50, 50), 30.0, body.Body(Box(300, 0, 50, 50), 0.1, joints(60, 40)))
    found = with_faces([doubtful, Found(Box(0, 0, 120, 300), 95.0)], [face], (640, 480))
    assert [one.face for one in found] == [None, face]


def test_evidence_of_a_mask_adds_up() -> None:
    both = worn({"mask": 0.9, "occluded": 0.6}, WORN)
    assert both > worn({"mask": 0.9, "occluded": 0.01}, WORN)
    assert both > worn({"mask": 0.1, "occluded": 0.6}, WORN)
    assert 0 < worn({"mask": 0.0, "occluded": 0.0}, WORN) < worn({"mask": 1.0, "occluded": 1.0}, WORN) < 1


def test_a_covered_nose_has_the_colour_of_the_mask() -> None:
    face = np.full((112, 112, 3), (200, 150, 120), np.uint8)
    below, above = face.copy(), face.copy()
    below[78:] = above[58:] = (60, 90, 200)
    assert aligned_contrast(above) > 0 > aligned_contrast(below)
    calibration = {"contrast": 0.3, "offset": 1.0}
    assert covers_nose(aligned_contrast(above), calibration) > 0.9
    assert covers_nose(aligned_contrast(below), calibration) < 0.1
