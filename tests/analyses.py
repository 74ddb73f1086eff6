"""Run a video analysis on a file without jobs: inspect, observe each chunk, keep as JSON, conclude."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from regard.media import video as media
from regard.media.video import Chunk, Video
from regard.operations.context import Context, Request
from regard.operations.video.analysis import Analysis, Result, Task


def analyse(
    context: Context, analysis: Analysis, source: Path, request: Request, cuts: Sequence[int] | None = None
) -> list[Result]:
    """The results, with the video's own chunks or with those that begin at the frames `cuts` beside the first."""
    analysis.check(context, request)
    video = media.inspect(source)
    if cuts is not None:
        video = replace(video, chunks=tuple(chunks(video, cuts)))
    task = Task(context, request, video)
    parts = {chunk.number: observed(task, analysis, source, chunk) for chunk in reversed(video.chunks)}
    return list(analysis.conclude(task, Kept([parts[number] for number in range(len(parts))])))


def chunks(video: Video, cuts: Sequence[int]) -> list[Chunk]:
    starts, stops = [0, *cuts], [*cuts, len(video.times_ms)]
    return [Chunk(number, start, stop) for number, (start, stop) in enumerate(zip(starts, stops, strict=True))]


def observed(task: Task, analysis: Analysis, source: Path, chunk: Chunk) -> str:
    """What is kept of a chunk."""
    interval, margin = analysis.interval_ms(task.request), analysis.margin(task.request)
    frames = media.frames(source, task.video, chunk, interval, margin)
    return json.dumps(analysis.observe(task, chunk, frames), default=np.ndarray.tolist)


class Kept:
    """Parts as a job keeps them: read anew each time that they are gone through."""

    def __init__(self, parts: Sequence[str]) -> None:
        self._parts = parts

    def __iter__(self) -> Any:
        return (json.loads(part) for part in self._parts)
