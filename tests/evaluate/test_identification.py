"""Open-set search: who is missed, and who is taken for somebody."""

import numpy as np
import pytest

from regard.evaluate.identification import Search, expected_fpir

# Two members and a filling face; three probes with a mate, four without.
SEARCH = Search(
    mated=np.array([[9.0, 1, 2], [3, 5, 5], [8, 1, 1]]),
    mates=np.array([0, 1, 0]),
    others=np.array([[1.0, 2, 9], [4, 1, 1], [2, 2, 2], [1, 1, 1]]),
)


def test_a_mate_must_be_above_everybody_else() -> None:
    assert SEARCH.first().tolist() == [True, False, True]
    assert SEARCH.of(2).first().tolist() == [True, True, True]
    assert SEARCH.own.tolist() == [9, 5, 8]


@pytest.mark.parametrize("fpir", [0.0, 0.25, 0.5, 0.74])
def test_the_threshold_lets_no_more_strangers_through_than_allowed(fpir: float) -> None:
    best = SEARCH.others.max(1)
    threshold = SEARCH.threshold(fpir)
    assert (best >= threshold).mean() <= fpir
    lower = best[best < threshold].max()
    assert (best >= lower).mean() > fpir


def test_a_larger_gallery_holds_more_strangers() -> None:
    assert expected_fpir(1e-4, 1) == pytest.approx(1e-4)
    assert expected_fpir(2e-6, 25_000) == pytest.approx(0.0488, abs=1e-4)
    assert expected_fpir(0.0, 1000) == 0
