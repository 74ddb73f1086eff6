"""Pairs, from a list and from a folder, through the networks to figures."""

from pathlib import Path

import numpy as np
import pytest

from regard.evaluate import verification
from regard.evaluate.portraits import look
from regard.evaluate.result import Cell, Figure, Progress, Result
from regard.evaluate.verification import CFP_FRONTAL, crossed, faced, listed, people, questions, verify
from regard.vision.engines import Engines


def by_name(result: Result) -> dict[str, Figure]:
    return {figure.name: figure for figure in result.figures}


@pytest.fixture(scope="module")
def result(engines: Engines, people_folder: Path, progress: Progress) -> Result:
    return people(people_folder).run(engines, Path("/nowhere"), progress)


def test_every_picture_of_a_folder_is_compared_with_every_other(people_folder: Path) -> None:
    pairs = crossed(people_folder)
    assert [path.name for path in pairs.paths] == [
        "biden.jpg",
        "nobody.png",
        "astronaut.png",
        "obama.jpg",
        "obama2.jpg",
    ]
    assert len(pairs.pairs) == 10
    assert [tuple(pair) for pair in pairs.pairs[pairs.same]] == [(0, 1), (3, 4)]


def test_people_are_told_apart_and_failures_are_counted_apart(result: Result) -> None:
    figures = by_name(result)
    assert figures["failure-to-detect"].value == 20
    assert figures["failure-to-detect"].count == 5
    assert figures["eer"].value == 0
    assert figures["genuine-at-80"].value == 100
    assert figures["genuine-at-80"].count == 1
    assert "4 pairs not compared" in result.data


def test_few_pairs_give_no_false_match_rate(result: Result) -> None:
    for name, figure in by_name(result).items():
        if name.startswith(("strangers-", "fnmr-")):
            assert figure.value is None
            assert "5 pairs of strangers are too few" in figure.note
    rates, levels = result.tables
    assert all(row[1:] == (Cell(None), Cell(None)) for row in rates.rows)
    assert [row[3] for row in levels.rows] == [0, 0, 0, 0]


def test_the_same_run_gives_the_same_result(
    result: Result, engines: Engines, people_folder: Path, progress: Progress
) -> None:
    assert people(people_folder).run(engines, Path("/nowhere"), progress) == result


def test_pictures_of_one_person_alone_say_what_is_missing(
    engines: Engines, people_folder: Path, progress: Progress, tmp_path: Path
) -> None:
    (tmp_path / "obama").symlink_to(people_folder / "obama")
    figures = by_name(people(tmp_path).run(engines, tmp_path, progress))
    assert figures["eer"].value is None
    assert "pairs of two" in figures["eer"].note


def test_an_empty_folder_is_no_error(engines: Engines, progress: Progress, tmp_path: Path) -> None:
    result = people(tmp_path).run(engines, tmp_path, progress)
    assert all(figure.value is None for figure in result.figures)


def test_a_listed_pair_without_a_face_is_wrong(engines: Engines, people_folder: Path, progress: Progress) -> None:
    (people_folder / "pairs.csv").write_text(
        "fold,same,a,b\n"
        "0,1,obama/obama.jpg,obama/obama2.jpg\n0,0,obama/obama.jpg,biden/biden.jpg\n"
        "1,1,obama/obama2.jpg,obama/obama.jpg\n1,0,obama/obama2.jpg,collins/astronaut.png\n"
        "1,1,biden/biden.jpg,biden/nobody.png\n"
    )
    figures = by_name(verify(engines, listed(people_folder, "pairs.csv"), progress, "demo"))
    assert figures["accuracy"].value == 80
    assert figures["accuracy"].count == 5
    assert figures["accuracy-at-best"].value == 80


def test_a_list_without_folds_gets_them_by_person(tmp_path: Path) -> None:
    lines = [f"1,{person}/1.jpg,{person}/2.jpg" for person in "abc"] + ["0,a/1.jpg,b/1.jpg"]
    (tmp_path / "pairs.csv").write_text("same,a,b\n" + "\n".join(lines) + "\n")
    pairs = listed(tmp_path, "pairs.csv")
    assert pairs.folds is not None
    assert pairs.folds.tolist() == [0, 1, 2, 0]
    assert pairs.same.tolist() == [True, True, True, False]


def test_two_kinds_of_pictures_face_each_other(tmp_path: Path) -> None:
    for name in ("a/frontal/1", "a/frontal/2", "a/profile/1", "b/frontal/1", "b/profile/1"):
        path = tmp_path / f"{name}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    pairs = faced(tmp_path, "frontal", "profile")
    sides = {(pairs.paths[a].parent.name, pairs.paths[b].parent.name) for a, b in pairs.pairs}
    assert sides == {("frontal", "profile")}
    assert len(pairs.pairs) == 6
    assert pairs.same.sum() == 3


def test_what_is_asked_depends_on_the_number_of_strangers() -> None:
    measured = {question.name for question in questions(1000, 3_000_000) if not question.note}
    assert {"fnmr-at-fmr-1e-6", "strangers-at-99"} < measured
    few = {question.name for question in questions(1000, 29_999) if not question.note}
    assert {"fnmr-at-fmr-1e-3", "strangers-at-50", "genuine-at-99"} < few
    assert not {"fnmr-at-fmr-1e-4", "strangers-at-80"} & few


def test_no_picture_is_looked_at_twice(
    engines: Engines, people_folder: Path, progress: Progress, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = crossed(people_folder).paths
    first = look(engines, paths, progress, "demo")
    monkeypatch.setattr("regard.evaluate.portraits.decode", None)
    again = look(engines, paths[::-1], progress, "demo")
    assert all(one is other for one, other in zip(first, again[::-1], strict=True))


def test_the_curve_ends_where_the_pairs_are_too_few() -> None:
    random = np.random.default_rng(0)
    scores, same = random.normal(size=5000), np.arange(5000) < 1000
    comparisons = verification.Comparisons.of(scores + 2 * same, same, np.zeros((5000, 2), int))
    (plot,) = verification._curve(comparisons.rates(), comparisons)
    (curve,) = plot.series
    fmr = np.array(curve.x, float)
    assert fmr.min() >= 3 / 4000
    assert (np.diff(fmr) > 0).all()
    assert (np.diff(curve.y) <= 0).all()


def test_absent_data_leaves_an_evaluation_out(tmp_path: Path) -> None:
    assert not CFP_FRONTAL.possible(tmp_path)
