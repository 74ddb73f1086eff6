"""Following people by sightings that are made up, where who is who is known."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from regard.vision.geometry import Box
from regard.vision.tracking import PATIENCE_MS, SAME, Sighting, Track, Tracker, joined

DIMENSION = 16
HEIGHT, WIDTH = 170.0, 60.0  # of a person: one pixel is a centimetre


def alike(probes: NDArray[np.float32], references: NDArray[np.float32]) -> NDArray[np.float64]:
    """Faces that are the same, near or at right angles: 100, 71 or 0."""
    return np.clip(100 * (probes.astype(np.float64) @ references.T), 0, 100)


def face(number: int) -> NDArray[np.float32]:
    """The embedding of a person: at right angles to those of others."""
    return np.eye(DIMENSION, dtype=np.float32)[number]


def dressed(number: int) -> NDArray[np.float32]:
    """The colours of a person, who shares none with others."""
    return face(number)


def at(x: float, score: float = 98, y: float = 50, **known: object) -> Sighting:
    """A person whose left is at `x`."""
    return replace(Sighting(Box(x, y, WIDTH, HEIGHT), score), **known)


def follow(frames: Iterable[Sequence[Sighting]], interval_ms: int = 250) -> list[list[int | None]]:
    """The person of each sighting."""
    tracker = Tracker(alike)
    numbers = [tracker.update(number * interval_ms, sightings) for number, sightings in enumerate(frames)]
    persons = joined(tracker.tracks, alike)
    return [[None if number is None else persons[number] for number in of_frame] for of_frame in numbers]


@pytest.mark.parametrize("interval_ms", [33, 100, 250, 500])
@pytest.mark.parametrize("speed", [0, 140, -300])
def test_who_walks_or_runs_by_is_one_person(interval_ms: int, speed: int) -> None:
    frames = [[at(speed * number * interval_ms / 1000)] for number in range(12)]
    assert follow(frames, interval_ms) == [[0]] * 12


def test_times_may_be_uneven() -> None:
    tracker = Tracker(alike)
    for time_ms in (0, 40, 500, 540, 1300, 1340, 2000):
        tracker.update(time_ms, [at(0.14 * time_ms)])
    assert len(tracker.tracks) == 1


@pytest.mark.parametrize("interval_ms", [100, 250])
def test_two_who_cross_keep_their_numbers_by_their_motion(interval_ms: int) -> None:
    """Nothing but where they are tells them apart, and in the middle one hides the other."""
    frames = []
    for number in range(6 * 1000 // interval_ms):
        x = 0.14 * number * interval_ms
        left, right = at(x), at(840 - x)
        frames.append([left] if abs(x - 420) < WIDTH / 3 else [left, right] if number % 2 else [right, left])
    found = follow(frames, interval_ms)
    walker, other = found[1]
    for number, numbers in enumerate(found):
        assert len(numbers) == 1 or numbers == ([walker, other] if number % 2 else [other, walker])


def test_who_is_hidden_for_a_second_keeps_the_number() -> None:
    frames = [[at(0.14 * 250 * number)] if not 8 <= number < 11 else [] for number in range(20)]
    assert {number for numbers in follow(frames) for number in numbers} == {0}


def test_who_is_gone_for_longer_is_somebody_new_unless_the_face_tells() -> None:
    away = [[]] * (PATIENCE_MS // 250 + 1)
    assert follow([[at(0)]] * 3 + away + [[at(0)]] * 3)[-1] == [1]
    known = [[at(0, embedding=face(0))]] * 3
    assert follow(known + away + known)[-1] == [0]
    assert follow(known + away + [[at(0, embedding=face(1))]] * 3)[-1] == [1]


def test_a_cut_to_another_face_in_the_same_place_is_another_person() -> None:
    scene = [[at(0, embedding=face(number))] for number in (0, 0, 0, 1, 1, 1, 0, 0)]
    assert follow(scene) == [[0], [0], [0], [1], [1], [1], [0], [0]]


def test_a_cut_to_other_clothes_in_the_same_place_is_another_person() -> None:
    scene = [[at(0, colours=dressed(number))] for number in (0, 0, 0, 1, 1)]
    assert follow(scene) == [[0], [0], [0], [1], [1]]


def test_a_face_that_is_not_seen_in_every_frame_still_tells() -> None:
    seen, unseen, other = at(0, embedding=face(0)), at(0), at(0, embedding=face(1))
    assert follow([[seen], [unseen], [unseen], [other], [other]])[-1] == [1]


def test_what_is_unsure_continues_somebody_and_begins_nobody() -> None:
    assert follow([[at(0)], [at(0)], [at(0, 60)], [at(0, 60)], [at(0)]]) == [[0]] * 5
    assert follow([[at(0, 85)]] * 5) == [[None]] * 5
    assert follow([[at(0)], [at(0)], [], [at(0, 60)]])[-1] == [None]  # nobody comes back as a shadow
    assert follow([[at(0)], [at(0)], [at(0, 40)]])[-1] == [None]


def test_who_is_seen_once_is_believed_only_if_quite_sure() -> None:
    assert follow([[at(0, 98)], [], []])[0] == [None]
    assert follow([[at(0, 99.5)], [], []])[0] == [0]


def test_a_person_may_lose_the_legs() -> None:
    """A face and shoulders at a table, then the whole figure: the top stays where it is."""
    whole, bust = at(0), replace(at(0), box=Box(3, 52, 54, 60))
    assert follow([[whole], [bust], [whole], [bust], [bust], [whole]]) == [[0]] * 6


def test_a_person_is_not_in_two_places_at_once() -> None:
    """Twins, or a picture of somebody on the wall: one face, two people."""
    scene = [[at(0, embedding=face(0)), at(500, embedding=face(0))]] * 3
    assert follow(scene) == [[0, 1]] * 3


def test_who_is_missed_for_a_frame_between_others_is_the_same_when_the_face_says_so() -> None:
    """A flash changes the colours of one frame: the face, not a new number, says who it is."""
    usual, flash = (
        at(0, 99.5, colours=dressed(0), embedding=face(0)),
        at(0, 99.5, colours=dressed(1), embedding=face(0)),
    )
    assert follow([[usual], [usual], [flash], [usual]]) == [[0]] * 4


def test_faces_that_are_only_similar_join_nothing() -> None:
    half = np.asarray((face(0) + face(1)) / np.sqrt(2), np.float32)
    assert 50 < alike(half[None], face(0)[None])[0, 0] < SAME
    away = [[]] * (PATIENCE_MS // 250 + 1)
    assert follow([[at(0, embedding=face(0))]] * 3 + away + [[at(0, embedding=half)]] * 3)[-1] == [1]


def test_the_face_that_stands_for_a_track_is_one_of_the_best_and_no_odd_one() -> None:
    track = Track()
    usual = np.asarray(face(0) * 0.8 + face(1) * 0.6, np.float32)
    for time_ms, (quality, embedding) in enumerate(
        [(0.9, face(5)), (0.8, usual), (0.7, usual), (0.8, usual), (0.6, face(0)), (0.1, face(7)), (0.2, face(7))]
    ):
        track.add(time_ms, at(0, embedding=embedding, quality=quality))
    assert [quality for quality, _ in track.faces] == [0.9, 0.8, 0.8, 0.7, 0.6]
    chosen = track.face()
    assert chosen is not None
    np.testing.assert_array_equal(chosen, usual)


sightings = st.builds(
    lambda x, score, person: at(x, score, embedding=None if person is None else face(person)),
    st.floats(-100, 800),
    st.floats(0, 100),
    st.none() | st.integers(0, 3),
)


@given(st.lists(st.lists(sightings, max_size=4), max_size=12))
def test_whatever_is_seen_nobody_is_twice_in_a_frame_and_the_outcome_is_always_the_same(
    frames: list[list[Sighting]],
) -> None:
    found = follow(frames)
    assert found == follow(frames)
    for numbers in found:
        there = [number for number in numbers if number is not None]
        assert len(there) == len(set(there))
    appeared = list(dict.fromkeys(number for numbers in found for number in numbers if number is not None))
    assert sorted(appeared) == list(range(len(appeared)))
