"""One threshold for all, and the pairs that it is taken from."""

from pathlib import Path

import numpy as np
import pytest

from regard.evaluate import fairface
from regard.evaluate.fairness import threshold

LABELS = "file,age,gender,race\n1095.jpg,20-29,Female,Indian\n3446.jpg,30-39,Female,Indian\n1.jpg,3-9,Male,White\n"


def test_the_threshold_is_the_lowest_that_keeps_the_rate() -> None:
    scores = np.array([[0, 5, 4], [0, 0, 3], [0, 0, 0]], float)
    everything = ~np.eye(3, dtype=bool)
    assert threshold(scores, everything, 1 / 3) == 5
    assert threshold(scores, everything, 0.5) == 5
    assert threshold(scores, everything, 1.0) == 3
    assert threshold(scores, everything, 0.1) == np.inf


def test_ties_are_let_through_together_or_not_at_all() -> None:
    scores = np.array([[0, 5, 5], [0, 0, 3], [0, 0, 0]], float)
    assert threshold(scores, ~np.eye(3, dtype=bool), 1 / 3) == np.inf


@pytest.fixture
def pictures(tmp_path: Path) -> list[fairface.Labelled]:
    (tmp_path / "fairface").mkdir()
    (tmp_path / "fairface" / "labels.csv").write_text(LABELS)
    return fairface.labelled(tmp_path)


def test_pairs_known_to_show_one_person_are_not_strangers(pictures: list[fairface.Labelled]) -> None:
    assert [picture.path.name for picture in pictures] == ["1.jpg", "1095.jpg", "3446.jpg"]
    assert fairface.strangers(pictures).tolist() == [[False, True, True], [True, False, False], [True, False, False]]


def test_groups_are_in_a_readable_order(pictures: list[fairface.Labelled]) -> None:
    orders = {name: order for name, _, _, order in fairface.groupings(pictures)}
    assert orders == {
        "race-gender": ["Indian, female", "White, male"],
        "race": ["Indian", "White"],
        "age": ["3-9", "20-29", "30-39"],
    }
