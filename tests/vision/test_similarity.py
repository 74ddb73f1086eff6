"""Similarity keeps ranking and says what the knots say."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from regard.vision import models
from regard.vision.cohort import Cohort
from regard.vision.faces import SFACE
from regard.vision.models import ModelError
from regard.vision.similarity import MEANING, Similarity, at_rate, load_calibration

FILE = models.WEIGHTS / "sface" / "calibration.json"
COHORT = Cohort.load(models.WEIGHTS / "sface" / "cohort.npz")
SHIPPED = load_calibration(FILE, SFACE, COHORT.name)


def test_ranking_is_kept_in_the_float32_that_clients_receive() -> None:
    scores = np.linspace(-1, 1, 200_001)
    assert (np.diff(SHIPPED.similarity(scores).astype(np.float32)) > 0).all()


def test_identical_faces_are_100_and_opposite_ones_0() -> None:
    assert SHIPPED.similarity([-3.0, -1.0, 1.0, 1.0000001]).tolist() == [0.0, 0.0, 100.0, 100.0]


@given(st.floats(0, 100))
def test_a_threshold_given_as_similarity_finds_the_same_faces_as_its_score(value: float) -> None:
    assert float(SHIPPED.similarity(SHIPPED.score_at(value))) == pytest.approx(value, abs=1e-9)


def test_no_score_is_too_low_for_a_threshold_of_0() -> None:
    assert SHIPPED.score_at(0) == -np.inf


def test_a_calibration_for_another_embedder_or_cohort_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"calibrates the embedder sface-\d"):
        load_calibration(FILE, "other-1.0", COHORT.name)
    with pytest.raises(ModelError, match="calibrate anew"):
        load_calibration(FILE, SFACE, None)
    for content in ("", "[]", '{"knots": [[0.1, 50]]}', '{"embedder": "sface-1.0", "cohort": null, "knots": []}'):
        (tmp_path / "mine.json").write_text(content)
        with pytest.raises(ModelError, match=r"mine\.json is no calibration"):
            load_calibration(tmp_path / "mine.json", SFACE, None)


def test_similarity_stands_for_false_match_rates() -> None:
    rates = [1.0, 1e-2, 1e-4, 1e-5, 1e-6]
    assert at_rate(rates).tolist() == pytest.approx([similarity for similarity, _ in MEANING])
    assert float(at_rate(1e-3)) == pytest.approx(65)


@pytest.mark.parametrize(
    "knots", [[], [(0.2, 50), (0.1, 80)], [(0.1, 80), (0.2, 50)], [(0.1, 50), (0.2, 50)], [(0.1, 0)], [(0.5, 100)]]
)
def test_knots_that_would_lose_the_ranking_are_refused(knots: list[tuple[float, float]]) -> None:
    with pytest.raises(ValueError, match="increase strictly"):
        Similarity(knots)
