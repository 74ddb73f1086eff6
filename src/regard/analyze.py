"""What analyses see in a video, written down and drawn: results as AWS shapes them, a contact sheet, a video.

No server and no database: whoever has a video on disk can see at once what the networks make of it. Frames are
decoded once for all analyses; for the annotated video a second time, since who is who is only known at the end.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import orjson
from botocore.model import ListShape, Shape
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.progress import Task as Bar
from rich.text import Text

from regard import film
from regard.media import video as media
from regard.media.video import Video
from regard.operations.video import ANALYSES, local
from regard.operations.video.analysis import Result
from regard.operations.video.jobs import KINDS
from regard.operations.video.work import metadata
from regard.settings import Settings
from regard.wire.serialise import serialise_value
from regard.wire.service import operation, output_shape

NAMES: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "labels": ("LabelDetection", {}),
    "faces": ("FaceDetection", {}),
    "people": ("PersonTracking", {}),
    "text": ("TextDetection", {}),
    "moderation": ("ContentModeration", {}),
    "segments": ("SegmentDetection", {"SegmentTypes": ["TECHNICAL_CUE", "SHOT"]}),
}
"""The analyses that need no collection, by the name on the command line: their kinds, and what is asked of them."""


def names() -> list[str]:
    """Those that are built."""
    return [name for name, (kind, _) in NAMES.items() if kind in ANALYSES]


def analyze(
    settings: Settings, source: Path, chosen: list[str], out: Path, console: Console, *, annotate: bool
) -> list[Path]:
    """Analyse a video and write what is seen into a folder; the files, most telling first.

    Raises `media.video.VideoError`, `models.ModelError` and OSError.
    """
    video = media.inspect(source)
    requests = {NAMES[name][0]: NAMES[name][1] for name in chosen}
    with _bars(console) as bars, TemporaryDirectory(prefix="regard-") as folder:
        bar = bars.add_task("Looking", total=len(video.times_ms))
        with local.observed(
            local.context(settings), source, video, requests, lambda frames: bars.advance(bar, frames)
        ) as seen:
            kept = {kind: Records(Path(folder, kind), kind, seen.results(kind)) for kind in requests}
        files = [out / f"{source.stem}-{name}.json" for name in chosen]
        for file, (kind, request) in zip(files, requests.items(), strict=True):
            _write(file, kind, request, video, kept[kind])
        sheet = out / f"{source.stem}.png"
        film.contact_sheet(_film(source, video, requests, kept), sheet)
        if not annotate:
            return [sheet, *files]
        annotated = out / f"{source.stem}-annotated.mp4"
        bar = bars.add_task("Drawing", total=len(video.times_ms))
        film.annotate(_film(source, video, requests, kept), annotated, lambda: bars.advance(bar))
        return [annotated, sheet, *files]


def _film(
    source: Path, video: Video, requests: Mapping[str, Mapping[str, Any]], kept: Mapping[str, "Records"]
) -> film.Film:
    timelines = {
        kind: film.Timeline(kept[kind], ANALYSES[kind].interval_ms(request)) for kind, request in requests.items()
    }
    segments = [body for _, body in kept.get("SegmentDetection", ())]
    return film.Film(source, video, timelines, segments)


class Records:
    """The results of a kind in order of time, as JSON in a file: in memory is only where each of them is."""

    def __init__(self, path: Path, kind: str, results: Iterator[Result]) -> None:
        self._path = path
        self._places: list[tuple[int, str | int, int, int]] = []  # time, key, place and length
        shape = _element(kind)
        with path.open("wb") as file:
            for result in results:
                if result.aggregate == "TIMESTAMPS":
                    record = serialise_value(shape, result.body)
                    self._places.append((result.time_ms, result.key, file.tell(), len(record)))
                    file.write(record)
        self._places.sort(key=itemgetter(0, 1))

    def raw(self) -> Iterator[tuple[int, bytes]]:
        """The time of each result, and its JSON."""
        with self._path.open("rb") as file:
            for time_ms, _, place, length in self._places:
                file.seek(place)
                yield time_ms, file.read(length)

    def __iter__(self) -> Iterator[tuple[int, dict[str, Any]]]:
        return ((time_ms, orjson.loads(record)) for time_ms, record in self.raw())


@dataclass(frozen=True, slots=True)
class _Described:
    """A video and what was asked of it, as the Get operations have it of a job."""

    request: Mapping[str, Any]
    metadata: Mapping[str, Any]


def _write(path: Path, kind: str, request: Mapping[str, Any], video: Video, records: Records) -> None:
    """The answer of the Get operation, all results on one page, one a line."""
    said = metadata(video)
    head = {"JobStatus": "SUCCEEDED", "VideoMetadata": said["video"]} | KINDS[kind].further(_Described(request, said))
    with path.open("wb") as file:
        file.write(serialise_value(output_shape(operation(f"Get{kind}")), head)[:-1])
        file.write(b',\n"%s":[' % KINDS[kind].results.encode())
        for number, (_, record) in enumerate(records.raw()):
            file.write((b",\n" if number else b"\n") + record)
        file.write(b"\n]}\n")


def _element(kind: str) -> Shape:
    """The shape of one result."""
    return cast(ListShape, output_shape(operation(f"Get{kind}")).members[KINDS[kind].results]).member


@contextmanager
def _bars(console: Console) -> Iterator[Bars]:
    with Bars(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Speed(),
        TimeRemainingColumn(elapsed_when_finished=True),
        console=console,
    ) as bars:
        yield bars


class _Speed(ProgressColumn):
    """Frames of the video a second, those that nobody looks at included."""

    def render(self, task: Bar) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:.0f} frames/s", style="progress.data.speed")
