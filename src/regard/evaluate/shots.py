"""Shots: how many of the joints of a clip are found, and how many found ones are none.

Clips are joined from pieces in which nobody cuts: parts of the videos of the evaluation data, and photos that a
camera moves over, slowly, fast and shaking. Half of the joints are cuts, the others dissolves and fades through
black; some pieces have flashes. All of it is done with the thumbnails that the network sees.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from regard.evaluate.result import Evaluation, Figure, Progress, Result, Table
from regard.evaluate.statistics import wilson
from regard.media import images, video
from regard.vision.engines import Engines
from regard.vision.shots import HEIGHT, WIDTH, ShotDetector, Thumbnails, darkness, shots

CLIPS = 3
PIECES = 20
TOLERANCE = 2  # frames
SHORTEST, LONGEST = 15, 90  # frames of a piece
PHOTOS = 30
KINDS = {"cut": 0.6, "dissolve": 0.25, "fade": 0.15}
JUDGED_ON, CALIBRATED_ON = slice(0, 11), slice(11, None)
"""Of the files with pieces; photos from the 30th on are for the calibration."""
FLASH = 0.2  # of the pieces have one
# Parts of videos, in frames, between whose ends there is no transition; None: to the end.
UNCUT: dict[str, Sequence[tuple[int, int | None]]] = {
    "video/testvideo.mp4": ((31, 179), (245, 330), (426, 526), (562, 662)),
    "video/carphone.mp4": ((0, None),),
    "video/one-by-one-person-detection.mp4": ((0, 300), (300, 600), (600, 900)),
}


@dataclass(frozen=True, slots=True)
class Joint:
    """How two pieces were joined, and where: any frame from `first` to `last` is right for the next shot's start."""

    kind: str
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Clip:
    """Pieces one after the other, and the joints between them."""

    frames: Thumbnails
    joints: tuple[Joint, ...]


def pieces(data: Path, part: slice) -> list[Thumbnails]:
    """Parts of videos without a transition; `part` chooses among the files."""
    files = [(data / name, spans) for name, spans in UNCUT.items()]
    files += [(path, ((0, None),)) for path in sorted((data / "fight").rglob("*.mp4"))]
    found = []
    for path, spans in files[part]:
        frames = thumbnails(path)
        found += [frames[start:stop] for start, stop in spans]
    return [piece for piece in found if len(piece) >= SHORTEST]


def thumbnails(path: Path) -> Thumbnails:
    """Every frame of a video, as the network sees it."""
    info = video.inspect(path)
    seen = [frame.scaled(WIDTH, HEIGHT) for chunk in info.chunks for frame in video.frames(path, info, chunk)]
    return np.stack(seen)


def photos(folder: Path, part: slice) -> list[NDArray[np.uint8]]:
    """Photos, uint8 RGB [h, w, 3]."""
    return [images.decode(path.read_bytes(), minimum=1) for path in sorted(folder.glob("*.jpg"))[part]]


def moved(photo: NDArray[np.uint8], length: int, chance: np.random.Generator) -> Thumbnails:
    """A camera moves over a photo: it zooms, pans, pans fast, or is held by a trembling hand."""
    height, width = photo.shape[:2]
    manner = chance.choice(["still", "zoom", "pan", "whip", "hand"])
    begins, ends = chance.uniform(0.5, 0.95, 2)
    size = np.linspace(begins, ends if manner == "zoom" else begins, length)
    way = {"still": 0.0, "zoom": 0.1, "pan": 0.6, "whip": 1.0, "hand": 0.1}[manner]
    time = np.linspace(0, 1, length)
    if manner == "whip":  # over in ten frames
        time = np.clip((np.arange(length) - length / 2) / 10 + 0.5, 0, 1)
    start, direction = chance.uniform(0, 1 - way, 2), chance.uniform(-0.3, 1, 2)
    place = np.clip(start + way * time[:, None] * direction, 0, 1)
    if manner == "hand":
        place = np.clip(place + chance.normal(0, 0.02, place.shape).cumsum(0) * 0.3, 0, 1)
    frames = []
    for share, (x, y) in zip(size, place, strict=True):
        w, h = share * width, share * height
        left, top = int(x * (width - w)), int(y * (height - h))
        window = photo[top : top + max(1, int(h)), left : left + max(1, int(w))]
        frames.append(cv2.resize(window, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA))
    return np.stack(frames).astype(np.uint8)


def flashed(piece: Thumbnails, chance: np.random.Generator) -> Thumbnails:
    """With a flash of one to four frames."""
    lit = piece.astype(np.float32)
    length = int(chance.integers(1, 5))
    at = int(chance.integers(5, len(piece) - length - 5))
    lit[at : at + length] += np.linspace(255, 120, length)[:, None, None, None] * chance.uniform(0.6, 1)
    return np.clip(lit, 0, 255).astype(np.uint8)


