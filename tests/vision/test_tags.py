"""What a whole picture is called, and the feature that operators train their own classifiers on."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from regard.settings import settings
from regard.vision.tags import FEATURE, LEAST_SCORE, Tagger, classes, middle, softmax

Image = NDArray[np.uint8]


@pytest.fixture(scope="session")
def tagger(cache: Path) -> Tagger:
    """The shipped network."""
    return Tagger.load(settings().model_copy(update={"cache": cache}))


@pytest.mark.parametrize(
    ("photo", "names"),
    [("cat", {"Egyptian cat", "tabby", "tiger cat"}), ("coffee", {"espresso", "cup"}), ("obama", {"suit"})],
)
def test_the_first_tag_says_what_the_photo_shows(
    tagger: Tagger, pictures: dict[str, Image], photo: str, names: set[str]
) -> None:
    assert tagger.read(pictures[photo]).tags[0].class_name in names


def test_tags_are_best_first_and_worth_naming(tagger: Tagger, pictures: dict[str, Image]) -> None:
    reading = tagger.read(pictures["hopper"])
    scores = [tag.score for tag in reading.tags]
    assert scores == sorted(scores, reverse=True)
    assert all(score >= LEAST_SCORE for score in scores)
    assert sum(scores) <= 1 + 1e-9
    assert all(classes()[tag.index][1] == tag.class_name for tag in reading.tags)
    assert reading.feature.shape == (FEATURE,)
    assert reading.feature.dtype == np.float32


def test_features_are_those_of_reading_and_tell_pictures_apart(tagger: Tagger, pictures: dict[str, Image]) -> None:
    names = ["obama", "obama3", "cat"]
    features = tagger.features([pictures[name] for name in names])
    assert features.shape == (3, FEATURE)
    assert np.array_equal(features[2], tagger.read(pictures["cat"]).feature)
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    assert unit[0] @ unit[1] > unit[0] @ unit[2]


def test_no_pictures_have_no_features(tagger: Tagger) -> None:
    assert tagger.features([]).shape == (0, FEATURE)


@pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (5000, 1), (3, 2), (260, 260)])
@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_picture_of_nothing_is_not_named_with_certainty(tagger: Tagger, shape: tuple[int, int], level: int) -> None:
    reading = tagger.read(np.full((*shape, 3), level, np.uint8))
    assert np.isfinite(reading.feature).all()
    assert all(tag.score < 0.9 for tag in reading.tags)


def test_a_grey_picture_can_be_read(tagger: Tagger, pictures: dict[str, Image]) -> None:
    grey = np.repeat(cv2.cvtColor(pictures["cat"], cv2.COLOR_RGB2GRAY)[:, :, None], 3, axis=2)
    assert "cat" in tagger.read(np.asarray(grey, np.uint8)).tags[0].class_name


def test_every_class_has_a_name_of_its_own() -> None:
    synsets, names = zip(*classes(), strict=True)
    assert len(names) == len(set(names)) == len(set(synsets)) == 1000
    assert list(synsets) == sorted(synsets)  # ImageNet's order, which the network's outputs have
    assert classes()[281] == ("n02123045", "tabby")


def test_photos_of_imagenet_are_named_right(tagger: Tagger, evaluation_data: Path) -> None:
    files = sorted((evaluation_data / "imagenet").glob("*.jpg"))[::8]
    right = 0
    for file in files:
        image = np.ascontiguousarray(np.asarray(cv2.imread(str(file)), np.uint8)[:, :, ::-1])
        right += classes()[tagger.read(image).tags[0].index][0] == file.name.split("_")[0]
    assert right >= 0.85 * len(files)


@pytest.mark.parametrize(
    ("shape", "side"), [((100, 200), 89), ((200, 100), 89), ((1, 1), 1), ((1, 9), 1), ((292, 292), 260)]
)
def test_the_middle_is_a_square_inside_the_picture(shape: tuple[int, int], side: int) -> None:
    assert middle(np.zeros((*shape, 3), np.uint8)).shape == (side, side, 3)


def test_probabilities_sum_to_one() -> None:
    assert softmax(np.array([[1000.0, 0.0], [0.0, 0.0]], np.float32)).tolist() == [[1.0, 0.0], [0.5, 0.5]]
