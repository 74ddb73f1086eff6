"""Analyse a video here and now, by several kinds of analysis at once: for the command line, benchmarks and tests.

Each chunk is decoded once, whatever the number of analyses. They pull frames at their own pace, each in a thread of
its own, from queues that hold a few frames and no more. What was seen waits on disk, as JSON, which is how a job
keeps it as well: memory does not grow with the video.
"""

import math
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Full, Queue
from threading import Event
from typing import Any, cast

import numpy as np
import orjson

from regard.media import video as media
from regard.media.video import Chunk, Frame, Video
from regard.operations.context import Context, Request, Services
from regard.operations.video import ANALYSES
from regard.operations.video.analysis import Part, Result, Task
from regard.settings import Settings
from regard.use.keys import Principal
from regard.vision.engines import Engines

# Frames that wait for an analysis: enough that decoding and networks do not wait for each other in turn.
_WAITING_FRAMES = 4
_PATIENCE_S = 0.1  # between two looks at whether an analysis still wants frames

Progress = Callable[[int], None]
"""Told, from any thread, how many frames of the video have gone by since it was last told."""


def _silent(_: int) -> None:
    pass


class _Absent:
    """In place of a service that there is not."""

    def __getattr__(self, name: str) -> Any:
        raise LookupError(f"There is no {name} without a server.")


def context(settings: Settings) -> Context:
    """A caller without a server, for analyses that need no database and no collection: networks are all there is."""
    absent = cast(Any, _Absent())
    services = Services(settings, absent, absent, Engines(settings), absent, absent, absent)
    return Context(Principal("local", "000000000000", secret=""), services)


@dataclass(frozen=True, slots=True)
class Observed:
    """A video that has been looked through by some kinds of analysis."""

    tasks: Mapping[str, Task]
    video: Video
    _parts: Mapping[str, Iterable[Part]]

    def results(self, kind: str) -> Iterator[Result]:
        """What an analysis concludes, in its own order; may be asked for again."""
        return ANALYSES[kind].conclude(self.tasks[kind], self._parts[kind])


@contextmanager
def observed(
    context: Context, source: Path, video: Video, requests: Mapping[str, Request], progress: Progress = _silent
) -> Iterator[Observed]:
    """A video looked through by analyses, for a request of each by kind; the results can be had inside the context.

    Requests are as they were validated, `Video` left out. Chunks are worked on in parallel, as many as there are
    threads in the settings. Raises `media.video.VideoError`, `models.ModelError` and what the analyses refuse.
    """
    for kind, request in requests.items():
        ANALYSES[kind].check(context, request)
    tasks = {kind: Task(context, request, video) for kind, request in requests.items()}
    with tempfile.TemporaryDirectory(prefix="regard-") as folder:
        kept = {kind: _Parts(Path(folder, kind), len(video.chunks)) for kind in tasks}

        def look(chunk: Chunk) -> None:
            for kind, part in observe(source, tasks, chunk, progress).items():
                kept[kind].keep(chunk, part)

        with ThreadPoolExecutor(context.services.settings.threads, "chunks") as pool:
            running = [pool.submit(look, chunk) for chunk in video.chunks]
            done, _ = wait(running, return_when=FIRST_EXCEPTION)
            pool.shutdown(cancel_futures=True)
        for future in done:
            future.result()
        yield Observed(tasks, video, kept)


def analyse(
    context: Context, source: Path, requests: Mapping[str, Request], progress: Progress = _silent
) -> dict[str, list[Result]]:
    """All results by kind, see `observed`."""
    with observed(context, source, media.inspect(source), requests, progress) as seen:
        return {kind: list(seen.results(kind)) for kind in requests}


def observe(source: Path, tasks: Mapping[str, Task], chunk: Chunk, progress: Progress = _silent) -> dict[str, Part]:
    """What analyses see in a chunk, by kind; its frames are decoded once for all of them."""
    (video,) = {id(task.video): task.video for task in tasks.values()}.values()
    intervals = {kind: ANALYSES[kind].interval_ms(task.request) for kind, task in tasks.items()}
    margins = {kind: ANALYSES[kind].margin(task.request) for kind, task in tasks.items()}
    frames = media.frames(source, video, chunk, _common(intervals.values()), max(margins.values()))
    counted = _counted(frames, chunk, progress)
    if len(tasks) == 1:
        return {kind: ANALYSES[kind].observe(task, chunk, counted) for kind, task in tasks.items()}
    feeds = {kind: _Feed(_wanted(video, chunk, intervals[kind], margins[kind])) for kind in tasks}

    def look(kind: str) -> Part:
        try:
            return ANALYSES[kind].observe(tasks[kind], chunk, feeds[kind])
        finally:
            feeds[kind].close()

    with ThreadPoolExecutor(len(tasks), "analyses") as pool:
        running = {kind: pool.submit(look, kind) for kind in tasks}
        try:
            for frame in counted:
                for feed in feeds.values():
                    feed.give(frame)
        finally:
            for feed in feeds.values():
                feed.give(None)
    return {kind: future.result() for kind, future in running.items()}


class _Feed:
    """The frames that one analysis wants, on their way from the thread that decodes to the analysis's own."""

    def __init__(self, wanted: frozenset[int]) -> None:
        self._wanted = wanted
        self._queue: Queue[Frame | None] = Queue(_WAITING_FRAMES)
        self._closed = Event()

    def give(self, frame: Frame | None) -> None:
        """Hand over a frame, if it is wanted, or None at the end; waits while enough are waiting."""
        if frame is not None and frame.number not in self._wanted:
            return
        while not self._closed.is_set():
            with suppress(Full):
                self._queue.put(frame, timeout=_PATIENCE_S)
                return

    def close(self) -> None:
        """The analysis wants no more."""
        self._closed.set()

    def __iter__(self) -> Iterator[Frame]:
        return iter(self._queue.get, None)


class _Parts:
    """What was seen in the chunks of a video, each in a file of a folder; read one at a time."""

    def __init__(self, folder: Path, count: int) -> None:
        folder.mkdir()
        self._folder, self._count = folder, count

    def keep(self, chunk: Chunk, part: Part) -> None:
        self._file(chunk.number).write_bytes(orjson.dumps(part, np.ndarray.tolist, orjson.OPT_SERIALIZE_NUMPY))

    def __iter__(self) -> Iterator[Part]:
        for number in range(self._count):
            yield orjson.loads(self._file(number).read_bytes())

    def _file(self, number: int) -> Path:
        return self._folder / f"{number}.json"


def _common(intervals: Iterable[int | None]) -> int | None:
    """The interval whose frames are all that any of these needs: the first of an interval is that of a part, too."""
    known = list(intervals)
    return None if None in known else math.gcd(*(interval for interval in known if interval is not None))


def _wanted(video: Video, chunk: Chunk, interval_ms: int | None, margin: int) -> frozenset[int]:
    """The numbers of the frames that an analysis of a chunk is given."""
    start = max(0, chunk.start - margin)
    looked_at = media.sampled(video, interval_ms)[start : chunk.stop + margin]
    return frozenset((start + np.flatnonzero(looked_at)).tolist())


def _counted(frames: Iterable[Frame], chunk: Chunk, progress: Progress) -> Iterator[Frame]:
    """The same frames; tells how many of the chunk's own, looked at or not, have gone by."""
    gone = chunk.start
    for frame in frames:
        yield frame
        here = min(max(frame.number + 1, gone), chunk.stop)
        progress(here - gone)
        gone = here
    progress(chunk.stop - gone)
