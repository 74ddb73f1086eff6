"""`regard` with a small analysis of video of its own, whose results are known exactly: python luminance.py serve …

StartLabelDetection calls a frame Bright or Dark by its mean luminance. JobTag says what else shall happen. Every
chunk that is looked at is noted in the file chunks.log of the data folder.
"""

import os
import signal
import time
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from regard import cli
from regard.media import video
from regard.media.video import Chunk, Frame
from regard.operations import OPERATIONS
from regard.operations.context import Context, Request
from regard.operations.video import ANALYSES, jobs
from regard.operations.video.analysis import Result, Task
from regard.wire.errors import InvalidParameterException, ResourceNotFoundException

INTERVAL_MS = 100
CHUNK_MS = 1000
PAUSE_S = 0.02  # so that a job lasts long enough to be disturbed
LONG_PAUSE_S = 0.5


class Luminance:  # implements Analysis
    def interval_ms(self, request: Request) -> int:
        return INTERVAL_MS

    def margin(self, request: Request) -> int:
        return 0

    def check(self, context: Context, request: Request) -> None:
        if request.get("JobTag") == "refused":
            raise InvalidParameterException("There is no such thing as luminance.")

    def observe(self, task: Task, chunk: Chunk, frames: Iterable[Frame]) -> Any:
        times, means = [], []
        for frame in frames:
            times.append(frame.time_ms)
            means.append(frame.luminance.mean())
            time.sleep(LONG_PAUSE_S if task.request.get("JobTag") == "lasts" else PAUSE_S)
        with (Path(os.environ["REGARD_HOME"]) / "chunks.log").open("a") as log:
            log.write(f"{os.getpid()} {chunk.number}\n")
        if chunk.number == 1:
            misbehave(task.request.get("JobTag"))
        return {"times": times, "means": np.array(means)}

    def conclude(self, task: Task, parts: Iterable[Any]) -> Iterator[Result]:
        seen = [pair for part in parts for pair in zip(part["times"], part["means"], strict=True)]
        assert seen == [pair for part in parts for pair in zip(part["times"], part["means"], strict=True)]
        for time_ms, mean in reversed(seen):  # the order is the store's business
            label = {"Name": name(mean), "Confidence": float(np.float32(mean / 255 * 100))}
            yield Result(time_ms, label["Name"], {"Timestamp": time_ms, "Label": label})
        for what, run in groupby(seen, lambda pair: name(pair[1])):
            start, *_, stop = [time_ms for time_ms, _ in run] * 2
            times = {"StartTimestampMillis": start, "EndTimestampMillis": stop, "DurationMillis": stop - start}
            yield Result(start, what, {"Timestamp": start, "Label": {"Name": what}, **times}, "SEGMENTS")


def name(mean: float) -> str:
    return "Bright" if mean >= 128 else "Dark"


def misbehave(tag: str | None) -> None:
    match tag:
        case "kills":
            os.kill(os.getpid(), signal.SIGKILL)
        case "raises":
            raise RuntimeError("a mistake in the analysis")
        case "refuses":
            raise ResourceNotFoundException("The collection id: gone does not exist")


video.inspect = partial(video.inspect, chunk_ms=CHUNK_MS)
ANALYSES["LabelDetection"] = Luminance()  # type: ignore[index]
OPERATIONS.update(jobs.operations())

if __name__ == "__main__":
    cli.app()
