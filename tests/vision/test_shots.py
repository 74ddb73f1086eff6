"""Shots begin where a viewer says that they begin, and nowhere else."""

from collections.abc import Iterable, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from regard.settings import settings
from regard.vision.shots import (
    HEIGHT,
    MARGIN,
    WIDTH,
    Darkness,
    Shot,
    ShotDetector,
    Thumbnails,
    Transition,
    changes,
    darkness,
    histograms,
    shots,
)


@pytest.fixture(scope="module")
def detector() -> ShotDetector:
    return ShotDetector.load(settings())


@pytest.fixture(scope="module")
def scenes(pictures: dict[str, NDArray[np.uint8]]) -> list[Thumbnails]:
    """Thirty frames each of a camera that moves over photos."""
    return [panned(pictures[name], 30) for name in ("astronaut", "cat", "coffee", "hopper")]


def night(start: int, stop: int) -> Darkness:
    """Frames that are all as dark."""
    return Darkness(start, (1.0,) * (stop - start))


def panned(picture: NDArray[np.uint8], frames: int, reach: float = 0.15) -> Thumbnails:
    """A camera that moves to the right by a share of the picture's width, every pixel of it a block's mean."""
    height, width = picture.shape[:2]
    seen = round(width * (1 - reach))
    moved = []
    for frame in range(frames):
        left = round((width - seen) * frame / frames)
        rows = np.linspace(0, height, HEIGHT + 1).round().astype(int)
        columns = np.linspace(left, left + seen, WIDTH + 1).round().astype(int)
        sums = np.add.reduceat(
            np.add.reduceat(picture[:, : left + seen].astype(np.float64), rows[:-1], 0), columns[:-1], 1
        )
        moved.append(sums / np.outer(np.diff(rows), np.diff(columns))[:, :, None])
    return np.stack(moved).round().astype(np.uint8)


def cut(probability: float, start: int) -> Transition:
    return Transition(start, start - 1, start, probability)


def begun(detector: ShotDetector, frames: Thumbnails) -> list[int]:
    return [shot.start for shot in shots(len(frames), detector.transitions(frames), darkness(frames))]


def test_a_video_without_transitions_is_one_shot() -> None:
    assert shots(100, [], []) == [Shot(0, 100, 1.0)]


def test_shots_follow_each_other_and_are_as_sure_as_their_ends() -> None:
    assert shots(100, [cut(0.9, 60), cut(0.75, 20), cut(0.125, 70)], []) == [
        Shot(0, 20, 0.75),
        Shot(20, 60, 0.75),
        Shot(60, 100, 0.875),
    ]


def test_what_two_chunks_saw_counts_once() -> None:
    assert shots(100, [cut(0.8, 50), cut(0.9, 51), cut(0.8, 50)], []) == [Shot(0, 51, 0.9), Shot(51, 100, 0.9)]


@pytest.mark.parametrize("start", [0, 1, 2, 98, 99, 100])
def test_nothing_begins_in_the_first_or_the_last_frames(start: int) -> None:
    assert shots(100, [cut(0.99, start)], []) == [Shot(0, 100, pytest.approx(1.0))]  # type: ignore[arg-type]


def test_a_fade_through_black_is_one_transition() -> None:
    fades = [Transition(40, 32, 48, 0.6), Transition(70, 62, 78, 0.7)]
    assert [shot.start for shot in shots(200, fades, [night(0, 10), night(49, 61), night(190, 200)])] == [0, 57]
    assert [
        shot.start
        for shot in shots(200, [*fades, cut(0.9, 10), cut(0.9, 190)], [night(0, 10), night(49, 61), night(190, 200)])
    ] == [
        0,
        57,
    ]


def test_a_long_time_of_black_is_a_shot() -> None:
    assert [shot.start for shot in shots(400, [cut(0.9, 100)], [night(0, 100)])] == [0, 100]
    assert [shot.start for shot in shots(400, [cut(0.9, 100), cut(0.9, 200)], [night(100, 200)])] == [0, 100, 200]


def test_dark_that_nobody_cuts_to_is_no_transition() -> None:
    assert shots(200, [], [night(50, 80)]) == [Shot(0, 200, 1.0)]


def test_histograms_are_counts_of_colours() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (3, HEIGHT, WIDTH, 3), dtype=np.uint8)
    for frame, histogram in zip(frames, histograms(frames), strict=True):
        counts, _ = np.histogramdd(frame.reshape(-1, 3), bins=(8, 8, 8), range=((0, 256),) * 3)
        np.testing.assert_allclose(histogram, counts.ravel() / np.linalg.norm(counts), rtol=1e-6)


