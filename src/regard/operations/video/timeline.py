"""When labels are in a video: samples joined to segments, and how GetLabelDetection and GetContentModeration sort.

AWS calls a segment what "contains a continuously detected label", and says no more. Here a label is in a segment from
the first sample that has it until the next sample after the last one, or the end of the video, for nothing is known
of the time in between. One sample without it, where a label comes out just below MinConfidence, does not end a
segment. The confidence of a segment is the mean of those of the samples that have the label.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain, pairwise
from typing import Any

from regard.media.video import Video
from regard.operations.video.analysis import Part, Result

MISSED = 1  # samples without a label that do not end a segment


@dataclass(slots=True)
class Segment:
    """A time, from `start_ms` up to `end_ms`, in which samples have a label; `confidences` are theirs, in percent."""

    name: str
    start_ms: int
    end_ms: int
    last: int  # the number of the last sample that has it
    confidences: list[float] = field(default_factory=list)

    @property
    def confidence(self) -> float:
        return sum(self.confidences) / len(self.confidences)

    @property
    def members(self) -> dict[str, int]:
        """Of a detection, when results are aggregated by segments."""
        return {
            "Timestamp": self.start_ms,
            "StartTimestampMillis": self.start_ms,
            "EndTimestampMillis": self.end_ms,
            "DurationMillis": self.end_ms - self.start_ms,
        }


def samples(parts: Iterable[Part]) -> Iterator[tuple[int, list[Any]]]:
    """Time and what was seen of each sample, for parts that are lists of such pairs."""
    return ((time_ms, seen) for part in parts for time_ms, seen in part)


def segments(seen: Iterable[tuple[int, Mapping[str, float]]], video: Video) -> Iterator[Segment]:
    """The segments of labels, for the time of each sample and its labels with their confidences."""
    running: dict[str, Segment] = {}
    for number, ((time_ms, labels), (until_ms, _)) in enumerate(pairwise(chain(seen, [(video.duration_ms, {})]))):
        for name, confidence in labels.items():
            segment = running.setdefault(name, Segment(name, time_ms, until_ms, number))
            segment.end_ms, segment.last = until_ms, number
            segment.confidences.append(confidence)
        for name in [name for name, segment in running.items() if number - segment.last > MISSED]:
            yield running.pop(name)
    yield from running.values()


def result(time_ms: int, name: str, confidence: float, body: Mapping[str, Any]) -> Result:
    """A result that SortBy NAME groups by name and within a name sorts by confidence, as AWS does."""
    return Result(time_ms, _key(name, confidence), body)


def of_segment(segment: Segment, body: Mapping[str, Any]) -> Result:
    """A result for AggregateBy SEGMENTS."""
    return Result(
        segment.start_ms, _key(segment.name, segment.confidence), {**segment.members, **body}, aggregate="SEGMENTS"
    )


def _key(name: str, confidence: float) -> str:
    """Sorts by name, then the most confident first; the tab sorts before any letter, and so before longer names."""
    return f"{name}\t{100 - confidence:08.4f}"
