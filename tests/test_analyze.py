"""`regard analyze`: what is written and drawn of a video, without a server."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import av
import boto3
import numpy as np
import pytest
from botocore.stub import Stubber
from numpy.typing import NDArray
from PIL import Image
from tests.videos import make_video, numbers, scene

from regard import film
from regard.analyze import names
from regard.media.video import Video, inspect

WIDTH, HEIGHT, RATE, FRAMES = 640, 360, 10, 35
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory, photos: dict[str, Path]) -> Path:
    """A cat for two seconds, then a page of text for one and a half."""

    def shown(name: str) -> NDArray[np.uint8]:
        with Image.open(photos[name]) as opened:
            return np.array(opened.convert("RGB").resize((WIDTH, HEIGHT)))

    shots = [(shown("cat"), 20), (shown("page"), FRAMES - 20)]
    return make_video(tmp_path_factory.mktemp("video") / "scene.mp4", scene(shots), rate=RATE)


@pytest.fixture(scope="module")
def analyze(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """`analyze(video, …)` is the command, finished; no data folder exists."""
    home = tmp_path_factory.mktemp("nothing") / "home"

    def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "regard", "analyze", *words],
            env=os.environ | {"REGARD_HOME": str(home), "COLUMNS": "200", "NO_COLOR": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert not home.exists()
        return done

    return run


@pytest.fixture(scope="module")
def out(analyze: Run, video: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the results of labels, text and moderation are."""
    folder = tmp_path_factory.mktemp("results") / "out"
    chosen = [word for name in ("labels", "text", "moderation") for word in ("--only", name)]
    done = analyze(video, "-o", folder, "--video", *chosen)
    assert done.returncode == 0, done.stderr
    assert f"{FRAMES}/{FRAMES}" in done.stdout
    assert "frames/s" in done.stdout
    for file in folder.iterdir():
        assert str(file) in done.stdout
    return folder


@pytest.fixture
def results(out: Path) -> Callable[[str, str], Any]:
    """`results(name, operation)` is what a file says, provided that AWS's model allows it as that answer."""
    client = boto3.client("rekognition", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")

    def read(name: str, operation: str) -> Any:
        document = json.loads((out / f"scene-{name}.json").read_text("utf-8"))
        Stubber(client).add_response(operation, document)
        return document

    return read


def test_results_are_written_as_the_get_operations_give_them(results: Any) -> None:
    labels = results("labels", "get_label_detection")
    assert labels["JobStatus"] == "SUCCEEDED"
    metadata = labels["VideoMetadata"]
    assert (metadata["FrameWidth"], metadata["FrameHeight"], metadata["DurationMillis"]) == (WIDTH, HEIGHT, 3500)
    cats = [one["Timestamp"] for one in labels["Labels"] if one["Label"]["Name"] == "Cat"]
    assert cats == [0, 500, 1000, 1500]
    times = [one["Timestamp"] for one in labels["Labels"]]
    assert times == sorted(times)
    assert labels["LabelModelVersion"]
    text = results("text", "get_text_detection")
    assert {one["Timestamp"] for one in text["TextDetections"]} == {2000, 2500, 3000}
    assert results("moderation", "get_content_moderation")["ModerationLabels"] == []


def test_the_contact_sheet_shows_a_frame_for_each_half_second(out: Path) -> None:
    with Image.open(out / "scene.png") as sheet:
        assert sheet.width == film.COLUMNS * film.TILE_WIDTH
        assert sheet.height > 2 * film.TILE_WIDTH * HEIGHT / WIDTH


def test_the_annotated_video_is_the_video_with_boxes_and_words(out: Path, video: Path) -> None:
    annotated, plain = inspect(out / "scene-annotated.mp4"), inspect(video)
    assert annotated.codec == "h264"
    assert annotated.times_ms.tolist() == plain.times_ms.tolist()
    assert annotated.width == WIDTH
    assert annotated.height > HEIGHT
    (before, after) = (first_frame(path) for path in (video, out / "scene-annotated.mp4"))
    changed = np.abs(before.astype(int) - after[:HEIGHT]).max(2) > 80
    assert 0.002 < changed.mean() < 0.2


def first_frame(path: Path) -> NDArray[np.uint8]:
    with av.open(path) as file:
        return next(file.decode(file.streams.video[0])).to_ndarray(format="rgb24")


def test_what_cannot_be_read_is_told_in_a_sentence(analyze: Run, tmp_path: Path) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"\0\0\0\x18ftypmp42" + bytes(100))
    done = analyze(broken, "-o", tmp_path / "out")
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {broken}: ")
    assert "Traceback" not in done.stderr
    assert list((tmp_path / "out").iterdir()) == []


