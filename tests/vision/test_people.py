"""Following people in scenes that are made of portraits, by the networks that run on videos."""

from collections.abc import Iterable
from itertools import chain

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.scenes import Portraits, crossing, empty, faded, panned, zoomed

from regard.settings import settings
from regard.vision.engines import Engines
from regard.vision.equipment import EquipmentEngine
from regard.vision.geometry import Box
from regard.vision.people import colours, people
from regard.vision.tracking import Sighting, Tracker, joined

INTERVAL_MS = 250


@pytest.fixture(scope="module")
def equipment(cache: object) -> EquipmentEngine:
    return Engines(settings().model_copy(update={"cache": cache})).equipment


def follow(equipment: EquipmentEngine, scene: Iterable[NDArray[np.uint8]]) -> list[dict[int, Box]]:
    """Who is seen where in each frame."""
    faces = equipment.faces

    def alike(probes: NDArray[np.float32], references: NDArray[np.float32]) -> NDArray[np.float64]:
        return faces.similarity.similarity(faces.compare(probes, references))

    tracker = Tracker(alike)
    frames = []
    for number, picture in enumerate(scene):
        seen = [Sighting(p.box, p.confidence, p.colours, p.embedding, p.quality) for p in people(equipment, picture)]
        frames.append(list(zip(tracker.update(number * INTERVAL_MS, seen), [s.box for s in seen], strict=True)))
    persons = joined(tracker.tracks, alike)
    return [
        {person: box for track, box in frame if track is not None and (person := persons[track]) is not None}
        for frame in frames
    ]


def test_each_portrait_in_a_row_of_cuts_is_who_it_is(equipment: EquipmentEngine, portraits: Portraits) -> None:
    """All in the same place. Two photos of one man, years apart, are joined; nobody is taken for another."""
    names = ("obama", "biden", "obama2", "astronaut", "hopper")
    found = follow(equipment, chain(*(panned(portraits[name], 3) for name in names)))
    assert [list(frame) for frame in found] == [[0]] * 3 + [[1]] * 3 + [[0]] * 3 + [[2]] * 3 + [[3]] * 3


@pytest.mark.parametrize(("front", "behind"), [("obama", "biden"), ("astronaut", "hopper")])
def test_two_who_cross_keep_their_numbers(
    equipment: EquipmentEngine, portraits: Portraits, front: str, behind: str
) -> None:
    found = follow(equipment, crossing(portraits[front], portraits[behind], 20))
    lefts = {person: [frame[person].left for frame in found if person in frame] for person in (0, 1)}
    assert {person for frame in found for person in frame} == {0, 1}
    assert (np.diff(lefts[0]) > 0).all()  # who is in front is seen always, and goes to the right
    assert len(lefts[0]) == 20
    # Who is behind is covered for a while, and what is seen of him at its edge shifts back and forth.
    assert len(lefts[1]) >= 12
    assert lefts[1][0] > 400
    assert lefts[1][-1] < 50


def test_who_leaves_and_comes_back_is_the_same_by_the_face(equipment: EquipmentEngine, portraits: Portraits) -> None:
    leaving, coming = panned(portraits["obama"], 8, 350, 60), panned(portraits["obama"], 8, -150, 40)
    found = follow(equipment, chain(leaving, empty(10), coming))
    assert {person for frame in found for person in frame} == {0}
    assert 0 in found[0]
    assert 0 in found[-1]
    assert found[8:18] == [{}] * 10


def test_a_zoom_changes_nobody_and_a_fade_ends_as_somebody_else(
    equipment: EquipmentEngine, portraits: Portraits
) -> None:
    assert [list(frame) for frame in follow(equipment, zoomed(portraits["astronaut"], 8))] == [[0]] * 8
    fade = faded(portraits["obama"], portraits["biden"], 8)
    found = follow(equipment, chain(panned(portraits["obama"], 3), fade, panned(portraits["biden"], 3)))
    assert list(found[0]) == [0]
    assert list(found[-1]) == [1]
    assert {person for frame in found for person in frame} == {0, 1}


def test_a_face_too_small_to_recognise_is_seen_and_not_embedded(
    equipment: EquipmentEngine, portraits: Portraits
) -> None:
    (near,) = people(equipment, next(panned(portraits["obama"], 1)))
    (far,) = people(equipment, next(panned(portraits["obama"], 1, height=60)))
    assert near.face is not None
    assert far.face is not None
    assert near.embedding is not None
    assert far.embedding is None
    assert near.quality > far.quality


def test_nobody_is_nowhere(equipment: EquipmentEngine) -> None:
    assert people(equipment, next(empty(1))) == []


def test_colours_are_of_the_upper_middle_and_any_box_has_some() -> None:
    picture = np.zeros((200, 200, 3), np.uint8)
    picture[50:150, 80:120] = (200, 30, 30)
    red = colours(picture, Box(60, 50, 80, 100))
    assert red.shape == (216,)
    assert red @ red == pytest.approx(1)
    assert red @ colours(picture, Box(62, 52, 76, 98)) == pytest.approx(1)
    assert red @ colours(picture, Box(0, 0, 40, 60)) == 0
    for box in (Box(-50, -50, 20, 20), Box(190, 190, 300, 300), Box(10, 10, 0.1, 0.1)):
        assert np.linalg.norm(colours(picture, box)) == pytest.approx(1)
