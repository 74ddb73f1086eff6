"""A calibration says what it measured, and refuses to say what it could not."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from regard.evaluate import calibration
from regard.evaluate.calibration import (
    MIN_COHORT,
    RATES,
    CalibrationError,
    Pairs,
    Stranger,
    by_group,
    calibrate,
    crossfitted,
    curves,
    fitted,
    knots,
    listed,
    provenance,
)
from regard.evaluate.result import ItemT
from regard.settings import settings
from regard.vision.cohort import Comparison
from regard.vision.faces import FaceEngine
from regard.vision.similarity import Similarity, at_rate, load_calibration

PEOPLE = 200


def silent(items: Sequence[ItemT], _: str) -> Iterable[ItemT]:
    return items


def pairs(seed: int, mean: float, deviation: float, people: int = PEOPLE) -> Pairs:
    """Independent normal scores of all pairs of so many people."""
    first, second = np.triu_indices(people, 1)
    return Pairs(np.random.default_rng(seed).normal(mean, deviation, len(first)), first, second)


def normal_score(mean: float, deviation: float, rate: float) -> float:
    """The score that a normal distribution exceeds at this rate."""
    return mean + deviation * float(calibration._probit([rate])[0])


@pytest.fixture(scope="module")
def groups() -> dict[str, Pairs]:
    """One group whose strangers are more alike, and one too small to be measured."""
    return {"a": pairs(0, 0.0, 0.1), "b": pairs(1, 0.1, 0.1), "c": pairs(2, 0.5, 0.1, people=20)}


def test_known_rates_are_found_in_the_worst_group(groups: dict[str, Pairs]) -> None:
    similarity = Similarity(knots(curves(groups, replicates=40)))
    for rate, slack in ((1e-2, 0.03), (1e-3, 0.05), (1e-6, 0.15)):
        exact = normal_score(0.1, 0.1, rate)
        found = similarity.score_at(float(at_rate(rate)))
        assert exact - 0.005 < found < exact + slack, rate


def test_the_same_people_give_the_same_knots(groups: dict[str, Pairs]) -> None:
    assert knots(curves(groups, replicates=5)) == knots(curves(groups, replicates=5))


def test_small_groups_are_not_measured_and_said_to_be(groups: dict[str, Pairs]) -> None:
    found = curves(groups, replicates=3)
    facts = provenance(groups, found, knots(found), {})
    assert found.groups == ("a", "b")
    assert facts["not_measured"] == {"c": 190}
    assert facts["people"] == 2 * PEOPLE
    assert facts["groups"]["b"]["fmr_at_similarity"]["50"] == pytest.approx(0.01, rel=0.3)
    assert facts["groups"]["a"]["fmr_at_similarity"]["50"] < 0.003


def test_too_few_people_are_refused_rather_than_given_a_number() -> None:
    with pytest.raises(CalibrationError, match=r"Not measured: .* 1,500 pairs .* 190"):
        curves({"everyone": pairs(0, 0, 0.1, people=20)})


def test_more_people_are_counted_further_down() -> None:
    few, many = curves({"a": pairs(0, 0, 0.1, 60)}, 1), curves({"a": pairs(0, 0, 0.1, 800)}, 1)
    assert few.counted == pytest.approx(1e-2)
    assert many.counted < 1e-4
    assert few.scores.shape == (2, 1, len(RATES))


def test_pairs_of_one_person_are_no_strangers() -> None:
    people = [Stranger(Path(str(n)), f"person {n // 2}", "ab"[n % 2]) for n in range(8)]
    people[0] = Stranger(Path("0"), "person 1", "a")  # the person of the third picture, which is of group a too
    scores = np.arange(64, dtype=np.float64).reshape(8, 8)
    found = by_group(scores, people, range(8))
    assert sorted(found) == ["a", "b"]
    assert found["b"].scores.tolist() == [11, 13, 15, 29, 31, 47]
    assert found["a"].scores.tolist() == [4, 6, 20, 22, 38]


def test_no_pair_is_scored_by_what_was_fitted_on_it() -> None:
    vectors = np.eye(40, dtype=np.float32)[np.repeat(np.arange(40), 2)]  # two pictures of each of 40 people
    people = [str(number // 2) for number in range(80)]
    seen: list[set[int]] = []

    class Marked(Comparison):
        def scores(self, probes: NDArray[np.float32], references: NDArray[np.float32]) -> NDArray[np.float64]:
            assert not seen[-1] & set(probes.argmax(1).tolist() + references.argmax(1).tolist())
            return super().scores(probes, references)

    def fit(rest: NDArray[np.float32]) -> Comparison:
        seen.append(set(rest.argmax(1).tolist()))
        return Marked()

    scores = crossfitted(vectors, people, fit)
    assert scores.tolist() == (vectors @ vectors.T).tolist()
    assert min(len(rest) for rest in seen) >= 25


def test_a_cohort_of_few_people_is_refused() -> None:
    vectors = np.eye(128, dtype=np.float32)[np.arange(2 * MIN_COHORT) % 128]
    with pytest.raises(CalibrationError, match="1,000 people or more; here are 100"):
        fitted(vectors, [str(number % 100) for number in range(2 * MIN_COHORT)])


def test_labels_name_groups_persons_and_who_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("file,age,sex\n1.jpg,30,f\n2.jpg,5,f\n3.jpg,40,m\n4.jpg,41,m\n5.jpg,42,m\n")
    (tmp_path / "same.csv").write_text("a,b\n3.jpg,4.jpg\n5.jpg,4.jpg\n9.jpg,1.jpg\n")
    people = listed(tmp_path, ["sex"], ["age=5"], tmp_path / "same.csv")
    assert [stranger.group for stranger in people] == ["f", "f", "m", "m", "m"]
    assert [stranger.left_out for stranger in people] == [False, True, False, False, False]
    assert len({stranger.person for stranger in people}) == 3
    with pytest.raises(CalibrationError, match="no column race"):
        listed(tmp_path, ["race"])


def test_folders_name_persons(tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match="neither labels"):
        listed(tmp_path)
    for file in ("ann/1.jpg", "ann/2.png", "bob/1.jpeg", "bob/notes.txt"):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).touch()
    assert [stranger.person for stranger in listed(tmp_path)] == ["ann", "ann", "bob"]
    with pytest.raises(CalibrationError, match=r"labels\.csv"):
        listed(tmp_path, ["sex"])


def test_pictures_without_faces_and_of_few_people_are_refused(
    cache: Path, photos: dict[str, Path], tmp_path: Path
) -> None:
    engine = FaceEngine.load(settings().model_copy(update={"cache": cache}))
    grey = tmp_path / "grey.png"
    cv2.imwrite(str(grey), np.full((90, 90, 3), 128, np.uint8))
    with pytest.raises(CalibrationError, match="None of the 1 pictures"):
        calibrate(engine, [Stranger(grey, "nobody")], 1, silent)
    with pytest.raises(CalibrationError, match="Not measured"):
        calibrate(engine, [Stranger(path, name) for name, path in photos.items()], 2, silent)
    with pytest.raises(CalibrationError, match="cannot be read"):
        calibrate(engine, [Stranger(tmp_path / "absent.jpg", "nobody")], 1, silent)


def test_what_is_written_is_read(groups: dict[str, Pairs], tmp_path: Path) -> None:
    found = curves(groups, replicates=3)
    points = knots(found)
    facts = provenance(groups, found, points, {})
    calibration.Calibration("own-1", Comparison(), points, facts).write(tmp_path / "mine.json")
    assert load_calibration(tmp_path / "mine.json", "own-1", None).score_at(80) == pytest.approx(
        json.loads((tmp_path / "mine.json").read_text())["provenance"]["score_at_similarity"]["80"], abs=1e-3
    )
