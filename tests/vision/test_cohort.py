"""Scores take off what a face has in common with the cohort, and a cohort holds nobody's template."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from regard.vision import models
from regard.vision.cohort import CLUSTERS, MEMBERS, NEAREST, Cohort, Comparison, build
from regard.vision.models import ModelError

DIMENSION = 32
SHIPPED = models.WEIGHTS / "sface" / "cohort.npz"


def faces(seed: int, count: int, crowd: float = 0.0, dimension: int = DIMENSION) -> NDArray[np.float32]:
    """Unit vectors [count, d]; with `crowd` they lie that close to the first axis."""
    vectors = np.random.default_rng(seed).standard_normal((count, dimension))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[:, 0] += crowd
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


@pytest.fixture(scope="module")
def cohort() -> Cohort:
    """Faces of two kinds, one of which the embedder places close together."""
    return build(np.concatenate([faces(0, 600), faces(1, 600, crowd=1)]), clusters=120)


def test_one_threshold_treats_a_crowded_kind_of_face_like_another(cohort: Cohort) -> None:
    kinds = faces(2, 300), faces(3, 300, crowd=1)
    ratios = []
    for comparison in (Comparison(), Comparison(cohort)):
        scores = [comparison.scores(kind, kind)[np.triu_indices(300, 1)] for kind in kinds]
        threshold = np.quantile(np.concatenate(scores), 0.99)
        rates = [float((kind >= threshold).mean()) for kind in scores]
        ratios.append(max(rates) / max(min(rates), 1e-5))
    assert ratios[0] > 50
    assert ratios[1] < 6


@given(st.integers(0, 10_000), st.floats(0, 2))
@settings(max_examples=40)
def test_a_face_scores_1_with_itself_and_less_with_any_other(cohort: Cohort, seed: int, crowd: float) -> None:
    some = faces(seed, 20, crowd)
    near = np.asarray(some + 0.01 * faces(seed + 1, 20), np.float32)
    near /= np.linalg.norm(near, axis=1, keepdims=True)
    comparison = Comparison(cohort)
    own = comparison.scores(some, some)
    assert np.diag(own) == pytest.approx(np.ones(20), abs=1e-6)
    assert own[~np.eye(20, dtype=bool)].max() < 1
    assert (np.diag(comparison.scores(some, near)) < 1).all()


def test_scores_are_symmetric_and_do_not_depend_on_the_company(cohort: Cohort) -> None:
    a, b, comparison = faces(4, 30), faces(5, 40, crowd=1), Comparison(cohort)
    scores = comparison.scores(a, b)
    assert scores.tolist() == comparison.scores(b, a).T.tolist()
    assert scores[3, 5] == comparison.scores(a[3:4], b[5:6]).item()


def test_the_score_is_what_its_formula_says(cohort: Cohort) -> None:
    a, b = faces(6, 5), faces(7, 6, crowd=0.5)
    m, n = (np.sort(side.astype(np.float64) @ cohort.centres.T, axis=1)[:, -NEAREST:].mean(1) for side in (a, b))
    expected = (a.astype(np.float64) @ b.T - (m[:, None] + n) / 2) / np.sqrt((1 - m)[:, None] * (1 - n))
    assert Comparison(cohort).scores(a, b) == pytest.approx(expected, abs=1e-8)
    assert Comparison().scores(a, b) == pytest.approx(a.astype(np.float64) @ b.T, abs=1e-8)


def test_a_face_that_is_a_centre_has_finite_scores() -> None:
    same = Cohort(np.repeat(faces(8, 1), 9, axis=0), nearest=3)
    scores = Comparison(same).scores(np.concatenate([same.centres, -same.centres]), same.centres)
    assert np.isfinite(scores).all()


def test_a_cohort_is_written_and_read_as_it_is(cohort: Cohort, tmp_path: Path) -> None:
    cohort.save(tmp_path / "cohort.npz")
    read = Cohort.load(tmp_path / "cohort.npz")
    assert read.centres.tolist() == cohort.centres.tolist()
    assert read.name == cohort.name


def test_the_same_faces_give_the_same_cohort(cohort: Cohort) -> None:
    assert build(np.concatenate([faces(0, 600), faces(1, 600, crowd=1)]), clusters=120).name == cohort.name


def test_no_centre_stands_for_fewer_faces_than_it_must() -> None:
    crowd = faces(9, 900, crowd=1)
    loners = faces(10, 3)
    cohort = build(np.concatenate([crowd, loners]), clusters=200)
    assert len(cohort.centres) < 200
    assert (loners @ cohort.centres.T).max() < 0.9  # each would be a centre of its own


def test_too_few_faces_make_no_cohort() -> None:
    with pytest.raises(ValueError, match="cannot be put into"):
        build(faces(11, 50), clusters=51)
    with pytest.raises(ValueError, match="only 0 hold 3"):
        build(faces(11, 50), clusters=50)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no archive", b"\x93NUMPY"])
def test_a_file_that_is_no_cohort_is_named(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "mine.npz"
    file.write_bytes(content)
    with pytest.raises(ModelError, match=r"mine\.npz is no cohort"):
        Cohort.load(file)


def test_a_cohort_without_centres_is_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "mine.npz", nearest=np.array(3))
    with pytest.raises(ModelError, match=r"mine\.npz is no cohort"):
        Cohort.load(tmp_path / "mine.npz")


def test_the_shipped_cohort_is_as_it_was_chosen() -> None:
    shipped = Cohort.load(SHIPPED)
    assert shipped.nearest == NEAREST
    assert shipped.centres.shape[1] == 128
    assert 200 < len(shipped.centres) < CLUSTERS
    assert np.linalg.norm(shipped.centres, axis=1) == pytest.approx(np.ones(len(shipped.centres)), abs=2e-3)
    assert MEMBERS >= 3
