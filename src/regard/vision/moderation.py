"""What in a picture some audiences should not see, in the words of Rekognition's moderation taxonomy.

The networks that may be used see few of its labels, and `moderation.toml` says which and by what: two networks
for pornography that must agree, and classes of ImageNet that must be seen twice. A label that nothing supports
is never given; `UNSEEN` names them all.
"""

import tomllib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from regard.settings import Settings
from regard.vision import models
from regard.vision.geometry import resize
from regard.vision.models import ModelError
from regard.vision.session import Session
from regard.vision.tags import Tagger, TagReading

OPEN_NSFW_SIDE, OPEN_NSFW_RESIZED = 224, 256
OPEN_NSFW_MEAN = np.array([104, 117, 123], np.float32)  # of blue, green and red in what it was trained on
OPEN_NSFW_QUALITY = 75  # of the JPEG files that its authors made in between; without it the scores are others
NSFWJS_SIDE = 224
NSFWJS_CLASSES = ("Drawing", "Hentai", "Neutral", "Porn", "Sexy")
PORNOGRAPHY = ("Hentai", "Porn")
WHOLE = 292  # pixels, of which the tagger sees the middle 260
ENOUGH = 2 * WHOLE  # pixels of the shorter side of a picture: with more no network here sees anything else

Image = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Label:
    """A label of the taxonomy, and what it is seen by.

    `parent` is the name of the label above it, "" at the top, where `level` is 1. `pornography`: by the agreement
    of two networks. `classes`: by classes of ImageNet, names with indices.
    """

    name: str
    parent: str
    level: int
    pornography: bool
    classes: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Finding:
    """A label that is in the picture, with a confidence, 0–100."""

    label: Label
    confidence: float


def _taxonomy(entries: list[dict[str, Any]]) -> dict[str, Label]:
    """Every label by name, a parent before its children."""
    labels: dict[str, Label] = {}
    for entry in entries:
        name, parent = entry["name"], entry.get("parent", "")
        level = labels[parent].level + 1 if parent else 1
        labels[name] = Label(name, parent, level, entry.get("pornography", False), entry.get("classes", {}))
    return labels


_DATA = tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8"))
VERSION: str = _DATA["version"]
TAXONOMY = _taxonomy(_DATA["label"])
EVEN: Mapping[str, float] = _DATA["even"]
"""The probability, 0–1, by each network for pornography that becomes a confidence of 50."""


def chain(label: Label) -> tuple[Label, ...]:
    """The label and all above it, the top one last."""
    return (label, *chain(TAXONOMY[label.parent])) if label.parent else (label,)


SEEN = frozenset(
    above.name for label in TAXONOMY.values() if label.pornography or label.classes for above in chain(label)
)
UNSEEN = tuple(name for name in TAXONOMY if name not in SEEN)
"""The labels that are never given, in the order of the taxonomy."""


