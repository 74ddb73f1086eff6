"""Samples become segments, and results sort as AWS says."""

from types import SimpleNamespace
from typing import Any, cast

from regard.media.video import Video
from regard.operations.video.timeline import result, segments

LAST_MS = 5000
VIDEO = cast(Video, SimpleNamespace(duration_ms=LAST_MS))


def found(*samples: tuple[int, dict[str, float]]) -> list[tuple[str, int, int, float]]:
    return [(one.name, one.start_ms, one.end_ms, one.confidence) for one in segments(samples, VIDEO)]


def test_a_segment_lasts_from_its_first_sample_to_the_first_without_it() -> None:
    cat = {"Cat": 60.0}
    assert found((0, {}), (500, cat), (1000, {"Cat": 80.0}), (1500, {}), (2000, {})) == [("Cat", 500, 1500, 70.0)]


def test_what_is_there_at_the_end_lasts_until_the_end() -> None:
    assert found((0, {}), (500, {"Cat": 60.0})) == [("Cat", 500, LAST_MS, 60.0)]


def test_one_sample_without_it_does_not_end_a_segment_and_two_do() -> None:
    cat: dict[str, float] = {"Cat": 60.0}
    assert found((0, cat), (500, {}), (1000, cat), (1500, {}), (2000, {}), (2500, cat), (3000, {})) == [
        ("Cat", 0, 1500, 60.0),
        ("Cat", 2500, 3000, 60.0),
    ]


def test_labels_have_segments_of_their_own() -> None:
    both = {"Cat": 60.0, "Dog": 90.0}
    assert sorted(found((0, both), (500, {"Dog": 80.0}), (1000, {}), (1500, {}))) == [
        ("Cat", 0, 500, 60.0),
        ("Dog", 0, 1000, 85.0),
    ]


def test_a_video_without_samples_or_labels_has_no_segments() -> None:
    assert found() == []
    assert found((0, {}), (500, {})) == []


def test_by_name_the_most_confident_come_first_and_longer_names_last() -> None:
    def key(name: str, confidence: float) -> Any:
        return result(0, name, confidence, {}).key

    given = [("Cattle", 99.0), ("Cat", 50.0), ("Cat", 100.0), ("Cat Food", 70.0), ("Cat", 99.96)]
    assert sorted(given, key=lambda one: key(*one)) == [
        ("Cat", 100.0),
        ("Cat", 99.96),
        ("Cat", 50.0),
        ("Cat Food", 70.0),
        ("Cattle", 99.0),
    ]