def test_what_is_not_known_is_refused_with_what_is(analyze: Run, video: Path) -> None:
    done = analyze(video, "--only", "cats")
    assert done.returncode == 2
    assert "labels" in done.stderr


def test_the_analyses_that_need_no_collection_are_offered() -> None:
    assert {"labels", "text", "moderation"} <= set(names())


@pytest.fixture
def thousands(tmp_path: Path) -> Video:
    return inspect(make_video(tmp_path / "many.mp4", numbers(200), rate=RATE))


def test_key_frames_are_the_middles_of_shots_that_were_looked_at(thousands: Video) -> None:
    def shot(start: int, end: int) -> dict[str, Any]:
        return {"Type": "SHOT", "StartTimestampMillis": start, "EndTimestampMillis": end}

    shots = [shot(0, 4000), shot(4100, 10000), shot(10100, 20000)]
    assert film.key_frames(thousands, shots) == [20, 70, 150]
    many = film.key_frames(thousands, [shot(start, start + 100) for start in range(0, 20000, 100)])
    assert len(many) == film.MOST_TILES
    assert many == sorted(many)
    assert len(film.key_frames(thousands, [])) == film.MOST_TILES // 2


def held(times: list[int], interval_ms: int | None) -> Iterator[list[Any]]:
    timeline = film.Timeline([(time_ms, {"at": time_ms}) for time_ms in times], interval_ms)
    return ([body["at"] for body in timeline.at(time_ms)] for time_ms in range(0, 2000, 250))


def test_results_hold_until_the_next_frame_that_was_looked_at() -> None:
    assert list(held([0, 0, 500, 1500], 500)) == [[0, 0], [0, 0], [500], [500], [], [], [1500], [1500]]
    assert list(held([0, 250, 750], None)) == [[0], [250], [], [750], [], [], [], []]


def test_people_are_drawn_with_the_path_that_they_came() -> None:
    def person(time_ms: int, left: float) -> tuple[int, dict[str, Any]]:
        box = {"Left": left, "Top": 0.2, "Width": 0.1, "Height": 0.5}
        return time_ms, {"Timestamp": time_ms, "Person": {"Index": 7, "BoundingBox": box}}

    timeline = film.Timeline([person(0, 0.1), person(500, 0.2), person(1000, 0.3)], 500)
    now = timeline.at(1000)
    ((mark,), words) = film.MARKERS["PersonTracking"](now, timeline.past, (1000, 100))
    assert (mark.box.left, mark.lines, words) == (300, ("person 7",), "")
    assert mark.points.tolist() == [[pytest.approx(x), pytest.approx(70)] for x in (150, 250, 350)]


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (
            "FaceDetection",
            {"Face": {"BoundingBox": {"Left": 0, "Top": 0, "Width": 1, "Height": 1}, "Confidence": 99.0}},
        ),
        ("ContentModeration", {"ModerationLabel": {"Name": "Weapons", "ParentName": "Violence", "Confidence": 80.0}}),
    ],
)
def test_every_kind_is_drawn_or_told(kind: str, body: dict[str, Any]) -> None:
    marks, words = film.MARKERS[kind]([body], [], (100, 100))
    assert marks or words
    assert film.MARKERS[kind]([], [], (100, 100)) in (film.Seen([], ""), film.Seen((), ""))


def test_segments_are_told_with_the_time(thousands: Video) -> None:
    segments = [
        {"StartTimestampMillis": 0, "EndTimestampMillis": 999, "ShotSegment": {"Index": 4}},
        {"StartTimestampMillis": 500, "EndTimestampMillis": 800, "TechnicalCueSegment": {"Type": "BlackFrames"}},
    ]
    told = [list(film._running(cast(Any, segments), time_ms)) for time_ms in (400, 600, 1000)]
    assert told == [["shot 4"], ["shot 4", "BlackFrames"], []]
