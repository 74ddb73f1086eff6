"""StartLabelDetection, GetLabelDetection: what a video shows, twice a second.

Filters are those of DetectLabels, and so is what passes them; instances have no colours, and segments no instances,
as at AWS.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from regard.media.video import Chunk, Frame
from regard.operations import shapes
from regard.operations.context import Context, Request
from regard.operations.labels import chosen, described, instances
from regard.operations.video import timeline
from regard.operations.video.analysis import DEFAULT_INTERVAL_MS, Part, Result, Task
from regard.vision.taxonomy import concepts
from regard.vision.video_labels import LabelWatcher

DEFAULT_MIN_CONFIDENCE = 50.0


class LabelDetection:
    def interval_ms(self, request: Request) -> int | None:
        return DEFAULT_INTERVAL_MS

    def margin(self, request: Request) -> int:
        return 0

    def check(self, context: Context, request: Request) -> None:
        """The service model leaves nothing to be refused: a label that does not exist is not an error."""

    def observe(self, task: Task, chunk: Chunk, frames: Iterable[Frame]) -> Part:
        """Of each frame the time, and its labels: name, confidence, and confidence and box of each instance."""
        watcher = LabelWatcher(task.context.services.vision)
        least = task.request.get("MinConfidence", DEFAULT_MIN_CONFIDENCE)
        filters = task.request.get("Settings", {}).get("GeneralLabels", {})
        size = task.video.width, task.video.height

        def seen(frame: Frame) -> list[Any]:
            found = chosen(watcher.look(frame.pixels, frame.luminance, frame.time_ms), least, filters)
            return [
                (
                    label.concept.name,
                    label.confidence,
                    [(one.confidence, shapes.ratios(one.box, size)) for one in instances(label, least)],
                )
                for label in found
            ]

        return [(frame.time_ms, seen(frame)) for frame in frames]

    def conclude(self, task: Task, parts: Iterable[Part]) -> Iterator[Result]:
        for time_ms, labels in timeline.samples(parts):
            for name, confidence, things in labels:
                label = described(concepts()[name], confidence) | {"Instances": [_instance(*one) for one in things]}
                yield timeline.result(time_ms, name, confidence, {"Timestamp": time_ms, "Label": label})
        confidences = (
            (time_ms, {name: confidence for name, confidence, _ in labels})
            for time_ms, labels in timeline.samples(parts)
        )
        for segment in timeline.segments(confidences, task.video):
            yield timeline.of_segment(segment, {"Label": described(concepts()[segment.name], segment.confidence)})


def _instance(confidence: float, box: tuple[float, float, float, float]) -> Mapping[str, Any]:
    return {"BoundingBox": shapes.bounding_box(box), "Confidence": confidence}
