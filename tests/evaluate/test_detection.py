"""Annotated boxes and detections."""

from dataclasses import replace
from pathlib import Path

import pytest

from regard.evaluate.detection import MASKS, annotations, central, same
from regard.evaluate.portraits import Portrait, look
from regard.evaluate.result import Progress
from regard.evaluate.verification import crossed
from regard.vision.engines import Engines
from regard.vision.geometry import Box

VOC = """<annotation><object><name>{name}</name><bndbox>
<xmin>{0}</xmin><ymin>{1}</ymin><xmax>{2}</xmax><ymax>{3}</ymax></bndbox></object></annotation>"""


@pytest.fixture(scope="module")
def seen(engines: Engines, people_folder: Path, progress: Progress) -> dict[str, Portrait]:
    paths = crossed(people_folder).paths
    return dict(zip((path.name for path in paths), look(engines, paths, progress, "demo"), strict=True))


def test_boxes_of_one_face() -> None:
    assert same(Box(0, 0, 10, 10), Box(1, 1, 10, 10))
    assert same(Box(0, 0, 30, 30), Box(10, 10, 10, 10))  # each middle is in the other
    assert not same(Box(0, 0, 10, 10), Box(9, 9, 10, 10))
    assert not same(Box(0, 0, 10, 10), Box(20, 0, 10, 10))


def test_the_annotated_face_is_found_and_another_is_not(seen: dict[str, Portrait], tmp_path: Path) -> None:
    portrait = seen["obama.jpg"]
    assert portrait.main is not None
    box = portrait.main.detection.box
    note = tmp_path / "note.xml"
    corners = (box.left, box.top, box.left + box.width, box.top + box.height)
    note.write_text(VOC.format(*corners, name="with_mask"))
    (face,) = annotations(note, portrait)
    assert face.masked
    assert face.face is portrait.main
    note.write_text(VOC.format(0, 0, 8, 8, name="without_mask"))
    (face,) = annotations(note, portrait)
    assert not face.masked
    assert face.face is None


def test_a_portrait_has_a_face_in_its_middle(seen: dict[str, Portrait]) -> None:
    portrait = seen["obama.jpg"]
    assert central(portrait, 99)
    assert not central(portrait, 100.1)
    assert not central(replace(portrait, size=(10 * portrait.size[0], portrait.size[1])))
    assert not central(seen["nobody.png"])
    assert not seen["nobody.png"].enrolled


def test_masked_faces_are_found_and_called_occluded(
    engines: Engines, evaluation_data: Path, progress: Progress
) -> None:
    figures = {figure.name: figure for figure in MASKS.run(engines, evaluation_data, progress).figures}
    for name, least in (("found-masked", 80.0), ("found-bare", 80.0), ("occluded-masked", 80.0)):
        value = figures[name].value
        assert value is not None
        assert value >= least
