"""How fast faces and people are found in video, decoding included.

    python -m benchmarks.people [VIDEO…]

Processor time, which is the wall time of one idle core and steady on a busy machine; chunks are looked at in parallel,
so that cores add up. Without a VIDEO a clip of 1280 × 720 pixels and 30 frames a second is made, in which two people
are seen all the time.
"""

import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from tests.scenes import crossing
from tests.videos import make_video

from regard.media import video as media
from regard.operations.context import Context
from regard.operations.video import ANALYSES
from regard.operations.video.analysis import DEFAULT_INTERVAL_MS, Task
from regard.settings import Settings
from regard.vision import models
from regard.vision.engines import Engines

KINDS = ("FaceDetection", "FaceSearch", "PersonTracking")  # CelebrityRecognition looks as FaceSearch does
SECONDS, RATE, SIZE = 8, 30, (1280, 720)
GOP = 250  # as x264 has it unless told otherwise
CORES = 2


def clip(folder: Path, settings: Settings) -> Path:
    """Two people who walk past each other."""
    photos = models.photos(settings.cache)
    front, behind = (
        np.asarray(cv2.imread(str(photos[name])), np.uint8)[:, :, ::-1].copy() for name in ("obama", "biden")
    )
    scene = crossing(front, behind, SECONDS * RATE)
    return make_video(folder / "two people.mp4", (larger(picture) for picture in scene), rate=RATE, gop=GOP)


def larger(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(cv2.resize(picture, SIZE, interpolation=cv2.INTER_CUBIC), np.uint8)


def measured(path: Path, context: Context) -> Iterator[tuple[str, float]]:
    """Seconds of processor time for a second of the video, of decoding and of each kind."""
    video = media.inspect(path)
    for name in ("decoding", *KINDS):
        started = 0.0
        for chunk in video.chunks:
            if name == "decoding":
                started = started or time.process_time()
                for _ in media.frames(path, video, chunk, DEFAULT_INTERVAL_MS):
                    pass
                continue
            analysis = ANALYSES[name]
            task = Task(context, {}, video)
            if not started:
                analysis.observe(task, chunk, media.frames(path, video, chunk, 4000))  # loads the networks
                started = time.process_time()
            analysis.observe(task, chunk, media.frames(path, video, chunk, analysis.interval_ms({})))
        yield name, (time.process_time() - started) * 1000 / video.duration_ms


def main() -> None:
    settings = Settings()
    context = cast("Context", SimpleNamespace(services=SimpleNamespace(vision=Engines(settings))))
    table = Table("video", "", "processor s per s", f"× real time on {CORES} cores")
    with tempfile.TemporaryDirectory() as folder:
        for path in map(Path, sys.argv[1:]) if sys.argv[1:] else [clip(Path(folder), settings)]:
            for name, seconds in measured(path, context):
                table.add_row(path.name, name, f"{seconds:.3f}", f"{CORES / seconds:.1f}")
    Console().print(table)


if __name__ == "__main__":
    main()
