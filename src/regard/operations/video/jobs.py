"""Start… and Get… of stored video: a job is begun, and the pages of its results are read.

One table says what tells the eight kinds apart. What AWS's documentation leaves open is decided so: while a job is
in progress and where it has failed, its list of results is empty; a NextToken belongs to the order and the
aggregation that it was given for.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from regard.media.storage import ObjectUnavailable
from regard.media.video import MAX_BYTES
from regard.operations import labels
from regard.operations.context import Context, Handler, Request, Response
from regard.operations.objects import refusal
from regard.operations.paging import paginate
from regard.operations.starting import begin
from regard.operations.video import ANALYSES, segments
from regard.store import jobs
from regard.store.jobs import SUCCEEDED
from regard.vision import moderation, text
from regard.wire.errors import (
    InvalidParameterException,
    InvalidS3ObjectException,
    ResourceNotFoundException,
    VideoTooLargeException,
)

MAX_OPEN_JOBS = 20
MAX_PAGE = 1000

_NO_SNS = "NotificationChannel is not supported by this deployment: its operator has not turned SNS on (REGARD_SNS)."
_TIMESTAMP, _TIMESTAMPS = "TIMESTAMP", "TIMESTAMPS"


class Described(Protocol):
    """A job, or what else has a request and, once a video was looked through, `work.metadata` of it."""

    @property
    def request(self) -> Mapping[str, Any]: ...
    @property
    def metadata(self) -> Mapping[str, Any] | None: ...


def _nothing(_: Described) -> dict[str, Any]:
    return {}


@dataclass(frozen=True, slots=True)
class Kind:
    """What tells one kind of video job from the others on the wire.

    `results` is the member with the list of results, `key` what SortBy calls the order that is not by time, and
    `further` gives the members that only this kind has.
    """

    results: str
    key: Literal["NAME", "INDEX", "ID"] | None = None
    aggregates: bool = False
    further: Callable[[Described], dict[str, Any]] = _nothing


def _of_segments(job: Described) -> dict[str, Any]:
    selected = [
        {"Type": name, "ModelVersion": segments.MODEL_VERSIONS[name]}
        for name in dict.fromkeys(job.request["SegmentTypes"])
    ]
    if job.metadata is None:
        return {"SelectedSegmentTypes": selected}
    audio = [
        {
            "Codec": stream["codec"],
            "DurationMillis": stream["duration_ms"],
            "SampleRate": stream["sample_rate"],
            "NumberOfChannels": stream["channels"],
        }
        for stream in job.metadata["audio"]
    ]
    # Of this kind alone AWS gives a list: a file may have several streams of pictures.
    return {
        "SelectedSegmentTypes": selected,
        "VideoMetadata": [job.metadata["video"]],
        "AudioMetadata": audio,
    }


KINDS: Mapping[str, Kind] = {
    "LabelDetection": Kind(
        "Labels", "NAME", aggregates=True, further=lambda _: {"LabelModelVersion": labels.MODEL_VERSION}
    ),
    "FaceDetection": Kind("Faces"),
    "FaceSearch": Kind("Persons", "INDEX"),
    "PersonTracking": Kind("Persons", "INDEX"),
    "CelebrityRecognition": Kind("Celebrities", "ID"),
    "ContentModeration": Kind(
        "ModerationLabels", "NAME", aggregates=True, further=lambda _: {"ModerationModelVersion": moderation.VERSION}
    ),
    "TextDetection": Kind("TextDetections", further=lambda _: {"TextModelVersion": text.VERSION}),
    "SegmentDetection": Kind("Segments", further=_of_segments),
}


def operations() -> dict[str, Handler]:
    """The handlers of the kinds that have an analysis."""
    handlers: dict[str, Handler] = {}
    for kind in KINDS.keys() & ANALYSES.keys():
        handlers[f"Start{kind}"] = _start(kind)
        handlers[f"Get{kind}"] = _get(kind, KINDS[kind])
    return handlers


def _start(kind: str) -> Handler:
    def handler(context: Context, request: Request) -> Response:
        if "NotificationChannel" in request and not context.services.settings.sns:
            raise InvalidParameterException(_NO_SNS)
        ANALYSES[kind].check(context, request)
        _check_object(context, request["Video"])
        return begin(context, kind, request, KINDS.keys(), MAX_OPEN_JOBS)

    return handler


def _check_object(context: Context, video: Mapping[str, Any]) -> None:
    place = video.get("S3Object")
    if place is None:
        raise InvalidParameterException("Request has invalid parameters")
    if not place.get("Bucket") or not place.get("Name"):
        raise InvalidS3ObjectException
    try:
        head = context.services.objects.head(place["Bucket"], place["Name"], place.get("Version"))
    except ObjectUnavailable as error:
        raise refusal(error) from None
    if head.size > MAX_BYTES:
        raise VideoTooLargeException(
            f"Video size in bytes: {head.size} is more than the maximum limit of: {MAX_BYTES} bytes."
        )


def _get(kind: str, shape: Kind) -> Handler:
    def handler(context: Context, request: Request) -> Response:
        sort, aggregate = request.get("SortBy", _TIMESTAMP), request.get("AggregateBy", _TIMESTAMPS)
        order: jobs.Order = "by_time" if sort == _TIMESTAMP else "by_key"
        with context.services.database.read() as connection:
            job = jobs.find(connection, context.principal.account_id, kind, request["JobId"])
            if job is None:
                raise ResourceNotFoundException("Could not find JobId")
            found = job
            rows, token = paginate(
                context,
                {**request, "MaxResults": min(request.get("MaxResults", MAX_PAGE), MAX_PAGE)},
                [f"Get{kind}", job.job_id, sort, aggregate],
                # Of a job that was in progress a moment ago nothing is shown, though it may have results by now.
                lambda after, limit: (
                    jobs.results(connection, found, aggregate, order, after, limit) if found.status == SUCCEEDED else []
                ),
            )
        response: Response = {
            "JobStatus": job.status,
            "StatusMessage": job.status_message,
            "JobId": job.job_id,
            "JobTag": job.request.get("JobTag"),
            "Video": job.request["Video"],
            shape.results: [row.body for row in rows],
            "NextToken": token,
        }
        if job.status == SUCCEEDED and job.metadata is not None:
            response["VideoMetadata"] = job.metadata["video"]
        if shape.aggregates:
            response["GetRequestMetadata"] = {"SortBy": sort, "AggregateBy": aggregate}
        return response | shape.further(job)

    return handler
