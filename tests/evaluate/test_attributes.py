"""Answers about faces beside annotations."""

import numpy as np
import pytest

from regard.evaluate import attributes
from regard.evaluate.attributes import Read, ages, calibration, probability
from regard.vision.attributes import Answer


def test_an_answer_and_its_opposite_are_one_probability() -> None:
    assert probability(Answer(True, 90.0)) == pytest.approx(0.9)
    assert probability(Answer(False, 90.0)) == pytest.approx(0.1)
    assert probability(Answer("Male", 70.0), "Female") == pytest.approx(0.3)
    with pytest.raises(ValueError, match="not asked for"):
        probability(None)


def test_age_ranges_beside_bins() -> None:
    found = ages([(20, 30), (25, 45), (0, 2), (60, 80)], ["20-29", "20-29", "10-19", "more than 70"])
    assert found.inside == pytest.approx([1, 0.5, 0, 0.5])
    assert found.width.tolist() == [10, 20, 2, 20]
    assert found.error.tolist() == [0, 10, 14, 10]


def test_rare_attributes_are_not_ranked() -> None:
    read = Read(np.linspace(0, 1, 30), np.arange(30) >= 28)
    assert all(figure.value is None for figure in read.ranked("rare"))
    area, recall = Read(np.linspace(0, 1, 30), np.arange(30) >= 15).ranked("common")
    assert area.value == 1
    assert recall.value == 100


def test_agreement_and_calibration_of_a_probability() -> None:
    accuracy, ece = Read(np.full(100, 0.8), np.arange(100) < 60).agreed("smile")
    assert accuracy.value == 60
    assert ece.value == pytest.approx(20)
    assert ece.low is not None
    assert ece.high is not None
    assert 5 < ece.low < 20 < ece.high < 35


def test_answers_of_one_face_are_drawn_together() -> None:
    """A face's answers err together, so ten answers each are no more certain than one."""
    right = np.arange(100) < 60
    once = calibration("ece", "ECE", np.full(100, 0.9), right)
    tenfold = calibration("ece", "ECE", np.full((100, 10), 0.9), np.repeat(right[:, None], 10, 1))
    assert (tenfold.low, tenfold.high) == pytest.approx((once.low, once.high))


def test_too_few_faces_have_no_mean() -> None:
    assert attributes.mean("age", "Age", np.ones(9), "years").value is None
    assert attributes.mean("age", "Age", np.ones(10), "years").value == 1
