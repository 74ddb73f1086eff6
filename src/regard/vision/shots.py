"""Where one shot ends and the next begins: cuts, dissolves, and fades through black.

TransNetV2 (Souček and Lokoč, "TransNet V2: An effective deep network architecture for fast shot transition
detection", 2020) says for each frame how probably it is the last of a shot or the middle of a dissolve, and whether
it belongs to a transition at all, from thumbnails. It is not asked where nothing changes, and not believed where
the pictures before and after are the same, as around a flash. What remains is given a probability that was
calibrated on joined clips.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from regard.settings import Settings
from regard.vision import models
from regard.vision.models import ModelError
from regard.vision.session import CPU, Session

WIDTH, HEIGHT = 48, 27
VERSION = "1.0"
CONTEXT = 25
"""Frames that the network must see on either side of one that it judges; its authors' windows give as many."""
AROUND = 35
"""Frames before and after a chunk that are judged with it where a transition goes on there, so that it is seen
whole."""
MARGIN = AROUND + CONTEXT
"""Frames before and after a chunk that must be seen for that."""

# Frames judged at once: more would save time, for each window is seen with its context, and memory grows with them.
_WINDOW = 420
_COMPARED = 1000  # frames at once: as floats they take four times the memory
_EDGE = 10  # frames before and after a chunk that are judged in any case: a cut at its edge needs no more
_LAG = 24  # frames over which a picture must change for the network to be asked
_STILL = 10.0  # grey levels: half of the least change that was measured around a transition
_LEAST = 0.05  # answers of the network below this are no candidates
_APART = 5  # frames between candidates, at least
_PART = 0.3  # a frame of which the network says so much that it is part of a transition belongs to it
_SAME = 8.0  # grey levels: pictures before and after that differ by less are of one shot
_RETURN = 0.3  # of a sudden change: where less of it remains soon after, as after a flash, it was no cut
_BEYOND = range(6)  # frames before or after a transition at which the pictures are compared: flashes last up to five
_AROUND = 12  # frames to either side that tell how much is usual
_CUT = 4.0  # times the usual: a step this sharp is a cut, whatever else the network sees around it
_USUAL = 1.0  # grey levels: what differs less from one frame to the next is noise
_DARK = 3.5  # mean grey level below which a frame is dark
_LONG_DARK = 75  # dark frames that are a shot of their own
_NEAR = 4  # frames between a transition and the dark that it leads to
_SHORTEST = 3  # frames of a shot
_IN_THE_DARK = 0.677  # of the darkness belongs to the shot before it; see docs/segments.md

_FOLDER = models.WEIGHTS / "transnetv2"
_ALL = slice(None)

Thumbnails = NDArray[np.uint8]
"""Frames, uint8 RGB [n, 27, 48, 3]."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """What may be a transition. The next shot begins with the frame `start`; the frames from `first` to `last` are
    part of the transition, for a cut the last and the first of two shots. `answer` 0–1 is the network's."""

    start: int
    first: int
    last: int
    answer: float


@dataclass(frozen=True, slots=True)
class Transition:
    """A transition, with the `probability`, 0–1, that it is one; frames as in `Candidate`."""

    start: int
    first: int
    last: int
    probability: float


@dataclass(frozen=True, slots=True)
class Shot:
    """Frames `start` to `stop`, exclusive. `confidence` 0–1 is the lowest of the probabilities that it begins where it
    begins, ends where it ends, and goes on in between; the video's own ends are certain."""

    start: int
    stop: int
    confidence: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """A logistic function of the network's answer, as log odds."""

    offset: float
    slope: float

    def probability(self, candidate: Candidate) -> float:
        return float(1 / (1 + np.exp(-self.offset - self.slope * log_odds(candidate.answer))))


def log_odds(probability: float) -> float:
    """Kept finite."""
    kept = min(max(probability, 1e-4), 1 - 1e-4)
    return float(np.log(kept / (1 - kept)))


