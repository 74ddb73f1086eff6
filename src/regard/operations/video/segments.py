"""SegmentDetection: the shots of a video, and its technical cues.

Every frame is looked at as a thumbnail, in full only where it may be black or once a second, for text. What is kept of
a chunk are transitions, runs of frames and a few numbers a second. An end is the segment's last frame, as in the
samples of AWS's developer guide, and a duration the distance from the first frame to it.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regard.media.timecode import timecode
from regard.media.video import Chunk, Frame, Video
from regard.operations.context import Context, Request
from regard.operations.video.analysis import Part, Result, Task
from regard.vision import cues, shots
from regard.vision.cues import Cue, Run, Sample
from regard.vision.shots import Darkness, Thumbnails, Transition

MODEL_VERSIONS = {"SHOT": shots.VERSION, "TECHNICAL_CUE": "1.0"}
DEFAULT_MIN_CONFIDENCE = 50.0
DEFAULT_MAX_PIXEL_THRESHOLD = 0.2
DEFAULT_MIN_COVERAGE = 99.0

CUES: Mapping[str, str] = {
    "black": "BlackFrames",
    "bars": "ColorBars",
    "slate": "Slate",
    "opening": "OpeningCredits",
    "end": "EndCredits",
    "content": "Content",
}
"""What AWS calls a cue. It also knows StudioLogo, which is not found here, see docs/segments.md."""

# The picture changes at once where it changes so many grey levels, and so many times as much as usual around.
_JUMP, _SPIKE = 8.0, 4.0
_AROUND = 12
_KEPT = 0.05  # a transition that is less probable says nothing


class SegmentDetection:
    """StartSegmentDetection and GetSegmentDetection."""

    def interval_ms(self, request: Request) -> int | None:
        return None

    def margin(self, request: Request) -> int:
        return shots.MARGIN

    def check(self, context: Context, request: Request) -> None:
        """Whatever the model allows can be carried out."""

    def observe(self, task: Task, chunk: Chunk, frames: Iterable[Frame]) -> Part:
        wanted = task.request["SegmentTypes"]
        cue_looker = _CueLooker(task, chunk) if "TECHNICAL_CUE" in wanted else None
        numbers: list[int] = []
        seen: list[NDArray[np.uint8]] = []
        for frame in frames:
            thumbnail = frame.scaled(shots.WIDTH, shots.HEIGHT)
            numbers.append(frame.number)
            seen.append(thumbnail)
            if cue_looker:
                cue_looker.look(frame, thumbnail)
        if not numbers:
            return {}
        # A frame that could not be decoded is taken for the one before it, so that frames keep their numbers.
        first = numbers[0]
        filled = np.searchsorted(numbers, np.arange(first, numbers[-1] + 1), "right") - 1
        thumbnails = np.stack([seen[place] for place in filled])
        part: dict[str, Any] = {}
        if "SHOT" in wanted:
            part |= _shots_seen(task, chunk, thumbnails, first)
        if cue_looker:
            part |= cue_looker.seen(thumbnails, first)
        return part

    def conclude(self, task: Task, parts: Iterable[Part]) -> Iterator[Result]:
        # By type first, in the order of the request, and only then by time: the place in the list is the whole order.
        bodies = (body for name in dict.fromkeys(task.request["SegmentTypes"]) for body in _FOUND[name](task, parts))
        return (Result(0, place, body) for place, body in enumerate(bodies))


def _shots_seen(task: Task, chunk: Chunk, thumbnails: Thumbnails, first: int) -> Part:
    """The transitions that are the chunk's, those at its edges in either, and its dark frames."""
    own = slice(max(0, chunk.start - first), chunk.stop - first)
    transitions = [
        (one.start + first, one.first + first, one.last + first, round(one.probability, 6))
        for one in task.context.services.vision.shots.transitions(thumbnails, own)
        if one.probability >= _KEPT
    ]
    return {
        "transitions": [one for one in transitions if chunk.start - 2 <= one[0] <= chunk.stop + 2],
        "dark": [(night.start, night.depths) for night in shots.darkness(thumbnails[own], max(chunk.start, first))],
    }


