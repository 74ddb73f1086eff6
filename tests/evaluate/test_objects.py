"""A wrong measure praises a wrong network. Expected values are worked out by hand from COCO's rules."""

from pathlib import Path

import numpy as np
import pytest

from regard.evaluate.objects import AREAS, NOTHING, Photo, Truth, averages, match, outcomes, precision, rank
from regard.vision.geometry import Box
from regard.vision.objects import Instance

ONE = np.ones(1, np.int64)
ALL = AREAS["all"]


def truth(*boxes: tuple[float, float, float, float], crowd: bool = False) -> Truth:
    array = np.array(boxes, np.float64)
    return Truth(array, array[:, 2] * array[:, 3], np.full(len(boxes), crowd))


def photo(**things: Truth) -> Photo:
    return Photo(Path("photo.jpg"), things)


def cat(score: float, *box: float) -> Instance:
    return Instance("cat", score, Box(*box))


def test_a_perfect_answer_has_full_marks() -> None:
    ranking = rank([[cat(0.9, 0, 0, 50, 50)]], [photo(cat=truth((0, 0, 50, 50)))], "cat", ALL)
    assert averages([ranking], ONE) == (100, 100, 100)


def test_a_thing_found_twice_is_right_once() -> None:
    right, ignored = match(np.array([[0, 0, 50, 50], [0, 0, 50, 50]], np.float64), truth((0, 0, 50, 50)), ALL)
    assert right[0].tolist() == [True, False]
    assert not ignored.any()


def test_a_loose_box_is_right_at_low_overlaps_only() -> None:
    """40 of 50 pixels: an overlap of 0.8, so right at 0.5 to 0.8, which are seven of ten."""
    ranking = rank([[cat(0.9, 0, 0, 40, 50)]], [photo(cat=truth((0, 0, 50, 50)))], "cat", ALL)
    assert averages([ranking], ONE) == pytest.approx((70, 100, 70))


def test_precision_is_the_best_at_this_recall_or_above() -> None:
    """Wrong, right, right: precision is 2/3 all the way to the end."""
    found = [[cat(0.9, 200, 200, 10, 10), cat(0.8, 0, 0, 50, 50), cat(0.7, 100, 0, 50, 50)]]
    ranking = rank(found, [photo(cat=truth((0, 0, 50, 50), (100, 0, 50, 50)))], "cat", ALL)
    result = precision(ranking, ONE)
    assert result is not None
    assert result[0] == pytest.approx(np.full(10, 2 / 3))


def test_half_of_the_things_give_half_of_the_curve() -> None:
    """Recall ends at 0.5, which 51 of the 101 points reach."""
    ranking = rank([[cat(0.9, 0, 0, 50, 50)]], [photo(cat=truth((0, 0, 50, 50), (100, 0, 50, 50)))], "cat", ALL)
    result = precision(ranking, ONE)
    assert result is not None
    assert result[0] == pytest.approx(np.full(10, 51 / 101))
    assert result[1] == pytest.approx(np.full(10, 0.5))


def test_a_crowd_need_not_be_found_and_forgives_all_inside_it() -> None:
    boxes = np.array([[10, 10, 20, 20], [40, 40, 20, 20], [300, 0, 9, 9]], np.float64)
    right, ignored = match(boxes, truth((0, 0, 100, 100), crowd=True), ALL)
    assert not right.any()
    assert ignored[0].tolist() == [True, True, False]


def test_things_of_another_size_do_not_count() -> None:
    boxes = np.array([[0, 0, 50, 50], [200, 0, 10, 10], [300, 0, 10, 10]], np.float64)
    things = truth((0, 0, 50, 50), (200, 0, 10, 10))
    right, ignored = match(boxes, things, AREAS["small"])
    assert right[0].tolist() == [False, True, False]
    assert ignored[0].tolist() == [True, False, False]


def test_what_is_not_there_counts_against_its_class_alone() -> None:
    photos = [photo(dog=truth((0, 0, 50, 50)))]
    found = [[cat(0.9, 0, 0, 50, 50), Instance("dog", 0.8, Box(0, 0, 50, 50))]]
    cats, dogs = (rank(found, photos, name, ALL) for name in ("cat", "dog"))
    assert precision(cats, ONE) is None
    assert averages([cats, dogs], ONE) == (100, 100, 100)
    scores, right = outcomes([cats, dogs], np.array([0]))
    assert scores.tolist() == [0.9, 0.8]
    assert right.tolist() == [False, True]


def test_a_picture_that_is_drawn_twice_counts_twice() -> None:
    photos = [photo(cat=truth((0, 0, 50, 50))), photo(cat=truth((0, 0, 50, 50)))]
    ranking = rank([[cat(0.9, 0, 0, 50, 50)], []], photos, "cat", ALL)
    assert averages([ranking], np.array([2, 0]))[0] == pytest.approx(100)
    assert averages([ranking], np.array([0, 2]))[0] == 0
    assert len(outcomes([ranking], np.array([0, 0, 1]))[0]) == 2


def test_nothing_found_and_nothing_there() -> None:
    ranking = rank([[]], [Photo(Path("photo.jpg"), {})], "cat", ALL)
    assert precision(ranking, ONE) is None
    assert np.isnan(averages([ranking], ONE)).all()
    right, ignored = match(np.empty((0, 4)), NOTHING, ALL)
    assert right.shape == ignored.shape == (10, 0)
