"""Shots and cues of video files, looked at without jobs: right on real videos, and the same whatever the chunks."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import chain, pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from tests import programme
from tests.programme import RATE
from tests.videos import make_video

from regard.evaluate import shots as joined
from regard.media import images
from regard.media import video as media
from regard.media.video import Chunk
from regard.operations.context import Context
from regard.operations.video.analysis import Task
from regard.operations.video.segments import SegmentDetection
from regard.settings import settings
from regard.vision.engines import Engines

BOTH = ("TECHNICAL_CUE", "SHOT")
Body = dict[str, Any]


@pytest.fixture(scope="module")
def context() -> Context:
    """Networks and nothing else: the analysis asks neither the database nor the caller."""
    return cast("Context", SimpleNamespace(services=SimpleNamespace(vision=Engines(settings()))))


@pytest.fixture(scope="module")
def broadcast(photos: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bars 2 s, black 1 s, a slate 3 s, black 1 s, three shots 13 s, credits that roll 8 s, black 1 s."""
    frames = chain(
        programme.still(programme.bars("SMPTE"), 2),
        programme.black(1),
        programme.still(programme.card(programme.SLATE), 3),
        programme.black(1),
        *(programme.panned(images.decode(photos[name].read_bytes()), 4) for name in ("astronaut", "coffee")),
        programme.panned(images.decode(photos["cat"].read_bytes()), 5),
        programme.rolling(programme.CAST, 8),
        programme.black(1),
    )
    return make_video(tmp_path_factory.mktemp("broadcast") / "broadcast.mp4", frames, rate=RATE, gop=10)


def detect(
    context: Context, source: Path, wanted: Sequence[str], cuts: Sequence[int] = (), **filters: Any
) -> list[Body]:
    """What GetSegmentDetection lists, with chunks that begin at the frames `cuts` beside the first."""
    analysis, video = SegmentDetection(), media.inspect(source)
    edges = [0, *cuts, len(video.times_ms)]
    chunks = tuple(Chunk(n, a, b) for n, (a, b) in enumerate(pairwise(edges)))
    task = Task(context, {"SegmentTypes": list(wanted), "Filters": filters}, replace(video, chunks=chunks))
    margin = analysis.margin(task.request)
    parts = [
        json.dumps(analysis.observe(task, chunk, media.frames(source, video, chunk, None, margin))) for chunk in chunks
    ]
    results = list(analysis.conclude(task, [json.loads(part) for part in parts]))
    assert [(result.time_ms, result.key) for result in results] == [(0, place) for place in range(len(results))]
    return [dict(result.body) for result in results]


def shots_of(bodies: Sequence[Body]) -> list[int]:
    return [body["StartFrameNumber"] for body in bodies if body["Type"] == "SHOT"]


def cues_of(bodies: Sequence[Body]) -> Iterator[tuple[str, int, int]]:
    for body in bodies:
        if body["Type"] == "TECHNICAL_CUE":
            yield body["TechnicalCueSegment"]["Type"], body["StartFrameNumber"], body["EndFrameNumber"]


def test_a_programme_is_taken_apart(context: Context, broadcast: Path) -> None:
    bodies = detect(context, broadcast, BOTH)
    assert [body["Type"] for body in bodies] == sorted((body["Type"] for body in bodies), reverse=True)
    content = list(cues_of(bodies))
    assert content[:5] == [
        ("ColorBars", 0, 19),
        ("BlackFrames", 20, 29),
        ("Slate", 30, 59),
        ("BlackFrames", 60, 69),
        ("Content", 70, 199),
    ]
    ((start, stop),) = (cue[1:] for cue in content if cue[0] == "EndCredits")
    assert start == pytest.approx(200, abs=RATE)  # the first line comes in from below
    assert stop == pytest.approx(279, abs=RATE)
    assert {110, 150}.issubset(shots_of(bodies))


def test_the_outcome_does_not_hang_on_the_chunks(context: Context, broadcast: Path) -> None:
    whole = detect(context, broadcast, BOTH)
    cut = detect(context, broadcast, BOTH, cuts=(25, 110, 111, 205))
    assert list(cues_of(cut)) == list(cues_of(whole))
    assert shots_of(cut) == shots_of(whole)


def test_credits_over_pictures_and_on_still_cards_are_found(
    context: Context, photos: dict[str, Path], tmp_path: Path
) -> None:
    cat, coffee = images.decode(photos["cat"].read_bytes()), images.decode(photos["coffee"].read_bytes())
    cards = [programme.card(programme.CAST[start : start + 5], top=80) for start in (0, 5, 14)]
    over = (programme.card(programme.CAST[:7], picture) for picture in programme.panned(coffee, 5))
    frames = chain(
        programme.panned(coffee, 2),  # what comes sooner may be a slate
        *(programme.still(card, 2) for card in cards[:2]),
        programme.panned(cat, 14),
        over,
    )
    source = make_video(tmp_path / "credits.mp4", frames, rate=RATE, gop=10)
    found = {kind: (start, stop) for kind, start, stop in cues_of(detect(context, source, ("TECHNICAL_CUE",)))}
    assert found["OpeningCredits"] == (pytest.approx(20, abs=2), pytest.approx(59, abs=2))
    assert found["EndCredits"] == (pytest.approx(200, abs=RATE), 249)