def join(
    filmed: Sequence[Thumbnails],
    shown: Sequence[NDArray[np.uint8]],
    seed: int,
    count: int = PIECES,
    kinds: Mapping[str, float] = KINDS,
) -> Clip:
    """A clip of so many pieces, the same for a seed, joined in these ways, each with its share."""
    chance = np.random.default_rng(seed)
    frames, joints = _piece(filmed, shown, chance, None), []
    previous = None
    for _ in range(count - 1):
        source = int(chance.integers(len(filmed) + len(shown)))
        while source == previous:
            source = int(chance.integers(len(filmed) + len(shown)))
        previous = source
        piece = _piece(filmed, shown, chance, source)
        kind = str(chance.choice(list(kinds), p=list(kinds.values())))
        length = int(chance.integers(6, 13)) if kind != "cut" else 0
        frames, joint = _joined(frames, piece, kind, length)
        joints.append(joint)
    return Clip(frames, tuple(joints))


def _piece(
    filmed: Sequence[Thumbnails], shown: Sequence[NDArray[np.uint8]], chance: np.random.Generator, source: int | None
) -> Thumbnails:
    source = int(chance.integers(len(filmed) + len(shown))) if source is None else source
    length = int(chance.integers(SHORTEST + 15, LONGEST))
    if source < len(filmed):
        whole = filmed[source]
        start = int(chance.integers(0, max(1, len(whole) - length)))
        piece = whole[start : start + length]
    else:
        piece = moved(shown[source - len(filmed)], length, chance)
    return flashed(piece, chance) if chance.random() < FLASH and len(piece) > SHORTEST else piece


def _joined(before: Thumbnails, after: Thumbnails, kind: str, length: int) -> tuple[Thumbnails, Joint]:
    if kind == "cut":
        return np.concatenate([before, after]), Joint(kind, len(before), len(before))
    if kind == "dissolve":
        share = np.linspace(0, 1, length + 2)[1:-1, None, None, None]
        mixed = (before[-length:] * (1 - share) + after[:length] * share).astype(np.uint8)
        start = len(before) - length
        return np.concatenate([before[:-length], mixed, after[length:]]), Joint(kind, start, start + length)
    out = (before[-length:] * np.linspace(1, 0, length)[:, None, None, None]).astype(np.uint8)
    into = (after[:length] * np.linspace(0, 1, length)[:, None, None, None]).astype(np.uint8)
    start = len(before) - length
    return np.concatenate([before[:-length], out, into, after[length:]]), Joint(kind, start, start + 2 * length)


def starts(detector: ShotDetector, frames: Thumbnails) -> list[int]:
    """The frames with which shots begin, the first one left out."""
    found = shots(len(frames), detector.transitions(frames), darkness(frames))
    return [shot.start for shot in found[1:]]


def matched(found: Sequence[int], joints: Sequence[Joint]) -> Iterator[tuple[Joint, int]]:
    """Each joint that was found with what was found of it; each is counted once."""
    left = list(found)
    for joint in joints:
        for start in left:
            if joint.first - TOLERANCE <= start <= joint.last + TOLERANCE:
                left.remove(start)
                yield joint, start
                break


def run(engines: Engines, data: Path, progress: Progress) -> Result:
    filmed, shown = pieces(data, JUDGED_ON), photos(data / "coco", slice(PHOTOS))
    joints: list[Joint] = []
    found: list[int] = []
    right: list[Joint] = []
    for seed in progress(range(CLIPS), "Shots"):
        clip = join(filmed, shown, seed)
        begun = starts(engines.shots, clip.frames)
        joints += clip.joints
        found += begun
        right += [joint for joint, _ in matched(begun, clip.joints)]
    return Result(
        f"{CLIPS} clips of {PIECES} pieces each, from {len(filmed)} parts of videos and {len(shown)} photos.",
        (
            _f_score(len(right), len(found), len(joints)),
            _share("precision", "Shots begun that begin at a joint", len(right), len(found)),
            _share("recall", "Joints at which a shot begins", len(right), len(joints)),
        ),
        (_by_kind(joints, right),),
        notes=(f"A cut counts as found within {TOLERANCE} frames, another joint as far from its first or last frame.",),
    )


def _f_score(right: int, found: int, joints: int) -> Figure:
    score = 200 * right / max(1, found + joints)
    return Figure("f", "Shots: F-score", score, "%", joints, better="higher")


def _share(name: str, title: str, right: int, of: int) -> Figure:
    low, high = wilson(right, of)
    return Figure(name, title, 100 * right / of, "%", of, 100 * low, 100 * high, "higher")


def _by_kind(joints: Sequence[Joint], right: Sequence[Joint]) -> Table:
    kinds = sorted({joint.kind for joint in joints})
    rows = tuple((kind, sum(j.kind == kind for j in joints), sum(j.kind == kind for j in right)) for kind in kinds)
    return Table("Joints", ("Kind", "Joints", "Found"), rows)


EVALUATIONS = (Evaluation("shots", "Shots of joined clips", ("transnetv2",), ("video", "fight", "coco"), run),)
