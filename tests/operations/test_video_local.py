"""Analyses of a video without a server: each frame is decoded once, and nothing else changes by that."""

import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.videos import make_video, number_of, numbers

from regard.media import video as media
from regard.media.video import Chunk, Frame, InvalidVideoFormat
from regard.operations.context import Context, Request
from regard.operations.video import local
from regard.operations.video.analysis import Analysis, Part, Result, Task
from regard.settings import settings

FRAMES, RATE = 90, 30


class Numbers:
    """Tells the numbers that the frames bear."""

    def __init__(self, interval_ms: int | None, margin: int = 0, most: int | None = None) -> None:
        self._interval_ms, self._margin, self._most = interval_ms, margin, most

    def interval_ms(self, request: Request) -> int | None:
        return self._interval_ms

    def margin(self, request: Request) -> int:
        return self._margin

    def check(self, context: Context, request: Request) -> None:
        pass

    def observe(self, task: Task, chunk: Chunk, frames: Iterable[Frame]) -> Part:
        seen = [number_of(frame.pixels) for frame in islice(frames, self._most)]
        return {"chunk": chunk.number, "numbers": np.array(seen, np.int64)}

    def conclude(self, task: Task, parts: Iterable[Part]) -> Iterator[Result]:
        assert list(parts) == list(parts)
        for part in parts:
            yield Result(part["chunk"], 0, {"numbers": part["numbers"]})


class Failing(Numbers):
    def observe(self, task: Task, chunk: Chunk, frames: Iterable[Frame]) -> Part:
        for frame in frames:
            if number_of(frame.pixels) == 50:
                raise RuntimeError("a mistake in the analysis")


@pytest.fixture(scope="module")
def numbered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_video(tmp_path_factory.mktemp("video") / "numbers.mp4", numbers(FRAMES), rate=RATE)


@pytest.fixture
def analyse(numbered: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """`analyse(name=analysis)` gives the results of some analyses of a video of three chunks."""
    inspect = media.inspect
    monkeypatch.setattr(media, "inspect", lambda source: inspect(source, 1000))

    def run(progress: Any = lambda _: None, **analyses: Analysis) -> Mapping[str, list[list[int]]]:
        monkeypatch.setattr(local, "ANALYSES", analyses)
        found = local.analyse(local.context(settings()), numbered, {name: {} for name in analyses}, progress)
        return {name: [result.body["numbers"] for result in results] for name, results in found.items()}

    return run


ANALYSES: dict[str, Analysis] = {
    "every": Numbers(None),
    "halves": Numbers(500),
    "thirds": Numbers(300),
    "margin": Numbers(None, margin=2),
}


def test_every_analysis_gets_its_own_frames_of_every_chunk(analyse: Any) -> None:
    found = analyse(**ANALYSES)
    assert found["every"] == [list(range(start, start + 30)) for start in (0, 30, 60)]
    assert found["halves"] == [[0, 15], [30, 45], [60, 75]]
    assert found["thirds"] == [[0, 9, 18, 27], [36, 45, 54], [63, 72, 81]]
    assert found["margin"] == [list(range(max(0, start - 2), min(start + 32, FRAMES))) for start in (0, 30, 60)]


@pytest.mark.parametrize("name", ANALYSES)
def test_in_company_an_analysis_sees_what_it_sees_alone(analyse: Any, name: str) -> None:
    assert analyse(**{name: ANALYSES[name]})[name] == analyse(**ANALYSES)[name]


def test_frames_are_decoded_once_for_all(analyse: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: Counter[int] = Counter()
    frames = media.frames

    def counted(*arguments: Any) -> Iterator[Frame]:
        for frame in frames(*arguments):
            decoded[frame.number] += 1
            yield frame

    monkeypatch.setattr(media, "frames", counted)
    analyse(every=Numbers(None), halves=Numbers(500))
    assert decoded == dict.fromkeys(range(FRAMES), 1)


def test_progress_adds_up_to_the_frames_of_the_video(analyse: Any) -> None:
    told: list[int] = []
    analyse(told.append, **ANALYSES)
    assert sum(told) == FRAMES
    told.clear()
    analyse(told.append, halves=Numbers(500))
    assert sum(told) == FRAMES


def test_an_analysis_that_has_seen_enough_keeps_nobody_waiting(analyse: Any) -> None:
    found = analyse(few=Numbers(None, most=3), every=Numbers(None))
    assert found["few"] == [[0, 1, 2], [30, 31, 32], [60, 61, 62]]
    assert [len(chunk) for chunk in found["every"]] == [30, 30, 30]


def test_a_mistake_in_one_analysis_ends_all_and_leaves_no_threads(analyse: Any) -> None:
    before = threading.active_count()
    with pytest.raises(RuntimeError, match="a mistake in the analysis"):
        analyse(bad=Failing(None), every=Numbers(None), halves=Numbers(500))
    assert threading.active_count() == before


def test_what_is_no_video_is_told(tmp_path: Path) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"not a video")
    with pytest.raises(InvalidVideoFormat):
        local.analyse(local.context(settings()), broken, {"LabelDetection": {}})