class _CueLooker:
    """What there is of technical cues in a chunk."""

    def __init__(self, task: Task, chunk: Chunk) -> None:
        black = task.request.get("Filters", {}).get("TechnicalCueFilter", {}).get("BlackFrame", {})
        self._threshold = black.get("MaxPixelThreshold", DEFAULT_MAX_PIXEL_THRESHOLD)
        self._coverage = black.get("MinCoveragePercentage", DEFAULT_MIN_COVERAGE) / 100
        self._detector = task.context.services.vision.text.detector
        self._sampled = sampled(task.video)
        self._chunk = chunk
        self._black: list[Run] = []
        self._bars: list[Run] = []
        self._text: list[Sample] = []

    def look(self, frame: Frame, thumbnail: NDArray[np.uint8]) -> None:
        number = frame.number
        if not self._chunk.start <= number < self._chunk.stop:
            return
        if cues.may_be_black(thumbnail, self._threshold, self._coverage):
            share = cues.black_share(frame.luminance, self._threshold)
            if share >= self._coverage:
                self._black.append(Run(number, number + 1, share))
        if cues.is_bars(share := cues.bars_share(thumbnail)):
            self._bars.append(Run(number, number + 1, share))
        if self._sampled[number]:
            self._text.append(cues.sample(self._detector, number, frame.pixels, thumbnail, 0.0))

    def seen(self, thumbnails: Thumbnails, first: int) -> Part:
        steps = shots.changes(thumbnails, 1)
        jumps = [number + first for number in _jumps(steps)]
        return {
            "black": [_run(run) for run in cues.joined(self._black)],
            "bars": [_run(run) for run in cues.joined(self._bars)],
            "jumps": [number for number in jumps if self._chunk.start <= number < self._chunk.stop],
            "text": [
                (one.frame, one.rows, one.column, round(one.plain, 4), round(_motion(steps, one.frame - first), 3))
                for one in self._text
            ],
        }


def sampled(video: Video) -> NDArray[np.bool_]:
    """The frames in which text is looked for, bool [frames]: of every second the first."""
    return np.diff(video.times_ms // cues.SAMPLE_MS, prepend=-1) > 0


def _jumps(steps: NDArray[np.float32]) -> Iterator[int]:
    """Where the picture changes at once."""
    for number in np.flatnonzero(steps >= _JUMP).tolist():
        around = steps[max(1, number - _AROUND) : number + _AROUND + 1]
        if steps[number] >= _SPIKE * max(1.0, float(np.median(around))):
            yield number


def _motion(steps: NDArray[np.float32], frame: int) -> float:
    """How much the picture changes per frame after a frame, most of the time."""
    return float(np.median(steps[frame + 1 : frame + 1 + _AROUND])) if frame + 1 < len(steps) else 0.0


def _run(run: Run) -> tuple[int, int, float]:
    return run.start, run.stop, round(run.mean, 6)


def _shots(task: Task, parts: Iterable[Part]) -> Iterator[dict[str, Any]]:
    transitions: list[Transition] = []
    nights: list[Darkness] = []
    for part in parts:
        transitions += [Transition(*one) for one in part.get("transitions", ())]
        for start, depths in part.get("dark", ()):
            if nights and nights[-1].stop == start:
                before = nights.pop()
                start, depths = before.start, [*before.depths, *depths]
            nights.append(Darkness(start, tuple(depths)))
    frames = len(task.video.times_ms)
    least = _least(task.request, "ShotFilter")
    for index, shot in enumerate(shots.shots(frames, transitions, nights) if frames else ()):
        if 100 * shot.confidence >= least:
            yield {
                "Type": "SHOT",
                **_place(task.video, shot.start, shot.stop),
                "ShotSegment": {"Index": index, "Confidence": 100 * shot.confidence},
            }


def _cues(task: Task, parts: Iterable[Part]) -> Iterator[dict[str, Any]]:
    black: list[Run] = []
    bars: list[Run] = []
    samples: list[Sample] = []
    jumps: list[int] = []
    for part in parts:
        black += [Run(*run) for run in part.get("black", ())]
        bars += [Run(*run) for run in part.get("bars", ())]
        samples += [Sample(*one) for one in part.get("text", ())]
        jumps += part.get("jumps", ())
    least = _least(task.request, "TechnicalCueFilter")
    for cue in cues.cues(task.video.times_ms, cues.joined(black), cues.joined(bars), samples, jumps):
        if 100 * cue.confidence >= least:
            yield _cue_body(task.video, cue)


_FOUND: Mapping[str, Callable[[Task, Iterable[Part]], Iterator[dict[str, Any]]]] = {
    "SHOT": _shots,
    "TECHNICAL_CUE": _cues,
}


def _cue_body(video: Video, cue: Cue) -> dict[str, Any]:
    return {
        "Type": "TECHNICAL_CUE",
        **_place(video, cue.start, cue.stop),
        "TechnicalCueSegment": {"Type": CUES[cue.kind], "Confidence": 100 * cue.confidence},
    }


def _least(request: Request, name: str) -> float:
    least: float = request.get("Filters", {}).get(name, {}).get("MinSegmentConfidence", DEFAULT_MIN_CONFIDENCE)
    return least


def _place(video: Video, start: int, stop: int) -> dict[str, Any]:
    """Where frames `start` to `stop`, exclusive, are: in milliseconds, in timecodes and in frames."""
    last = stop - 1
    begins, ends = (int(video.times_ms[frame]) for frame in (start, last))
    return {
        "StartTimestampMillis": begins,
        "EndTimestampMillis": ends,
        "DurationMillis": ends - begins,
        "StartTimecodeSMPTE": timecode(start, video.frame_rate),
        "EndTimecodeSMPTE": timecode(last, video.frame_rate),
        "DurationSMPTE": timecode(last - start, video.frame_rate),
        "StartFrameNumber": start,
        "EndFrameNumber": last,
        "DurationFrames": last - start,
    }