class Moderator:
    """Moderates pictures; any number of threads may use it at once."""

    def __init__(self, open_nsfw: Session, nsfwjs: Session, tagger: Tagger, threads: int) -> None:
        self._open_nsfw, self._nsfwjs, self._tagger = open_nsfw, nsfwjs, tagger
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="moderation")

    @classmethod
    def load(cls, settings: Settings, tagger: Tagger) -> Self:
        """Raises `models.ModelError`."""
        try:
            open_nsfw, nsfwjs = (
                Session(
                    models.path(name, settings.cache),
                    threads=settings.threads,
                    device=settings.device,
                    shapes={0: (1, side, side, 3)},
                    cache=settings.cache / "compiled",
                )
                for name, side in (("open_nsfw", OPEN_NSFW_SIDE), ("nsfwjs", NSFWJS_SIDE))
            )
        except RuntimeError as error:
            raise ModelError(f"a network cannot be read, see `regard models verify`: {error}") from error
        return cls(open_nsfw, nsfwjs, tagger, settings.threads)

    def moderate(self, image: Image) -> list[Finding]:
        """The labels of `image`, uint8 RGB [h, w, 3], that have any confidence, see `findings`.

        The confidence in pornography is that of the network which is less sure of it, in what ImageNet's classes
        show their probability; no data calibrates either here.
        """
        nsfwjs = self._pool.submit(self.nsfwjs, image)
        open_nsfw = self._pool.submit(self.open_nsfw, image)
        confidences = self._twice(image)
        pornography = agreed(open_nsfw.result(), nsfwjs.result())
        return findings(confidences | {label.name: pornography for label in TAXONOMY.values() if label.pornography})

    def open_nsfw(self, image: Image) -> float:
        """The probability, 0–1, that `image` is pornographic, by Yahoo's network."""
        resized = _compressed(resize(image, OPEN_NSFW_RESIZED, OPEN_NSFW_RESIZED)[:, :, ::-1])
        margin = (OPEN_NSFW_RESIZED - OPEN_NSFW_SIDE) // 2
        inner = resized[margin:-margin, margin:-margin].astype(np.float32)
        (probabilities,) = self._open_nsfw.run((inner - OPEN_NSFW_MEAN)[None])
        return float(probabilities[0, 1])

    def nsfwjs(self, image: Image) -> dict[str, float]:
        """The probabilities, 0–1, of `NSFWJS_CLASSES`, by the network of nsfwjs."""
        (probabilities,) = self._nsfwjs.run((resize(image, NSFWJS_SIDE, NSFWJS_SIDE) / np.float32(255))[None])
        return dict(zip(NSFWJS_CLASSES, map(float, probabilities[0]), strict=True))

    def _twice(self, image: Image) -> dict[str, float]:
        """The confidence, 0–100, in the label whose classes win in two looks: the higher of their probabilities.

        The tagger sees the middle of a picture. The second look is at the whole, squeezed into a square and mirrored.
        """
        first = self._tagger.read(image)
        winners = [label for label in TAXONOMY.values() if _wins(first, label)]
        if not winners:
            return {}
        second = self._tagger.read(resize(image, WHOLE, WHOLE)[:, ::-1])
        return {
            label.name: 100 * max(_share(first, label), _share(second, label))
            for label in winners
            if _wins(second, label)
        }


def agreed(open_nsfw: float, nsfwjs: Mapping[str, float]) -> float:
    """The confidence, 0–100, that a picture is pornographic: that of the network which is less sure.

    A network's probability becomes 50 at `EVEN`, and is straight from 0 to there and from there to 1.
    """
    opinions = {"open_nsfw": open_nsfw, "nsfwjs": sum(nsfwjs[name] for name in PORNOGRAPHY)}
    return min(float(np.interp(opinions[name], (0, even, 1), (0, 50, 100))) for name, even in EVEN.items())


def findings(confidences: Mapping[str, float]) -> list[Finding]:
    """The labels with a confidence above 0, for the confidences, 0–100, in some by name.

    A label is at least as confident as those below it. The most confident come first, each after those above it.
    """
    highest: dict[str, float] = {}
    for name, confidence in confidences.items():
        for label in chain(TAXONOMY[name]):
            highest[label.name] = max(highest.get(label.name, 0.0), min(confidence, 100.0))
    order = sorted(TAXONOMY.values(), key=lambda label: (-highest.get(label.name, 0.0), label.level))
    return [Finding(label, highest[label.name]) for label in order if highest.get(label.name)]


def _wins(reading: TagReading, label: Label) -> bool:
    """Whether the most probable class is one of the label's."""
    return any(tag.index in label.classes.values() for tag in reading.tags[:1])


def _share(reading: TagReading, label: Label) -> float:
    """The probability, 0–1, of the label's classes together."""
    return sum(tag.score for tag in reading.tags if tag.index in label.classes.values())


def _compressed(image: Image) -> Image:
    """What is left of a picture in a JPEG file."""
    _, file = cv2.imencode(".jpg", image, (cv2.IMWRITE_JPEG_QUALITY, OPEN_NSFW_QUALITY))
    return np.asarray(cv2.imdecode(file, cv2.IMREAD_COLOR), np.uint8)