def test_the_filters_are_obeyed(context: Context, tmp_path: Path) -> None:
    grey = chain(programme.black(1, 30), programme.black(1, 70), programme.black(1))
    source = make_video(tmp_path / "grey.mp4", grey, rate=RATE, gop=10)

    def black(**filters: Any) -> list[tuple[int, int]]:
        bodies = detect(context, source, ("TECHNICAL_CUE",), TechnicalCueFilter=filters)
        return [(start, stop) for kind, start, stop in cues_of(bodies) if kind == "BlackFrames"]

    assert black() == [(0, 9), (20, 29)]
    assert black(BlackFrame={"MaxPixelThreshold": 0.05}) == [(20, 29)]
    assert black(BlackFrame={"MaxPixelThreshold": 0.35}) == [(0, 29)]
    certain = detect(context, source, ("SHOT",), ShotFilter={"MinSegmentConfidence": 99.999})
    assert len(certain) < len(detect(context, source, ("SHOT",)))


def test_only_what_is_asked_for_is_given_in_the_order_of_the_request(context: Context, tmp_path: Path) -> None:
    source = make_video(tmp_path / "black.mp4", programme.black(1), rate=RATE, gop=10)
    kinds = {
        wanted: [body["Type"] for body in detect(context, source, wanted)]
        for wanted in (("SHOT",), ("TECHNICAL_CUE",), ("SHOT", "TECHNICAL_CUE"), BOTH, ("SHOT", "SHOT"))
    }
    assert kinds == {
        ("SHOT",): ["SHOT"],
        ("TECHNICAL_CUE",): ["TECHNICAL_CUE"],
        ("SHOT", "TECHNICAL_CUE"): ["SHOT", "TECHNICAL_CUE"],
        BOTH: ["TECHNICAL_CUE", "SHOT"],
        ("SHOT", "SHOT"): ["SHOT"],
    }


def test_times_timecodes_and_frames_say_the_same(context: Context, tmp_path: Path) -> None:
    """As the developer guide's sample counts: an end is the last frame, a duration the distance to it."""
    rate = Fraction(30000, 1001)
    frames = (np.full((64, 64, 3), 0 if number < 20 else 120, np.uint8) for number in range(75))
    source = make_video(tmp_path / "ntsc.mp4", frames, rate=rate, gop=10)
    black, content = detect(context, source, ("TECHNICAL_CUE",))
    assert black == {
        "Type": "TECHNICAL_CUE",
        "StartTimestampMillis": 0,
        "EndTimestampMillis": 634,
        "DurationMillis": 634,
        "StartTimecodeSMPTE": "00:00:00;00",
        "EndTimecodeSMPTE": "00:00:00;19",
        "DurationSMPTE": "00:00:00;19",
        "StartFrameNumber": 0,
        "EndFrameNumber": 19,
        "DurationFrames": 19,
        "TechnicalCueSegment": {"Type": "BlackFrames", "Confidence": 100.0},
    }
    assert (content["StartFrameNumber"], content["EndTimecodeSMPTE"]) == (20, "00:00:02;14")


@pytest.mark.parametrize(
    ("name", "starts"),
    # testvideo.mp4 also dissolves from one picture to the next, from frame 529 to 558.
    [("fades.mp4", [0, 84, 167]), ("testvideo.mp4", [0, 201, 382, 543]), ("carphone.mp4", [0])],
)
def test_shots_of_real_videos(context: Context, evaluation_data: Path, name: str, starts: list[int]) -> None:
    assert shots_of(detect(context, evaluation_data / "video" / name, ("SHOT",))) == starts


def test_no_cue_but_black_is_seen_where_there_is_none(context: Context, evaluation_data: Path) -> None:
    files = [evaluation_data / "video" / name for name in ("testvideo.mp4", "carphone.mp4")]
    files += sorted((evaluation_data / "fight").rglob("*.mp4"))[::4]
    for path in files:
        kinds = {kind for kind, _, _ in cues_of(detect(context, path, ("TECHNICAL_CUE",)))}
        assert kinds <= {"Content", "BlackFrames"}, path.name


@pytest.mark.timeout(900)
def test_twenty_pieces_are_told_apart(context: Context, evaluation_data: Path) -> None:
    """Clips as `regard evaluate` makes them, with flashes and a moving camera between the joints."""
    filmed = joined.pieces(evaluation_data, joined.JUDGED_ON)
    photos = joined.photos(evaluation_data / "coco", slice(joined.PHOTOS))

    def f_score(kinds: dict[str, float], *seeds: int) -> float:
        right = told = 0
        for seed in seeds:
            clip = joined.join(filmed, photos, seed, kinds=kinds)
            found = joined.starts(context.services.vision.shots, clip.frames)
            right += len(list(joined.matched(found, clip.joints)))
            told += len(found) + len(clip.joints)
        return 2 * right / told

    assert f_score({"cut": 1.0}, 0) >= 0.95
    assert f_score(joined.KINDS, 0, 1, 2) >= 0.9
