"""Bars, black and text are measured as the documents say, and called by where in the programme they are."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests import programme

from regard.vision import cues
from regard.vision.cues import Cue, Run, Sample

RATE = 10
A_MINUTE = np.arange(60 * RATE, dtype=np.int64) * 1000 // RATE


def thumbnail(picture: programme.Picture) -> programme.Picture:
    height, width = picture.shape[0] // 27 * 27, picture.shape[1] // 48 * 48
    blocks = picture[:height, :width].reshape(27, height // 27, 48, width // 48, 3)
    return blocks.mean((1, 3)).round().astype(np.uint8)


def samples(shown: dict[range, tuple[int, int, float, float]]) -> list[Sample]:
    """One a second; in the seconds of a range rows, column, plain and motion, else a moving picture without text."""
    found = []
    for second in range(60):
        seen = next((what for seconds, what in shown.items() if second in seconds), (0, 0, 0.1, 5.0))
        found.append(Sample(second * RATE, *seen))
    return found


@pytest.mark.parametrize("kind", ["SMPTE", "EBU", "HD"])
def test_colour_bars_are_known(kind: str) -> None:
    assert cues.is_bars(cues.bars_share(thumbnail(programme.bars(kind))))


def test_what_only_resembles_colour_bars_is_none(pictures: dict[str, programme.Picture]) -> None:
    smpte = programme.bars("SMPTE")
    for other in (smpte[:, ::-1], np.rot90(smpte), np.full_like(smpte, 128), smpte // 3, smpte.mean(2, keepdims=True)):
        assert not cues.bars_share(thumbnail(np.broadcast_to(other, (*other.shape[:2], 3)).astype(np.uint8)))
    assert not any(cues.bars_share(thumbnail(picture)) for picture in pictures.values())


def test_black_is_what_the_formula_says() -> None:
    luminance = np.array([[0, 51, 52, 255]], np.uint8)
    assert cues.black_share(luminance, 0.2) == 0.5
    assert cues.black_share(luminance, 0.0) == 0.25
    assert cues.black_share(luminance, 1.0) == 1.0


@given(st.integers(0, 255), st.integers(0, 255), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_no_black_frame_is_passed_over(low: int, high: int, part: float, threshold: float, share: float) -> None:
    picture = np.full((27, 48, 3), low, np.uint8)
    picture[:, : round(48 * part)] = high
    luminance = picture[:, :, 0]
    if cues.black_share(luminance, threshold) >= share:
        assert cues.may_be_black(picture, threshold, share)


def test_runs_that_touch_are_one() -> None:
    assert cues.joined([Run(0, 10, 1.0), Run(10, 40, 0.6), Run(41, 42, 0.5)]) == [
        Run(0, 40, pytest.approx(0.7)),  # type: ignore[arg-type]
        Run(41, 42, 0.5),
    ]


def test_a_programme_is_taken_apart() -> None:
    found = cues.cues(
        A_MINUTE,
        [Run(30, 40, 1.0), Run(570, 600, 1.0)],
        [Run(0, 30, 0.97)],
        samples({range(4, 8): (5, 3, 0.8, 0.0), range(10, 15): (2, 2, 0.9, 0.4), range(49, 57): (6, 6, 0.7, 1.0)}),
        [80, 100, 150, 485],
    )
    assert found == [
        Cue("bars", 0, 30, 0.97),
        Cue("black", 30, 40, 1.0),
        Cue("slate", 40, 80, pytest.approx(0.8)),  # type: ignore[arg-type]
        Cue("content", 80, 100, pytest.approx(0.8)),  # type: ignore[arg-type]
        Cue("opening", 100, 150, 1.0),
        Cue("content", 150, 485, 1.0),
        Cue("end", 485, 570, 1.0),
        Cue("black", 570, 600, 1.0),
    ]


def test_text_in_the_middle_or_all_the_time_is_no_credit() -> None:
    in_the_middle = cues.cues(A_MINUTE, [], [], samples({range(25, 35): (6, 6, 0.8, 1.0)}), [])
    all_the_time = cues.cues(A_MINUTE, [], [], samples({range(60): (6, 6, 0.8, 1.0)}), [])
    assert in_the_middle == all_the_time == [Cue("content", 0, 600, 1.0)]


def test_a_moving_or_late_card_is_no_slate() -> None:
    moving = cues.cues(A_MINUTE, [], [], samples({range(4): (5, 5, 0.8, 2.0)}), [40])
    late = cues.cues(A_MINUTE, [], [], samples({range(30, 34): (5, 5, 0.8, 0.0)}), [300, 340])
    assert not any(cue.kind == "slate" for cue in (*moving, *late))


def test_missed_credits_lower_the_confidence() -> None:
    seen = samples({range(50, 60, 2): (6, 6, 0.8, 1.0)})
    (end,) = (cue for cue in cues.cues(A_MINUTE, [], [], seen, []) if cue.kind == "end")
    assert end.confidence == pytest.approx(5 / 9)


def test_a_video_without_frames_has_no_cues() -> None:
    assert cues.cues(np.array([], np.int64), [], [], [], []) == []


@given(st.integers(0, 2**32 - 1))
def test_cues_are_spans_of_the_video_and_content_overlaps_none_of_the_others(seed: int) -> None:
    chance = np.random.default_rng(seed)
    edges = np.unique(chance.integers(0, 600, 12)).tolist()
    black = [Run(start, stop, 1.0) for start, stop in zip(edges[::2], edges[1::2], strict=False)]
    shown = [
        Sample(second * RATE, int(chance.integers(9)), int(chance.integers(9)), chance.random(), 3 * chance.random())
        for second in range(60)
    ]
    found = cues.cues(A_MINUTE, black, [], shown, edges)
    assert all(0 <= cue.start < cue.stop <= 600 and 0 <= cue.confidence <= 1 for cue in found)
    others = [cue for cue in found if cue.kind not in ("content", "black")]
    for content in (cue for cue in found if cue.kind == "content"):
        assert not any(content.start < cue.stop and cue.start < content.stop for cue in others)