def test_changes_are_of_the_frames_on_both_sides() -> None:
    levels = np.array([10, 20, 50, 50, 90])
    frames = np.broadcast_to(levels[:, None, None, None], (5, HEIGHT, WIDTH, 3)).astype(np.uint8)
    assert changes(frames, 1).tolist() == [0, 10, 30, 0, 40]
    assert changes(frames, 4).tolist() == [40, 40, 80, 70, 40]


def test_changes_are_the_same_however_many_frames_are_compared_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (50, HEIGHT, WIDTH, 3), dtype=np.uint8)
    whole = changes(frames, 24).tolist()
    monkeypatch.setattr("regard.vision.shots._COMPARED", 7)
    assert changes(frames, 24).tolist() == whole


def test_cuts_are_found_to_the_frame(detector: ShotDetector, scenes: Sequence[Thumbnails]) -> None:
    assert begun(detector, np.concatenate(scenes)) == [0, 30, 60, 90]


def test_a_dissolve_is_found_within_it(detector: ShotDetector, scenes: Sequence[Thumbnails]) -> None:
    share = np.linspace(0, 1, 12)[:, None, None, None]
    mixed = (scenes[0][-12:] * (1 - share) + scenes[1][:12] * share).astype(np.uint8)
    first, second = begun(detector, np.concatenate([scenes[0][:-12], mixed, scenes[1][12:]]))
    assert first == 0
    assert 18 <= second <= 30


def test_flashes_and_a_still_picture_are_no_transitions(detector: ShotDetector, scenes: Sequence[Thumbnails]) -> None:
    lit = np.concatenate([scenes[0], scenes[0][::-1]]).astype(np.int16)
    lit[20:23] += 150
    lit[40] += 200
    still = np.repeat(scenes[2][:1], 60, 0)
    assert begun(detector, np.clip(lit, 0, 255).astype(np.uint8)) == [0]
    assert begun(detector, still) == [0]
    assert not detector.answers(still)[0].any()


def certain(transitions: Iterable[Transition]) -> list[Transition]:
    return [one for one in transitions if one.probability >= 0.5]


def found_in_chunks(detector: ShotDetector, frames: Thumbnails, edge: int) -> list[tuple[int, int, int]]:
    """Start, first and last frame of what each of two chunks finds that are seen with their margins; what is at the
    edge may come of both."""
    found = []
    for start, stop in ((0, edge), (edge, len(frames))):
        begin = max(0, start - MARGIN)
        seen = certain(detector.transitions(frames[begin : stop + MARGIN], slice(start - begin, stop - begin)))
        places = [(begin + one.start, begin + one.first, begin + one.last) for one in seen]
        found += [place for place in places if start - 2 <= place[0] <= stop + 2]
    return found


def test_chunks_find_what_the_whole_finds(detector: ShotDetector, scenes: Sequence[Thumbnails]) -> None:
    frames = np.concatenate([*scenes, scenes[0]])
    whole = certain(detector.transitions(frames))
    for edge in (30, 31, 65):
        found = found_in_chunks(detector, frames, edge)
        assert sorted({start for start, _, _ in found}) == [one.start for one in whole]


@pytest.mark.parametrize("edge", [45, 53, 57, 60, 66])
def test_a_dissolve_that_goes_on_beyond_a_chunk_is_seen_whole(
    edge: int, detector: ShotDetector, pictures: dict[str, NDArray[np.uint8]]
) -> None:
    before, after = (panned(pictures[name], 72, 0.3) for name in ("cat", "hopper"))
    share = np.linspace(0, 1, 30)[:, None, None, None]
    frames = np.concatenate(
        [before[:-30], (before[-30:] * (1 - share) + after[:30] * share).astype(np.uint8), after[30:]]
    )
    (whole,) = certain(detector.transitions(frames))
    found = found_in_chunks(detector, frames, edge)
    assert found
    for place in found:
        assert place == pytest.approx((whole.start, whole.first, whole.last), abs=1)


def test_one_frame_and_none_have_no_transitions(detector: ShotDetector, scenes: Sequence[Thumbnails]) -> None:
    assert detector.transitions(scenes[0][:1]) == detector.transitions(scenes[0][:0]) == []
