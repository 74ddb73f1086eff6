"""How fast stored video is analysed, beside its bare decoding, how that grows with workers, and in how much memory.

    python -m benchmarks.video             the table, and one worker process beside two
    python -m benchmarks.video long KIND   a video of two hours, in which a camera rests mostly: memory

The clip is three minutes of 720p30, H.264: photos over which a camera travels, so that no two frames are the same and
nothing is saved by that. Each kind runs in a process of its own, on all cores, networks loaded before. "Could be" is
how many times faster than real time it is if nothing else runs on the cores and none of them waits: by processor time.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from itertools import count, repeat
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import psutil
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks.decode import bare_decode
from benchmarks.figures import note
from regard.analyze import NAMES
from regard.demo import Running, temporary_server
from regard.media.images import decode
from regard.media.video import inspect
from regard.operations.video import local
from regard.settings import Settings
from regard.vision import models

WIDTH, HEIGHT, RATE = 1280, 720, 30
CLOSER = 1.4  # times as large a photo is in the end
SHOT = 4 * RATE  # frames over one photo
REST = 19 * SHOT  # frames that the camera rests after it, in the long video
SECONDS, LONG_SECONDS = 180, 2 * 3600
WORKERS = (1, 2)
JOBS = 2
LEAST = {"labels": 3.0, "faces": 3.0, "moderation": 3.0, "shots": 4.0, "text": 0.5}
"""Goals, times real time."""
SCALED_KIND = "labels"
MEASURED = {**NAMES, "shots": ("SegmentDetection", {"SegmentTypes": ["SHOT"]})}
Picture = NDArray[np.uint8]


def travel(photo: Picture, frames: int) -> Iterator[Picture]:
    """What a camera sees that moves across a photo and closer."""
    fit = CLOSER * max(WIDTH / photo.shape[1], HEIGHT / photo.shape[0])
    photo = np.asarray(cv2.resize(photo, None, fx=fit, fy=fit, interpolation=cv2.INTER_AREA), np.uint8)
    height, width = photo.shape[:2]
    for share in np.linspace(0, 1, frames):
        zoom = CLOSER + (1 - CLOSER) * share
        left, top = (width - zoom * WIDTH) * share, (height - zoom * HEIGHT) * share / 2
        matrix = np.array([[zoom, 0, left], [0, zoom, top]], np.float64)
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        yield np.asarray(cv2.warpAffine(photo, matrix, (WIDTH, HEIGHT), flags=flags), np.uint8)


def film(path: Path, frames: Iterator[Picture]) -> Path:
    with av.open(path, "w") as file:
        stream = file.add_stream("libx264", RATE, options={"preset": "veryfast", "g": str(2 * RATE)})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for picture in frames:
            file.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        file.mux(stream.encode(None))
    return path


def repeated(path: Path, source: Path, seconds: float) -> Path:
    """The same film over and over until it lasts so long, nothing encoded anew."""
    with av.open(source) as read, av.open(path, "w") as written:
        stream = read.streams.video[0]
        copy = written.add_stream_from_template(stream)
        base = stream.time_base or Fraction(1, 90_000)
        packets = [(bytes(p), p.pts, p.dts, p.duration, p.is_keyframe) for p in read.demux(stream) if p.size]
        length = max(pts + duration for _, pts, _, duration, _ in packets if pts is not None and duration)
        for turn in count():
            if turn * length * base >= seconds:
                break
            for data, pts, dts, duration, key in packets:
                packet = av.Packet(data)
                packet.stream, packet.time_base, packet.is_keyframe = copy, base, key
                packet.pts, packet.dts, packet.duration = pts + turn * length, dts + turn * length, duration
                written.mux(packet)
    return path


def clip(folder: Path) -> Path:
    """Three minutes of film."""
    photos = models.photos(Settings().cache).values()
    once = film(folder / "once.mp4", (picture for path in photos for picture in travel(_photo(path), SHOT)))
    return repeated(folder / "clip.mp4", once, SECONDS)


def long_clip(folder: Path) -> Path:
    """Two hours of film, in which the camera rests most of the time: so many frames, and an answer for each that is
    looked at, but fewer different ones."""

    def seen(photo: Picture) -> Iterator[Picture]:
        for picture in travel(photo, SHOT):
            yield picture
        yield from repeat(picture, REST)

    photos = models.photos(Settings().cache).values()
    once = film(folder / "once.mp4", (picture for path in photos for picture in seen(_photo(path))))
    return repeated(folder / "long.mp4", once, LONG_SECONDS)


def _photo(path: Path) -> Picture:
    return decode(path.read_bytes())


def measure(kind: str, path: Path, warm: Path) -> None:
    """Prints as JSON the seconds that an analysis takes, also of processor time, and the most memory of this process
    in MB."""
    name, request = MEASURED[kind]
    context = local.context(Settings())
    local.analyse(context, warm, {name: request})
    started, worked = time.perf_counter(), time.process_time()
    with local.observed(context, path, inspect(path), {name: request}) as seen:
        results = sum(1 for _ in seen.results(name))
    taken, worked = time.perf_counter() - started, time.process_time() - worked
    with open("/proc/self/status", encoding="utf-8") as file:  # noqa: PTH123 — not a file of ours
        peak = next(int(line.split()[1]) for line in file if line.startswith("VmHWM")) / 1024
    print(json.dumps({"seconds": taken, "processor": worked, "peak": peak, "results": results}))


def measured(kind: str, path: Path, warm: Path) -> Mapping[str, Any]:
    """What `measure` says in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.video", "measure", kind, str(path), str(warm)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return dict(json.loads(done.stdout))


