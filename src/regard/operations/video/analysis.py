"""What each kind of video job must say of itself: how its frames are chosen, looked at and made into results.

A job is a number of chunks of a video, looked at in any order, by any worker, maybe twice, and a conclusion over
all of them. What `observe` gives is kept in the database until the job ends, so that a job goes on after a crash
where it was.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from regard.media.video import Chunk, Frame, Video
from regard.operations.context import Context, Request

Part = Any
"""What was seen in a chunk: lists, dicts, strings, numbers, None and numpy arrays of numbers, as JSON has them."""

DEFAULT_INTERVAL_MS = 500


@dataclass(frozen=True, slots=True)
class Task:
    """A job's request, as it was validated, the video, and the caller with the services."""

    context: Context
    request: Request
    video: Video


@dataclass(frozen=True, slots=True)
class Result:
    """One element of the list that the Get operation pages through.

    `body` is the element as AWS shapes it; `time_ms` and `key` are what it is sorted by: SortBy TIMESTAMP goes by
    (time_ms, key), the other SortBy by (key, time_ms), equal ones in the order that they were given in.
    """

    time_ms: int
    key: str | int
    body: Mapping[str, Any]
    aggregate: Literal["TIMESTAMPS", "SEGMENTS"] = "TIMESTAMPS"


class Analysis(Protocol):
    """A kind of video job."""

    def interval_ms(self, request: Request) -> int | None:
        """Of every so many milliseconds the first frame is looked at; None: every frame."""

    def margin(self, request: Request) -> int:
        """How many frames before and after its own a chunk is given."""

    def check(self, context: Context, request: Request) -> None:
        """Raises the AWS error for a request that is valid by the model and yet cannot be carried out."""

    def observe(self, task: Task, chunk: Chunk, frames: Iterable[Frame]) -> Part:
        """What there is in a chunk. It must keep nothing of the frames, and hang on nothing but them."""

    def conclude(self, task: Task, parts: Iterable[Part]) -> Iterator[Result]:
        """The results, given what was seen in the chunks, in order. `parts` may be gone through repeatedly."""
