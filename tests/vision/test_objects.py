"""A thing that is missed cannot be searched for; a box in the wrong place shows the wrong thing."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from regard.evaluate import objects as evaluation
from regard.media import images
from regard.settings import settings
from regard.vision.fusion import Found, fuse, overlap, suppress
from regard.vision.geometry import Box
from regard.vision.objects import COCO_CLASSES, LEAST_SCORE, Instance, ObjectEngine, platt

Image = NDArray[np.uint8]


@pytest.fixture(scope="session")
def objects(cache: Path) -> ObjectEngine:
    """The shipped networks."""
    return ObjectEngine.load(settings().model_copy(update={"cache": cache}))


def found(boxes: list[tuple[float, float, float, float]], scores: list[float], classes: list[int]) -> Found:
    return Found(np.array(boxes, np.float64).reshape(-1, 4), np.array(scores), np.array(classes, np.int64))


def iou(first: Box, second: Box) -> float:
    corners = [np.array([b.left, b.top, b.left + b.width, b.top + b.height]) for b in (first, second)]
    return float(overlap(corners[0], corners[1][None])[0])


def best(instances: list[Instance], name: str) -> Instance:
    return next(instance for instance in instances if instance.class_name == name)


@pytest.mark.parametrize(
    ("photo", "name", "box"),
    [
        ("cat", "cat", Box(20, 5, 410, 295)),
        ("coffee", "cup", Box(160, 45, 245, 240)),
        ("astronaut", "person", Box(15, 15, 430, 497)),
        ("hopper", "person", Box(10, 25, 500, 575)),
        ("obama", "tie", Box(380, 461, 116, 415)),
    ],
)
def test_what_a_photo_shows_is_found_where_it_is(
    objects: ObjectEngine, pictures: dict[str, Image], photo: str, name: str, box: Box
) -> None:
    instance = best(objects.detect(pictures[photo]), name)
    assert instance.score > 0.5
    assert iou(instance.box, box) > 0.7


def test_a_portrait_of_one_has_one_certain_person(objects: ObjectEngine, pictures: dict[str, Image]) -> None:
    for name in ("obama", "biden", "hopper"):
        people = [one for one in objects.detect(pictures[name]) if one.class_name == "person" and one.score > 0.5]
        assert len(people) == 1


@pytest.mark.parametrize("tiles", [False, True])
def test_instances_are_best_first_inside_the_picture_and_worth_naming(
    objects: ObjectEngine, pictures: dict[str, Image], tiles: bool
) -> None:
    height, width = pictures["coffee"].shape[:2]
    instances = objects.detect(pictures["coffee"], tiles=tiles)
    scores = [instance.score for instance in instances]
    assert scores == sorted(scores, reverse=True)
    assert all(LEAST_SCORE <= score <= 1 for score in scores)
    for instance in instances:
        box = instance.box
        assert instance.class_name in COCO_CLASSES
        assert box.left >= 0
        assert box.top >= 0
        assert box.left + box.width <= width + 1e-6
        assert box.top + box.height <= height + 1e-6
        assert box.area > 0


def test_a_mirrored_picture_has_the_same_things_mirrored(objects: ObjectEngine, pictures: dict[str, Image]) -> None:
    cat = pictures["cat"]
    plain = objects.detect(cat)[0]
    mirrored = objects.detect(np.ascontiguousarray(cat[:, ::-1]))[0]
    assert mirrored.class_name == plain.class_name == "cat"
    back = Box(cat.shape[1] - mirrored.box.left - mirrored.box.width, *_rest(mirrored.box))
    assert iou(back, plain.box) > 0.95
    assert mirrored.score == pytest.approx(plain.score, abs=0.02)


def _rest(box: Box) -> tuple[float, float, float]:
    return box.top, box.width, box.height


def test_tiles_find_a_small_thing_that_the_whole_picture_hides(
    objects: ObjectEngine, pictures: dict[str, Image]
) -> None:
    """A cat of 240 pixels in a corner of a grey picture of 1920×1080."""
    image = np.full((1080, 1920, 3), 120, np.uint8)
    image[40:200, 60:300] = cv2.resize(pictures["cat"], (240, 160), interpolation=cv2.INTER_AREA)
    cats = [one for one in objects.detect(image, tiles=True) if one.class_name == "cat"]
    whole = [one.score for one in objects.detect(image) if one.class_name == "cat"]
    assert cats[0].score > max(whole, default=0.0)
    assert iou(cats[0].box, Box(60, 40, 240, 160)) > 0.5


@pytest.mark.parametrize("tiles", [False, True])
@pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (5000, 1), (3, 2), (320, 320), (301, 7)])
@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_picture_of_nothing_has_nothing(
    objects: ObjectEngine, shape: tuple[int, int], level: int, tiles: bool
) -> None:
    assert all(one.score < 0.5 for one in objects.detect(np.full((*shape, 3), level, np.uint8), tiles=tiles))


def test_a_grey_picture_shows_what_the_coloured_one_shows(objects: ObjectEngine, pictures: dict[str, Image]) -> None:
    grey = np.repeat(cv2.cvtColor(pictures["cat"], cv2.COLOR_RGB2GRAY)[:, :, None], 3, axis=2)
    assert best(objects.detect(np.asarray(grey, np.uint8)), "cat").score > 0.5


def test_many_clients_get_what_one_gets(objects: ObjectEngine, pictures: dict[str, Image]) -> None:
    names = ["cat", "coffee", "hopper"] * 4
    alone = {name: objects.detect(pictures[name]) for name in set(names)}
    with ThreadPoolExecutor(6) as pool:
        together = list(pool.map(lambda name: objects.detect(pictures[name]), names))
    for name, instances in zip(names, together, strict=True):
        assert instances == alone[name]


def test_small_things_in_photos_of_coco_are_found_by_tiles(objects: ObjectEngine, evaluation_data: Path) -> None:
    photos = evaluation.read(evaluation_data / "coco")[:12]
    seen = [images.decode(photo.path.read_bytes(), minimum=1) for photo in photos]
    counts = np.ones(len(photos), np.int64)
    recall = {}
    for tiles in (False, True):
        found = [objects.detect(image, tiles=tiles) for image in seen]
        rankings = [evaluation.rank(found, photos, name, evaluation.AREAS["small"]) for name in COCO_CLASSES]
        recall[tiles] = evaluation.averages(rankings, counts)[2]
    assert recall[True] > recall[False]


def test_suppression_keeps_the_best_of_each_class() -> None:
    boxes = found([(0, 0, 10, 10), (1, 0, 11, 10), (0, 0, 10, 10), (20, 0, 30, 10)], [0.5, 0.9, 0.4, 0.3], [7, 7, 8, 7])
    kept = suppress(boxes, 0.5, 100)
    assert kept.scores.tolist() == [0.9, 0.4, 0.3]
    assert kept.classes.tolist() == [7, 8, 7]
    assert suppress(boxes, 0.5, 1).scores.tolist() == [0.9]


def test_fusion_averages_boxes_by_score_and_counts_who_saw_nothing() -> None:
    first = found([(0, 0, 10, 10), (50, 50, 60, 60)], [0.6, 0.8], [1, 2])
    second = found([(2, 0, 12, 10)], [0.3], [1])
    fused = fuse([first, second], 0.55)
    assert fused.scores.tolist() == pytest.approx([0.45, 0.4])
    assert fused.classes.tolist() == [1, 2]
    assert fused.boxes[0].tolist() == pytest.approx([2 / 3, 0, 10 + 2 / 3, 10])


def test_fusion_keeps_classes_and_distant_boxes_apart() -> None:
    fused = fuse(
        [found([(0, 0, 10, 10)], [0.5], [1]), found([(0, 0, 10, 10), (6, 0, 16, 10)], [0.5, 0.5], [2, 1])], 0.55
    )
    assert len(fused) == 3


def test_fusion_of_nothing_is_nothing() -> None:
    nothing = found([], [], [])
    assert len(fuse([nothing, nothing], 0.55)) == 0
    assert len(suppress(nothing, 0.5, 100)) == 0


def test_calibration_keeps_the_order_and_stays_between_0_and_1() -> None:
    scores = platt(np.linspace(0, 1, 50), (2.0, 1.5))
    assert (np.diff(scores) >= 0).all()
    assert scores[0] >= 0
    assert scores[-1] <= 1
    assert platt(np.array([0.5]), (2.0, 0.0)) == pytest.approx(0.5)
