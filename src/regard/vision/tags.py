"""What a picture shows as a whole: ImageNet's 1,000 classes, and a feature for other classifiers.

EfficientNet-Lite2 (Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks",
ICML 2019; the Lite variant leaves out squeeze-and-excitation and swish). Its last layer but one is a summary of
the picture that a small classifier can learn other things from.
"""

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from regard.settings import Settings
from regard.vision import models
from regard.vision.geometry import resize
from regard.vision.models import ModelError
from regard.vision.session import CPU, Session

SIDE = 260
_SEEN = 260 / 292  # the middle of the short side that the network was evaluated on by its authors
LEAST_SCORE = 0.01
FEATURE = 1280

_FOLDER = models.WEIGHTS / "efficientnet_lite2"


@dataclass(frozen=True, slots=True)
class Tag:
    """A class of ImageNet-1k by name and index (0–999), and the probability, 0–1, that it is the right one."""

    class_name: str
    index: int
    score: float


@dataclass(frozen=True, slots=True)
class TagReading:
    """What the network says of a picture: tags with a score of 0.01 or more, best first; `feature` float32 [1280]."""

    tags: tuple[Tag, ...]
    feature: NDArray[np.float32]


class Tagger:
    """Names pictures; many threads may use it at once."""

    def __init__(
        self, path: Path, temperature: float, *, threads: int, device: str = CPU, cache: Path | None = None
    ) -> None:
        """Logits divided by `temperature` give calibrated probabilities (Guo et al. 2017)."""
        self._session = Session(path, threads=threads, device=device, cache=cache)
        self._temperature = temperature
        self._names = tuple(name for _, name in classes())

    @classmethod
    def load(cls, settings: Settings) -> Self:
        """Raises `models.ModelError`."""
        calibration = json.loads((_FOLDER / "calibration.json").read_text("utf-8"))
        try:
            return cls(
                models.path("efficientnet_lite2", settings.cache),
                calibration["temperature"],
                threads=settings.threads,
                device=settings.device,
                cache=settings.cache / "compiled",
            )
        except RuntimeError as error:
            raise ModelError(f"a network cannot be read, see `regard models verify`: {error}") from error

    def read(self, image: NDArray[np.uint8]) -> TagReading:
        """The tags and the feature of `image`, uint8 RGB [h, w, 3] of any size.

        The network sees the middle square of the picture.
        """
        logits, feature = self._run(image)
        scores = softmax(logits / self._temperature)
        best = np.argsort(-scores, kind="stable")[: np.count_nonzero(scores >= LEAST_SCORE)]
        return TagReading(tuple(Tag(self._names[i], int(i), float(scores[i])) for i in best), feature)

    def logits(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """What the network says of each class, float32 [1000], before calibration."""
        return self._run(image)[0]

    def features(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """The features float32 [n, 1280] of n pictures or crops, each uint8 RGB [h, w, 3] of any size."""
        return np.array([self._run(image)[1] for image in images], np.float32).reshape(-1, FEATURE)

    def _run(self, image: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        logits, features = self._session.run(resize(middle(image), SIDE, SIDE)[None])
        return logits[0], features[0]


def classes() -> list[tuple[str, str]]:
    """ImageNet-1k's classes in order: WordNet's number of each, such as n01440764, and a name."""
    with (_FOLDER / "classes.csv").open(encoding="utf-8", newline="") as file:
        return [(row["synset"], row["name"]) for row in csv.DictReader(file)]


def middle(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The square in the middle of `image` [h, w, 3] that the network looks at."""
    height, width = image.shape[:2]
    side = max(1, round(_SEEN * min(height, width)))
    top, left = (height - side) // 2, (width - side) // 2
    return image[top : top + side, left : left + side]


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Probabilities [..., n] of logits [..., n]."""
    powers = np.exp(logits.astype(np.float64) - logits.max(-1, keepdims=True))
    return np.asarray(powers / powers.sum(-1, keepdims=True), np.float64)