class ShotDetector:
    """The network and what is made of its answers; many threads may use it at once."""

    def __init__(
        self, network: Path, calibration: Calibration, *, threads: int, device: str = CPU, cache: Path | None = None
    ) -> None:
        self._session = Session(network, threads=threads, device=device, cache=cache)
        self._threads = threads
        self._calibration = calibration

    @classmethod
    def load(cls, settings: Settings) -> Self:
        """Raises `models.ModelError`."""
        calibration = Calibration(**json.loads((_FOLDER / "calibration.json").read_text("utf-8")))
        try:
            return cls(
                models.path("transnetv2", settings.cache),
                calibration,
                threads=settings.threads,
                device=settings.device,
                cache=settings.cache / "compiled",
            )
        except RuntimeError as error:
            raise ModelError(f"a network cannot be read, see `regard models verify`: {error}") from error

    def transitions(self, thumbnails: Thumbnails, own: slice = _ALL) -> list[Transition]:
        """The transitions in consecutive frames, in order, improbable ones included; only those in the part `own` of
        the frames and around it are sure to be found, and as if there were no other frames than these."""
        return [
            Transition(found.start, found.first, found.last, self._calibration.probability(found))
            for found in self.candidates(thumbnails, own)
        ]

    def candidates(self, thumbnails: Thumbnails, own: slice = _ALL) -> list[Candidate]:
        """What may be a transition: where the network says so and the pictures before and after are not the same."""
        if len(thumbnails) < 2:
            return []
        boundary, part = self.answers(thumbnails, own)
        steps = changes(thumbnails, 1)
        found = (_candidate(thumbnails, steps, part, peak, float(boundary[peak])) for peak in _peaks(boundary))
        return [candidate for candidate in found if candidate is not None]

    def answers(self, thumbnails: Thumbnails, own: slice = _ALL) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """What the network says of n frames, float32 [n] each: that the frame is the last of a shot or the middle of
        a transition, and that it is part of one. 0 where nothing changes, and further from `own` than its transitions
        reach, `AROUND` at most."""
        boundary = np.zeros(len(thumbnails), np.float32)
        part = np.zeros(len(thumbnails), np.float32)
        active = changes(thumbnails, _LAG) >= _STILL
        start, stop, _ = own.indices(len(thumbnails))
        first, last = max(0, start - _EDGE), min(len(thumbnails), stop + _EDGE)

        def judge(begin: int, end: int) -> None:
            windows = [(begin + a, begin + b) for a, b in _windows(active[begin:end])]
            answers = pool.map(lambda window: self._answer(thumbnails, *window), windows)
            for (a, b), (is_boundary, is_part) in zip(windows, answers, strict=True):
                boundary[a:b], part[a:b] = is_boundary, is_part

        with ThreadPoolExecutor(self._threads) as pool:
            judge(first, last)
            if part[first] >= _PART:
                judge(max(0, start - AROUND), first)
            if part[last - 1] >= _PART:
                judge(last, stop + AROUND)
        return boundary, part

    def _answer(self, thumbnails: Thumbnails, start: int, stop: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        # At the ends the first and the last frame are repeated, as the network's authors do.
        seen = np.clip(np.arange(start - CONTEXT, stop + CONTEXT), 0, len(thumbnails) - 1)
        frames = thumbnails[seen]
        blob = np.ascontiguousarray(frames.transpose(3, 0, 1, 2)[None], np.float32)
        boundary, part = self._session.run(blob, histograms(frames)[None])
        return boundary[CONTEXT:-CONTEXT], part[CONTEXT:-CONTEXT]


def histograms(frames: Thumbnails) -> NDArray[np.float32]:
    """Of each frame's colours in 8 × 8 × 8 bins, of length 1, float32 [n, 512]."""
    red, green, blue = np.moveaxis(frames.astype(np.int64) >> 5, -1, 0)
    bins = (red << 6 | green << 3 | blue).reshape(len(frames), -1) + 512 * np.arange(len(frames))[:, None]
    counts = np.bincount(bins.ravel(), minlength=512 * len(frames)).reshape(len(frames), 512).astype(np.float32)
    return np.asarray(counts / np.linalg.norm(counts, axis=1, keepdims=True), np.float32)


def changes(thumbnails: Thumbnails, lag: int) -> NDArray[np.float32]:
    """How much n frames differ, in grey levels, float32 [n]: for each the one `lag` / 2 frames before it from the
    one as many after it, and with a lag of 1 from the one before."""
    numbers = np.arange(len(thumbnails))
    earlier = np.clip(numbers - (lag + 1) // 2, 0, None)
    later = np.clip(numbers + lag // 2, None, len(thumbnails) - 1)
    found = np.empty(len(thumbnails), np.float32)
    for start in range(0, len(thumbnails), _COMPARED):
        some = slice(start, start + _COMPARED)
        differences = thumbnails[later[some]].astype(np.float32) - thumbnails[earlier[some]]
        found[some] = np.abs(differences).mean((1, 2, 3))
    return found


@dataclass(frozen=True, slots=True)
class Darkness:
    """Dark frames one after the other, the first of them `start`; `depths` say by how many grey levels each is dark."""

    start: int
    depths: tuple[float, ...]

    @property
    def stop(self) -> int:
        """The frame after the last."""
        return self.start + len(self.depths)

    @property
    def turn(self) -> int:
        """The frame with which a shot begins that comes out of the dark which another went into."""
        passed = np.cumsum(self.depths)
        return self.start + int(np.searchsorted(passed, _IN_THE_DARK * passed[-1]))


def darkness(thumbnails: Thumbnails, first: int = 0) -> list[Darkness]:
    """The dark frames, where the first of the thumbnails is of frame `first`."""
    depths = _DARK - thumbnails.mean((1, 2, 3))
    return [
        Darkness(first + start, tuple(np.round(depths[start:stop], 2).tolist())) for start, stop in runs(depths > 0)
    ]


def runs(marked: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """The first frame, and the one after the last, of each unbroken run of marked ones, bool [n]."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], marked, [False]]).astype(np.int8))).tolist()
    return list(zip(edges[::2], edges[1::2], strict=True))


def shots(frames: int, transitions: Iterable[Transition], nights: Sequence[Darkness]) -> list[Shot]:
    """The shots of a video of so many frames.

    `transitions` may be in any order and found twice; `nights` are in order. Dark that is faded or cut to and from lies
    between two shots, and is one itself if it is long.
    """
    once = _once(transitions)
    bounds = _once([*_in_the_light(once, nights), *_in_the_dark(frames, once, nights)])
    bounds = [bound for bound in bounds if _SHORTEST <= bound.start <= frames - _SHORTEST]
    certain = [bound for bound in bounds if bound.probability >= 0.5]
    edges = [Transition(0, 0, 0, 1.0), *certain, Transition(frames, frames, frames, 1.0)]
    return [
        Shot(a.start, b.start, min(a.probability, b.probability, _unbroken(a.start, b.start, bounds)))
        for a, b in pairwise(edges)
    ]


def _windows(active: NDArray[np.bool_]) -> Iterator[tuple[int, int]]:
    """The frames to ask the network about: those that are active, joined over short gaps, and cut into windows."""
    joined: list[tuple[int, int]] = []
    for start, stop in runs(active):
        if joined and start - joined[-1][1] < 2 * CONTEXT:
            joined[-1] = (joined[-1][0], stop)
        else:
            joined.append((start, stop))
    for start, stop in joined:
        bounds = np.linspace(start, stop, -(-(stop - start) // _WINDOW) + 1).round().astype(int).tolist()
        yield from pairwise(bounds)


def _peaks(boundary: NDArray[np.float32]) -> Iterator[int]:
    """The frames with the highest answer around them, [n]; of equal ones the first."""
    padded = np.pad(boundary, _APART)
    for peak in np.flatnonzero(boundary >= _LEAST).tolist():
        if int(np.argmax(padded[peak : peak + 2 * _APART + 1])) == _APART:
            yield peak


def _candidate(
    thumbnails: Thumbnails, steps: NDArray[np.float32], part: NDArray[np.float32], peak: int, answer: float
) -> Candidate | None:
    """The transition around a peak; None if the pictures on both sides of it are the same."""
    last = len(thumbnails) - 1
    first, stop = next(((a, b) for a, b in runs(part >= _PART) if a <= peak < b), (peak, peak + 1))
    # The sharpest change near the peak, the cut if it is one.
    near = np.arange(max(1, peak - 1), min(last, peak + 3) + 1)
    sharpest = int(near[np.argmax(steps[near])])
    around = steps[max(1, sharpest - _AROUND) : sharpest + _AROUND + 1]
    sharp = float(steps[sharpest]) >= _CUT * max(_USUAL, float(np.median(around)))
    is_cut = sharp or stop - first <= _APART
    if is_cut:
        first, stop = sharpest - 1, sharpest + 1
    start = sharpest if is_cut else (first + stop) // 2
    earlier, later = max(0, first), min(last, stop - 1)
    outside = [(max(0, earlier - beyond), later) for beyond in _BEYOND]
    outside += [(earlier, min(last, later + beyond)) for beyond in _BEYOND]
    change = min(np.abs(thumbnails[b].astype(np.float32) - thumbnails[a]).mean() for a, b in outside)
    same = change < _SAME or (is_cut and change < _RETURN * float(steps[sharpest]))
    return None if same else Candidate(start, first, stop - 1, answer)


def _once(transitions: Iterable[Transition]) -> list[Transition]:
    """In order; of those that are nearer than a shot can be short, the most probable one."""
    kept: list[Transition] = []
    for transition in sorted(transitions, key=lambda one: one.start):
        if kept and transition.start - kept[-1].start < _SHORTEST:
            if transition.probability > kept[-1].probability:
                kept[-1] = transition
        else:
            kept.append(transition)
    return kept


def _touches(transition: Transition, night: Darkness) -> bool:
    return transition.first <= night.stop + _NEAR and transition.last >= night.start - _NEAR


def _in_the_light(transitions: Iterable[Transition], nights: Sequence[Darkness]) -> Iterator[Transition]:
    """The transitions that do not lead to the dark or out of it."""
    return (one for one in transitions if not any(_touches(one, night) for night in nights))


def _in_the_dark(frames: int, transitions: Sequence[Transition], nights: Iterable[Darkness]) -> Iterator[Transition]:
    """What becomes of the transitions into the dark and out of it: one between them, or both if it is long."""
    for night in nights:
        touching = [one for one in transitions if _touches(one, night)]
        if not touching:
            continue
        start, stop = night.start, night.stop
        probability = max(one.probability for one in touching)
        if stop - start >= _LONG_DARK:
            yield from (Transition(edge, edge, edge, probability) for edge in (start, stop))
        elif start > 0 and stop < frames:
            yield replace(touching[0], start=night.turn, first=start, last=stop, probability=probability)


def _unbroken(start: int, stop: int, bounds: Iterable[Transition]) -> float:
    """The probability that there is no transition between two frames, by the most probable of the refused ones."""
    return 1 - max((one.probability for one in bounds if start < one.start < stop), default=0.0)
