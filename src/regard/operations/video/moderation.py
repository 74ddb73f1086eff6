"""StartContentModeration, GetContentModeration: what in a video some audiences should not see, twice a second.

A frame that shows the same as the last one is not looked at again. What is seen and what is not: docs/moderation.md.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from regard.media.video import Chunk, Frame
from regard.operations.context import Context, Request
from regard.operations.moderation import DEFAULT_MIN_CONFIDENCE, moderation_labels
from regard.operations.video import timeline
from regard.operations.video.analysis import DEFAULT_INTERVAL_MS, Part, Result, Task
from regard.vision.still import Still, thumbnail


class ContentModeration:
    def interval_ms(self, request: Request) -> int | None:
        return DEFAULT_INTERVAL_MS

    def margin(self, request: Request) -> int:
        return 0

    def check(self, context: Context, request: Request) -> None:
        """The service model leaves nothing to be refused."""

    def observe(self, task: Task, chunk: Chunk, frames: Iterable[Frame]) -> Part:
        """Of each frame the time, and its ModerationLabels."""
        moderator = task.context.services.vision.moderation
        least = task.request.get("MinConfidence", DEFAULT_MIN_CONFIDENCE)
        still = Still[list[dict[str, Any]]]()

        def seen(frame: Frame) -> list[dict[str, Any]]:
            return still.see(
                thumbnail(frame.luminance), lambda: moderation_labels(moderator.moderate(frame.pixels), least)
            )

        return [(frame.time_ms, seen(frame)) for frame in frames]

    def conclude(self, task: Task, parts: Iterable[Part]) -> Iterator[Result]:
        known: dict[str, dict[str, Any]] = {}
        for time_ms, labels in timeline.samples(parts):
            for label in labels:
                known[label["Name"]] = label
                body = {"Timestamp": time_ms, "ModerationLabel": label, "ContentTypes": []}
                yield timeline.result(time_ms, label["Name"], label["Confidence"], body)
        confidences = (
            (time_ms, {label["Name"]: label["Confidence"] for label in labels})
            for time_ms, labels in timeline.samples(parts)
        )
        for segment in timeline.segments(confidences, task.video):
            label = known[segment.name] | {"Confidence": segment.confidence}
            yield timeline.of_segment(segment, {"ModerationLabel": label, "ContentTypes": []})
