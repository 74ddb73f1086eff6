"""FaceSearch: who of a collection is seen in a video, and when."""

from collections.abc import Iterable, Iterator
from typing import Any

from regard.media.video import Chunk, Frame
from regard.operations import searching
from regard.operations.context import Context, Request
from regard.operations.video.analysis import DEFAULT_INTERVAL_MS, Part, Result, Task
from regard.operations.video.people import Paths, observe
from regard.store.collections import Collection
from regard.vision.tracking import Track

MAX_MATCHES = 100  # of a person, repeated at each time that he or she is seen; AWS names no limit


class FaceSearch:
    """Everybody whose face is seen, with the faces of the collection that it resembles.

    A track is searched for once, by one of its best faces, and what is found is told at each of its times.
    """

    def interval_ms(self, request: Request) -> int:
        return DEFAULT_INTERVAL_MS

    def margin(self, request: Request) -> int:
        return 0

    def check(self, context: Context, request: Request) -> None:
        _collection(context, request)

    def observe(self, task: Task, chunk: Chunk, frames: Iterable[Frame]) -> Part:
        return observe(task, frames)

    def conclude(self, task: Task, parts: Iterable[Part]) -> Iterator[Result]:
        paths = Paths.found(task, parts)
        collection = _collection(task.context, task.request)
        matches = [_matches(task, collection, track) if track.believed else [] for track in paths.tracks]
        for seen in paths.walk(parts):
            if "Face" in seen.person:
                body = {"Timestamp": seen.time_ms, "Person": seen.person, "FaceMatches": matches[seen.track]}
                yield Result(seen.time_ms, seen.index, body)


def _collection(context: Context, request: Request) -> Collection:
    return context.comparable(context.collection(request["CollectionId"]))


def _matches(task: Task, collection: Collection, track: Track) -> list[dict[str, Any]]:
    probe = track.face()
    if probe is None:
        return []
    return searching.face_matches(task.context, collection, {**task.request, "MaxFaces": MAX_MATCHES}, probe)
