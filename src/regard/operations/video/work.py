"""Video jobs as the runner of jobs takes them: a part is a chunk of the video, looked at by the kind's analysis."""

import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, BinaryIO, cast

from regard.jobs.work import Check, JobFailed, Plan, Work
from regard.media import video as media
from regard.media.storage import ObjectChanged, ObjectFile, ObjectUnavailable
from regard.media.video import Frame, Video, VideoError
from regard.operations.context import ContextOf, Services
from regard.operations.shapes import sent
from regard.operations.video import ANALYSES
from regard.operations.video.analysis import Analysis, Result, Task
from regard.store.jobs import Job
from regard.wire.errors import ServiceError

_KEPT_VIDEOS = 4


def works(services: Services, context_of: ContextOf) -> Mapping[str, Work]:
    """All kinds of video jobs that are built."""
    inspected = Inspected()
    return {kind: VideoWork(services, context_of, analysis, inspected) for kind, analysis in ANALYSES.items()}


@dataclass(slots=True)
class Inspected:
    """What is in the videos that were asked for last, so that not every chunk costs a look through the whole."""

    _kept: OrderedDict[tuple[str, str, str], Video] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def video(self, bucket: str, name: str, file: ObjectFile) -> Video:
        key = (bucket, name, file.version_tag)
        with self._lock:  # the chunks of a video come at the same time: one looks, the others wait
            if key not in self._kept:
                self._kept[key] = media.inspect(_source(file))
            self._kept.move_to_end(key)
            if len(self._kept) > _KEPT_VIDEOS:
                self._kept.popitem(last=False)
            return self._kept[key]


@dataclass(frozen=True, slots=True)
class VideoWork:
    """A kind of video job; implements `regard.jobs.work.Work`."""

    services: Services
    context_of: ContextOf
    analysis: Analysis
    inspected: Inspected

    def plan(self, job: Job) -> Plan:
        with self._opened(job) as (file, task):
            video = task.video
            return Plan(len(video.chunks), {"version_tag": file.version_tag, **metadata(video)})

    def do(self, job: Job, number: int, check: Check) -> Any:
        with self._opened(job) as (file, task):
            chunk = task.video.chunks[number]
            frames = media.frames(
                _source(file),
                task.video,
                chunk,
                self.analysis.interval_ms(job.request),
                self.analysis.margin(job.request),
            )
            return self.analysis.observe(task, chunk, _checked(frames, check))

    def conclude(self, job: Job, parts: Iterable[Any]) -> Iterator[Result]:
        with self._opened(job) as (_, task):
            yield from self.analysis.conclude(task, parts)

    @contextmanager
    def _opened(self, job: Job) -> Iterator[tuple[ObjectFile, Task]]:
        """The video of a job, as long as it is the one that the job was planned for."""
        place = job.request["Video"]["S3Object"]
        bucket, name, version = place["Bucket"], place["Name"], place.get("Version")
        tag = job.metadata["version_tag"] if job.metadata else None
        try:
            context = self.context_of(job)
            with self.services.objects.open(bucket, name, version, tag) as file:
                yield file, Task(context, job.request, self.inspected.video(bucket, name, file))
                if self.services.objects.head(bucket, name, version).version_tag != file.version_tag:
                    raise ObjectChanged
        except ObjectChanged as error:
            raise JobFailed("The video was replaced by another one while it was analysed.") from error
        except (ObjectUnavailable, VideoError) as error:
            raise JobFailed(str(error)) from error
        except ServiceError as error:
            raise JobFailed(error.message) from error


def _source(file: ObjectFile) -> media.Source:
    """What a video is read from: a local file by its path, which is faster."""
    return file.path or cast("BinaryIO", file)


def _checked(frames: Iterable[Frame], check: Check) -> Iterator[Frame]:
    for frame in frames:
        check()
        yield frame


def metadata(video: Video) -> dict[str, Any]:
    """What a Get operation says of a video: AWS's VideoMetadata and the sound."""
    return {
        "video": {
            "Codec": video.codec,
            "DurationMillis": video.duration_ms,
            "Format": video.format,
            "FrameRate": sent(video.frame_rate),
            "FrameHeight": video.height,
            "FrameWidth": video.width,
            "ColorRange": video.color_range,
        },
        "audio": [asdict(stream) for stream in video.audio],
    }
