"""CelebrityRecognition: when the people whom the operator has imported are seen in a video."""

from collections.abc import Iterable, Iterator

import numpy as np

from regard.media.video import Chunk, Frame
from regard.operations import celebrities
from regard.operations.context import Context, Request
from regard.operations.video.analysis import DEFAULT_INTERVAL_MS, Part, Result, Task
from regard.operations.video.people import Paths, observe


class CelebrityRecognition:
    """Celebrities at each time that their face is seen; a track is recognised once, as in FaceSearch."""

    def interval_ms(self, request: Request) -> int:
        return DEFAULT_INTERVAL_MS

    def margin(self, request: Request) -> int:
        return 0

    def check(self, context: Context, request: Request) -> None:
        celebrities.comparable(context)

    def observe(self, task: Task, chunk: Chunk, frames: Iterable[Frame]) -> Part:
        return observe(task, frames)

    def conclude(self, task: Task, parts: Iterable[Part]) -> Iterator[Result]:
        paths = Paths.found(task, parts)
        faces = {
            number: face
            for number, track in enumerate(paths.tracks)
            if track.believed and (face := track.face()) is not None
        }
        found = celebrities.recognise(task.context, np.array(list(faces.values()), np.float32))
        known = {number: match for number, match in zip(faces, found, strict=True) if match is not None}
        for seen in paths.walk(parts):
            if seen.track in known and "Face" in seen.person:
                celebrity, similarity = known[seen.track]
                detail = celebrities.info(celebrity) | {
                    "Id": celebrity.celebrity_id,
                    "Confidence": similarity,
                    "BoundingBox": seen.person["BoundingBox"],
                    "Face": seen.person["Face"],
                }
                yield Result(seen.time_ms, celebrity.celebrity_id, {"Timestamp": seen.time_ms, "Celebrity": detail})
