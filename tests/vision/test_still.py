"""Frames that show nothing new are told from those that do."""

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from regard.vision.still import Held, Still, another, thumbnail, unchanged

HD = 720, 1280
Luminance = NDArray[np.uint8]


@pytest.fixture(scope="module")
def street() -> Luminance:
    """A picture with light and dark, large and small in it."""
    chance = np.random.default_rng(1)
    coarse = chance.integers(20, 235, (18, 32), dtype=np.uint8)
    return np.asarray(cv2.resize(coarse, HD[::-1], interpolation=cv2.INTER_CUBIC), np.uint8)


def noisy(picture: Luminance, seed: int) -> Luminance:
    """As a camera and a codec leave it."""
    noise = np.random.default_rng(seed).normal(0, 6, picture.shape)
    return np.clip(picture + noise, 0, 255).astype(np.uint8)


def night(street: Luminance) -> Luminance:
    """Another picture, and a darker one."""
    return np.ascontiguousarray(street[::-1, ::-1] // 2)


def test_noise_is_nothing_new(street: Luminance) -> None:
    assert unchanged(thumbnail(noisy(street, 1)), thumbnail(noisy(street, 2)))


def test_somebody_far_away_is_new(street: Luminance) -> None:
    visited = street.copy()
    visited[300:340, 600:615] = 255 - visited[300:340, 600:615] // 2
    assert not unchanged(thumbnail(street), thumbnail(visited))
    assert not another(thumbnail(street), thumbnail(visited))


def test_a_cut_is_another_picture_and_a_pan_is_not(street: Luminance) -> None:
    assert another(thumbnail(street), thumbnail(night(street)))
    assert not another(thumbnail(street), thumbnail(np.roll(street, 10, axis=1)))


def test_a_camera_that_is_moved_fast_sees_the_same_scene(street: Luminance) -> None:
    before, after = (thumbnail(np.ascontiguousarray(street[:, left : left + 960])) for left in (0, 30))
    assert np.abs(before - after).mean() > 20
    assert not another(before, after)


def test_slow_change_adds_up(street: Luminance) -> None:
    still = Still[int]()
    looks = iter(range(100))
    seen = [still.see(thumbnail(np.minimum(street, 200) + np.uint8(3 * n)), lambda: next(looks)) for n in range(10)]
    assert seen == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3]


def test_what_is_held_is_looked_at_again_in_time_and_in_another_picture(street: Luminance) -> None:
    held = Held[int](2000)
    looks = iter(range(100))
    here, there = thumbnail(street), thumbnail(night(street))
    frames = [(0, here), (500, here), (1500, here), (2000, here), (2500, there), (3000, there)]
    assert [held.see(time_ms, frame, lambda: next(looks)) for time_ms, frame in frames] == [0, 0, 0, 1, 2, 2]
