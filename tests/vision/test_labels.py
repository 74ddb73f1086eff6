"""How the findings of several networks become one list of labels."""

from itertools import product
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from regard.settings import Settings
from regard.vision.engines import Engines
from regard.vision.geometry import Box
from regard.vision.labels import Label, believed, faces, find, merge, small_faces
from regard.vision.objects import Instance
from regard.vision.tags import Tag
from regard.vision.taxonomy import concepts

BOX = Box(10, 20, 30, 40)


def by_name(labels: list[Label]) -> dict[str, Label]:
    return {label.concept.name: label for label in labels}


def tag(name: str, score: float) -> Tag:
    return Tag(name, 0, score)


def test_nothing_found_is_no_label() -> None:
    assert merge([], [], {}) == []


def test_a_thing_and_a_tag_that_mean_the_same_are_one_label() -> None:
    found = by_name(merge([Instance("laptop", 0.8, BOX)], [tag("laptop", 0.6), tag("notebook", 0.3)], {}))
    assert found["Laptop"].confidence == pytest.approx(90)
    assert [instance.box for instance in found["Laptop"].instances] == [BOX]
    assert set(found) == {"Laptop", "Computer", "Electronics"}


def test_a_breed_is_below_the_dog_that_was_found() -> None:
    found = by_name(merge([Instance("dog", 0.9, BOX)], [tag("golden retriever", 0.7)], {}))
    assert found["Dog"].confidence == pytest.approx(90)
    assert len(found["Dog"].instances) == 1
    assert found["Golden Retriever"].confidence == pytest.approx(70)
    assert found["Golden Retriever"].instances == ()
    assert "Dog" in found["Golden Retriever"].concept.parents


def test_tags_exclude_each_other_so_what_is_above_them_gets_their_sum() -> None:
    found = by_name(merge([], [tag("Border terrier", 0.4), tag("Norwich terrier", 0.3), tag("tabby", 0.2)], {}))
    assert found["Terrier"].confidence == pytest.approx(70)
    assert found["Dog"].confidence == pytest.approx(70)
    assert found["Pet"].confidence == pytest.approx(90)
    assert found["Border Terrier"].confidence == pytest.approx(40)


def test_a_label_above_two_ways_counts_a_tag_once() -> None:
    assert by_name(merge([], [tag("golden retriever", 0.6)], {}))["Animal"].confidence == pytest.approx(60)


def test_things_do_not_add_up() -> None:
    found = by_name(merge([Instance("car", 0.4, BOX), Instance("bus", 0.3, BOX), Instance("car", 0.6, BOX)], [], {}))
    assert found["Vehicle"].confidence == pytest.approx(60)
    assert [instance.confidence for instance in found["Car"].instances] == pytest.approx([60, 40])
    assert found["Vehicle"].instances == ()


def test_faces_bring_a_person_and_what_they_wear() -> None:
    found = by_name(merge([], [], {"face:face": 0.95, "face:sunglasses": 0.8, "face:smile": 0.7}))
    assert found["Person"].confidence == found["Head"].confidence == found["Face"].confidence == pytest.approx(95)
    assert found["Sunglasses"].confidence == found["Glasses"].confidence == pytest.approx(80)
    assert found["Smile"].confidence == found["Happy"].confidence == pytest.approx(70)


def test_every_ancestor_is_there_and_no_less_confident() -> None:
    things = [Instance(name, score, BOX) for name, score in (("person", 0.7), ("dog", 0.3), ("pizza", 0.9))]
    tags = [tag(name, 0.19) for name in ("pug", "Siamese cat", "groom", "mask", "pirate")]
    labels = by_name(merge(things, tags, {"face:beard": 0.8}))
    for label, parent in product(labels.values(), concepts()):
        if parent in label.concept.parents:
            assert labels[parent].confidence >= label.confidence
    assert all(i.confidence <= label.confidence for label in labels.values() for i in label.instances)


def test_the_most_confident_comes_first_and_names_break_ties() -> None:
    labels = merge([Instance("dog", 0.5, BOX)], [tag("acorn", 0.9)], {})
    keys = [(-label.confidence, label.concept.name) for label in labels]
    assert keys == sorted(keys)
    assert labels[0].concept.name == "Acorn"