def table(path: Path, warm: Path, kinds: list[str]) -> Table:
    length, frames = inspect(path).duration_ms / 1000, len(inspect(path).times_ms)
    cores = Settings().threads
    found = Table(title=f"{length:.0f} s of 720p30, H.264, {cores} cores")
    for column in (
        "What",
        "× real time",
        "Cores used",
        "Could be",
        "Frames/s",
        "Time in decodings",
        "Peak MB",
        "Results",
    ):
        found.add_column(column, justify="left" if column == "What" else "right")
    started = time.perf_counter()
    bare_decode(path)
    bare = time.perf_counter() - started
    found.add_row("bare decoding, one thread", f"{length / bare:.1f}", "1.0", "", f"{frames / bare:.0f}", "1.0", "", "")
    for kind in kinds:
        taken = measured(kind, path, warm)
        note(f"video, {kind}: times real time", length / taken["seconds"], least=LEAST.get(kind))
        found.add_row(
            kind,
            f"{length / taken['seconds']:.1f}",
            f"{taken['processor'] / taken['seconds']:.1f}",
            f"{cores * length / taken['processor']:.1f}",
            f"{frames / taken['seconds']:.0f}",
            f"{taken['seconds'] / bare:.1f}",
            f"{taken['peak']:.0f}",
            str(taken["results"]),
        )
    return found


@contextmanager
def workers(server: Running, number: int) -> Iterator[list[psutil.Process]]:
    """So many worker processes of one thread each."""
    environment = server.environment | {"REGARD_THREADS": "1", "REGARD_WORKERS": "1"}
    with ExitStack() as stack:
        processes = []
        for _ in range(number):
            process = psutil.Popen([sys.executable, "-m", "regard", "worker"], env=environment)
            stack.callback(process.wait)
            stack.callback(process.terminate)
            processes.append(process)
        yield processes


def jobs(server: Running, video: Path, number: int) -> float:
    """The seconds that so many jobs of a video take."""
    name, request = NAMES[SCALED_KIND]
    client = server.client()
    start, get = (getattr(client, operation) for operation in (_operation("start", name), _operation("get", name)))
    place = {"S3Object": {"Bucket": video.parent.name, "Name": video.name}}
    started = time.perf_counter()
    begun = [start(Video=place, **request)["JobId"] for _ in range(number)]
    while statuses := {get(JobId=job_id, MaxResults=1)["JobStatus"] for job_id in begun} - {"SUCCEEDED"}:
        assert "FAILED" not in statuses
        time.sleep(0.1)
    return time.perf_counter() - started


def _operation(verb: str, kind: str) -> str:
    return verb + "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in kind)


def scaling(path: Path, warm: Path, console: Console) -> None:
    """One worker process beside two, each on one thread, on the same jobs."""
    rates = []
    for number in WORKERS:
        with (
            temporary_server(Settings(), REGARD_BUCKETS=str(path.parent.parent), REGARD_WORKERS="0") as server,
            workers(server, number) as processes,
        ):
            jobs(server, warm, 2 * number)  # networks are loaded
            worked = _processor_s(processes)
            taken = jobs(server, path, JOBS)
            rates.append(JOBS * inspect(path).duration_ms / 1000 / taken)
            console.print(
                f"{number} worker processes of one thread, {SCALED_KIND}: {rates[-1]:.1f} × real time, "
                f"{(_processor_s(processes) - worked) / taken:.1f} cores used"
            )
    note("video: two workers / one", rates[-1] / rates[0], least=1.6)
    console.print(f"Two are {rates[-1] / rates[0]:.2f} times as fast as one.")


def _processor_s(processes: list[psutil.Process]) -> float:
    return sum(sum(process.cpu_times()[:2]) for process in processes)


@contextmanager
def films(make: Callable[[Path], Path]) -> Iterator[tuple[Path, Path]]:
    """What is made, and a second of film to load the networks with, in a folder that is a bucket."""
    with tempfile.TemporaryDirectory(prefix="regard-") as folder:
        bucket = Path(folder, "buckets", "films")
        bucket.mkdir(parents=True)
        photo = decode(models.photos(Settings().cache)["obama2"].read_bytes())
        yield make(bucket), film(bucket / "warm.mp4", travel(photo, RATE))


def main(kinds: list[str] | None = None) -> None:
    console = Console()
    with films(clip) as (path, warm):
        console.print(table(path, warm, kinds or list(MEASURED)))
        scaling(path, warm, console)


def long(kind: str) -> None:
    """Memory for two hours."""
    with films(long_clip) as (path, warm):
        taken = measured(kind, path, warm)
        length = inspect(path).duration_ms / 3_600_000
        note(f"video, {length:.0f} hours, {kind}: peak memory", taken["peak"], "MB", most=2500)
        Console().print(f"{length:.1f} hours, {kind}: {taken['peak']:.0f} MB at most, {taken['results']} results")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["measure", kind, path, warm]:
            measure(kind, Path(path), Path(warm))
        case ["long", kind]:
            long(kind)
        case kinds if unknown := set(kinds) - set(MEASURED):
            sys.exit(f"{', '.join(sorted(unknown))}: not one of {', '.join(MEASURED)}")
        case kinds:
            main(kinds or None)
