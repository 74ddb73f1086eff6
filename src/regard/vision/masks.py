"""Does a face wear a mask, and does the mask cover the nose?

A classifier of face crops and the occlusion that the attribute network sees are wrong about different faces: the
one takes beards in the dark for masks, the other hands. Together they are wrong about a third as many.
Whether the nose is covered follows from colour: a covered nose has the colour of the mask over the mouth, a
bare one that of the skin between the eyes.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from regard.vision import models
from regard.vision.attributes import Answer, answer
from regard.vision.geometry import ARCFACE_POINTS, Box, align
from regard.vision.session import CPU, Session

SIZE = 224
MARGIN = 0.2  # of the longer side of a face's box, on each side, that the crop shows
_ALIGNED = 112
# Rows and columns of the aligned face: the tip of the nose, the skin between and above the eyes, the mouth.
_NOSE = (slice(64, 76), slice(49, 63))
_SKIN = (slice(38, 50), slice(44, 68))
_MOUTH = (slice(84, 98), slice(44, 68))
# Light falls off from brow to chin, so that lightness tells less than colour.
_LAB_WEIGHT = np.array([0.5, 1.0, 1.0])
_SURE = 1e-4  # probabilities are kept this far from 0 and 1 before their logits are taken


@dataclass(frozen=True, slots=True)
class Mask:
    """What is known of a mask on a face.

    `worn` 0–1 is the probability that the face wears one, calibrated for pictures where every second face does.
    `covers_nose` holds if one is worn; its confidence is calibrated on composites (see the card).
    """

    worn: float
    covers_nose: Answer[bool]


class MaskNetwork:
    """Judges faces; many threads may use it at once."""

    def __init__(self, path: Path, *, threads: int, device: str = CPU, cache: Path | None = None) -> None:
        self._session = Session(path, threads=threads, device=device, shapes={0: (1, 3, SIZE, SIZE)}, cache=cache)
        self._calibration = json.loads((models.WEIGHTS / "face_mask" / "calibration.json").read_text("utf-8"))

    def read(self, image: NDArray[np.uint8], box: Box, keypoints: NDArray[Any], occluded: float) -> Mask:
        """The mask on the face in `image`, uint8 RGB [h, w, 3].

        `keypoints` [5, 2] as a `Detection` has them; `occluded` 0–1 is the attribute network's probability.
        """
        evidence = {"mask": self.score(image, box), "occluded": occluded}
        return Mask(
            worn(evidence, self._calibration["worn"]),
            answer(covers_nose(nose_contrast(image, keypoints), self._calibration["covers_nose"])),
        )

    def score(self, image: NDArray[np.uint8], box: Box) -> float:
        """The network's own probability, 0–1, that the face in `box` wears a mask."""
        crop = cv2.resize(_around(image, box), (SIZE, SIZE), interpolation=cv2.INTER_LINEAR)
        (mask,) = self._session.run(crop.transpose(2, 0, 1)[None].astype(np.float32) / 127.5 - 1)
        return float(mask[0, 0])


def worn(evidence: Mapping[str, float], calibration: Mapping[str, float]) -> float:
    """The probability 0–1 of a mask: logistic in the logits of `evidence`, weighted by `calibration`."""
    weighted = (calibration[name] * _logit(probability) for name, probability in evidence.items())
    return _sigmoid(calibration["offset"] + sum(weighted))


def covers_nose(contrast: float, calibration: Mapping[str, float]) -> float:
    """The probability 0–1 that a mask covers the nose, for the `nose_contrast` of the face."""
    return _sigmoid(calibration["offset"] + calibration["contrast"] * contrast)


def nose_contrast(image: NDArray[np.uint8], keypoints: NDArray[Any]) -> float:
    """How much more the nose differs in colour from the skin above than from the mouth, in units of CIELAB.

    Positive where the mask hides the nose.
    """
    face = align(image, keypoints, ARCFACE_POINTS, _ALIGNED, cv2.BORDER_REPLICATE)
    return aligned_contrast(face)


def aligned_contrast(face: NDArray[np.uint8]) -> float:
    """`nose_contrast` of an aligned face, uint8 RGB [112, 112, 3]."""
    lab = cv2.cvtColor(face.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    nose, skin, mouth = (np.median(lab[part].reshape(-1, 3), 0) * _LAB_WEIGHT for part in (_NOSE, _SKIN, _MOUTH))
    return float(np.linalg.norm(nose - skin) - np.linalg.norm(nose - mouth))


def _around(image: NDArray[np.uint8], box: Box) -> NDArray[np.uint8]:
    """The square around a face with its margin, as far as it lies in the picture; at least a pixel."""
    half = max(box.width, box.height) * (0.5 + MARGIN)
    centre = np.array([box.left + box.width / 2, box.top + box.height / 2])
    limit = np.array(image.shape[1::-1])
    near = np.clip(np.round(centre - half), 0, limit - 1).astype(int)
    far = np.clip(np.round(centre + half), near + 1, limit).astype(int)
    return image[near[1] : far[1], near[0] : far[0]]


def _logit(probability: float) -> float:
    kept = min(max(probability, _SURE), 1 - _SURE)
    return float(np.log(kept / (1 - kept)))


def _sigmoid(x: float) -> float:
    return float(1 / (1 + np.exp(-x)))