def test_confidence_is_a_percentage_even_where_sums_are_a_little_above_one() -> None:
    assert merge([], [tag("tench", 0.7), tag("eel", 0.3000001)], {})[0].confidence == 100


def test_a_tag_is_doubted_where_the_detector_knows_the_kind_and_does_not_see_it() -> None:
    ski, acorn = tag("ski", 0.9), tag("acorn", 0.05)
    assert [found.score for found in believed([ski, acorn], [])] == pytest.approx([0.54, 0.05])
    assert believed([ski, acorn], [Instance("skis", 0.2, BOX)]) == [ski, acorn]
    breed = tag("pug", 0.8)
    assert believed([breed], [Instance("dog", 0.9, BOX)]) == [breed]
    assert believed([breed], [Instance("cat", 0.9, BOX)])[0].score == pytest.approx(0.48)


def test_a_tag_of_what_the_detector_does_not_know_is_doubted_among_people() -> None:
    bikini, player = tag("bikini", 0.8), tag("ballplayer", 0.7)
    doubted, kept = believed([bikini, player], [Instance("person", 0.9, BOX)])
    assert doubted.score == pytest.approx(0.48)
    assert kept == player
    assert believed([bikini], [Instance("person", 0.4, BOX)]) == [bikini]


@pytest.fixture(scope="module")
def engines() -> Engines:
    return Engines(Settings())


def read(path: Path) -> np.ndarray:
    return np.array(Image.open(path).convert("RGB"))


def seen_in(engines: Engines, image: np.ndarray, thing: Instance) -> dict[str, float]:
    """What faces show if only that thing were seen."""
    return faces(engines.faces, image, small_faces(engines.faces, image), [thing])


def test_a_face_counts_only_in_a_person(engines: Engines, photos: dict[str, Path]) -> None:
    image = read(photos["astronaut"])
    person = Instance("person", 0.9, Box(0, 0, image.shape[1], image.shape[0]))
    seen = seen_in(engines, image, person)
    assert seen["face:face"] > 0.9
    assert set(seen) == {f"face:{name}" for name in ("face", "smile", "eyeglasses", "sunglasses", "beard", "mustache")}
    assert seen_in(engines, image, Instance("person", 0.9, Box(0, 400, 50, 50))) == {}
    assert seen_in(engines, image, Instance("dog", 0.9, person.box)) == {}


def test_faces_of_a_large_picture_are_found_where_they_are(engines: Engines, photos: dict[str, Path]) -> None:
    image = read(photos["astronaut"])
    large = np.asarray(cv2.resize(image, None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC), np.uint8)
    person = Instance("person", 0.9, Box(600, 0, 500, 800))  # head and collar
    assert seen_in(engines, large, person)["face:smile"] > 0.9


def test_a_cat_has_no_face_and_is_no_person(engines: Engines, photos: dict[str, Path]) -> None:
    found = by_name(find(engines, read(photos["cat"])))
    assert found["Cat"].confidence > 80
    assert "Face" not in found
    assert "Person" not in found or found["Person"].confidence < 20


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 300), (2000, 3), (64, 64)])
def test_any_size_of_picture_can_be_looked_at(engines: Engines, height: int, width: int) -> None:
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    assert all(0 < label.confidence <= 100 for label in find(engines, image))


def test_text_is_a_label_where_there_is_text(engines: Engines, photos: dict[str, Path]) -> None:
    assert by_name(find(engines, read(photos["page"])))["Text"].confidence > 80
    for name in ("cat", "coffee"):
        assert "Text" not in {
            label.concept.name for label in find(engines, read(photos[name])) if label.confidence >= 55
        }


def test_tiles_find_what_is_small(engines: Engines, photos: dict[str, Path]) -> None:
    cat = cv2.resize(read(photos["cat"]), None, fx=0.35, fy=0.35, interpolation=cv2.INTER_AREA)
    image = np.full((1080, 1440, 3), 128, np.uint8)
    image[80 : 80 + cat.shape[0], 900 : 900 + cat.shape[1]] = cat
    confidences = []
    for tiles in (False, True):
        tiled = Engines(engines.settings.model_copy(update={"tiles": tiles}))
        found = by_name(find(tiled, image))
        confidences.append(
            max((thing.confidence for thing in found["Cat"].instances), default=0.0) if "Cat" in found else 0.0
        )
    assert confidences[1] > confidences[0] + 10
