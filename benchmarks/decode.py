"""How fast videos are read, beside FFmpeg's bare decoding: what is left for the networks.

`python -m benchmarks.decode VIDEO…` prints, for one thread, frames of the video a second of each way of reading it.
"""

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import av

from regard.media.video import Video, frames, inspect

INTERVAL_MS = 500
THUMBNAIL = (48, 27)


def bare_decode(path: Path) -> int:
    """Decodes all frames and drops them, on one thread; how many there were."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_count = 1
        return sum(1 for _ in container.decode(stream))


def everything(path: Path, video: Video, interval_ms: int | None, look: Callable[[object], object]) -> int:
    """Reads all chunks of a video, one after another; how many frames the video has."""
    for chunk in video.chunks:
        for frame in frames(path, video, chunk, interval_ms):
            look(frame)
    return len(video.times_ms)


def ways(path: Path) -> Iterator[tuple[str, Callable[[], int]]]:
    video = inspect(path)
    yield "looking through it", lambda: len(inspect(path).times_ms)
    yield "bare decoding", lambda: bare_decode(path)
    yield "every frame", lambda: everything(path, video, None, lambda _: None)
    yield (
        f"{THUMBNAIL[0]}×{THUMBNAIL[1]} of every frame",
        lambda: everything(path, video, None, lambda frame: frame.scaled(*THUMBNAIL)),
    )
    yield "luminance of every frame", lambda: everything(path, video, None, lambda frame: frame.luminance)
    yield "RGB of every frame", lambda: everything(path, video, None, lambda frame: frame.pixels)
    yield f"RGB every {INTERVAL_MS} ms", lambda: everything(path, video, INTERVAL_MS, lambda frame: frame.pixels)


def main() -> None:
    for path in map(Path, sys.argv[1:]):
        video = inspect(path)
        print(f"{path.name}: {video.codec}, {video.width}×{video.height}, {video.frame_rate:.3g} frames a second")
        for name, read in ways(path):
            start = time.process_time()
            count = read()
            spent = time.process_time() - start
            speed = count / spent
            print(f"  {name:28} {speed:8.0f} frames/s of processor time, {speed / video.frame_rate:6.1f} × real time")


if __name__ == "__main__":
    main()
