"""StartTextDetection, GetTextDetection: lines and words in a video, twice a second.

Filters are those of DetectText, and so is what passes them, and the order and the numbers of lines and words within
a frame.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from regard.media.video import Chunk, Frame
from regard.operations.context import Context, Request
from regard.operations.text import Filters, text_detections
from regard.operations.video import timeline
from regard.operations.video.analysis import DEFAULT_INTERVAL_MS, Part, Result, Task
from regard.vision.still import Still
from regard.vision.video_text import VideoTextReader, fine


class TextDetection:
    def interval_ms(self, request: Request) -> int | None:
        return DEFAULT_INTERVAL_MS

    def margin(self, request: Request) -> int:
        return 0

    def check(self, context: Context, request: Request) -> None:
        Filters.of(request)

    def observe(self, task: Task, chunk: Chunk, frames: Iterable[Frame]) -> Part:
        """Of each frame the time, and its TextDetections."""
        reader, filters = VideoTextReader(task.context.services.vision.text), Filters.of(task.request)
        still = Still[list[dict[str, Any]]]()

        def seen(frame: Frame) -> list[dict[str, Any]]:
            return still.see(fine(frame.luminance), lambda: text_detections(reader, frame.pixels, filters))

        return [(frame.time_ms, seen(frame)) for frame in frames]

    def conclude(self, task: Task, parts: Iterable[Part]) -> Iterator[Result]:
        for time_ms, detections in timeline.samples(parts):
            for detection in detections:
                yield Result(time_ms, detection["Id"], {"Timestamp": time_ms, "TextDetection": detection})
