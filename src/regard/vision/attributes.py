"""What a face looks like: age, gender presentation, visible attributes, expression and gaze.

One network answers all but gaze (its card says how it was trained and where it is weak); gaze follows from
the irises of the mesh. These are statements about a picture, not about a person's identity or feelings.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from regard.vision.geometry import ARCFACE_POINTS, align
from regard.vision.mesh import Mesh
from regard.vision.pose import rotation
from regard.vision.session import CPU, Precision, Session

SIZE = 128
TEMPLATE = (ARCFACE_POINTS - 56) * (0.9 * SIZE / 112) + [64, 62]  # wider than ArcFace's: chin and brow are seen
AGE_EDGES = (0, 3, 10, 20, 30, 40, 50, 60, 70, 90)  # years; the last bin, 70 and more, is taken to end at 90
AGE_SHARE = 0.7
VISIBLE = ("eyeglasses", "sunglasses", "beard", "mustache", "smile", "mouth_open", "eyes_closed", "occluded")
EMOTIONS = ("CALM", "HAPPY", "SURPRISED", "ANGRY", "SAD", "DISGUSTED", "FEAR", "CONFUSED")
# The network was calibrated where 4 % of faces are occluded, and misses 37 % of medical masks at that prior.
# Four times the prior odds is a 15 % share: it finds 95 % of masks, with 3 % false alarms on bare faces.
OCCLUSION_ODDS = 4.0

# An eye of the mesh: iris centre, corner at the picture's left, corner at its right; and the side of the face.
EYES = (((468, 33, 133), -1), ((473, 362, 263), 1))
EYEBALL = 0.4  # radius of the eyeball / distance of the eye's corners: 12 mm / 30 mm
RESTING_HEIGHT = 0.06  # of the iris above the corners, in the same unit: the median of LFW
RESTING_OUTWARD = 0.044  # of the iris from the middle of the corners, likewise
CORNEA = 0.2  # how far the iris is in front of the corners, in the same unit; the mesh's own
# depth of it is mostly noise
EYES_AGREE = 15.0  # degrees between the two eyes' directions at which confidence has fallen by 40 %

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Answer(Generic[T]):
    """What is more probable, and its probability in percent, 50–100."""

    value: T
    confidence: float


@dataclass(frozen=True, slots=True)
class EyeDirection:
    """Where the eyes look relative to the head: degrees, yaw to the picture's right, pitch up.

    `confidence` 0–100 is no measured probability (there is no free data to calibrate it on). It is the
    product of the probabilities that the face is there, the eyes are open and no sunglasses hide them, times
    exp(−d²/2·15²) for d degrees between the two eyes' directions.
    """

    yaw: float
    pitch: float
    confidence: float


@dataclass(frozen=True, slots=True)
class Reading:
    """What the network says of a face, all probabilities 0–1.

    `age` float32 [9] for the bins of `AGE_EDGES`, `female`, `visible` by the names of `VISIBLE`, `emotion` by
    those of `EMOTIONS`.
    """

    age: NDArray[np.float32]
    female: float
    visible: Mapping[str, float]
    emotion: Mapping[str, float]


class AttributeNetwork:
    """Reads the attributes of an aligned face."""

    def __init__(
        self, path: Path, *, threads: int, device: str = CPU, precision: Precision = "bf16", cache: Path | None = None
    ) -> None:
        """bf16 halves the time and leaves accuracy as it is (see the card)."""
        self._session = Session(
            path, threads=threads, device=device, precision=precision, shapes={0: (1, 3, SIZE, SIZE)}, cache=cache
        )

    def read(self, image: NDArray[np.uint8], keypoints: NDArray[Any]) -> Reading:
        """The attributes of the face in `image` (RGB [h, w, 3]) at `keypoints` [5, 2]."""
        crop = align(image, keypoints, TEMPLATE, SIZE, cv2.BORDER_REPLICATE)
        age, female, visible, emotion = self._session.run(crop.transpose(2, 0, 1)[None].astype(np.float32))
        return Reading(
            age[0],
            float(female[0]),
            dict(zip(VISIBLE, map(float, visible[0]), strict=True)),
            dict(zip(EMOTIONS, map(float, emotion[0]), strict=True)),
        )


def answer(probability: float) -> Answer[bool]:
    """Yes or no, whichever is more probable. The network's probabilities are calibrated (see its card)."""
    return Answer(probability > 0.5, 100 * max(probability, 1 - probability))


def gender(reading: Reading) -> Answer[str]:
    """Which of "Female" and "Male" a viewer of the picture would more probably say."""
    says = answer(reading.female)
    return Answer("Female" if says.value else "Male", says.confidence)


def age_range(reading: Reading) -> tuple[int, int]:
    """Whole years low and high, between which 70 % of the probability lies, with as much below as above.

    Age is taken as uniform within a bin. Rounding outward makes it a little more: of FairFace validation
    faces 75 % are inside, and the range is 16 years wide on average.
    """
    cumulated = np.concatenate([[0.0], np.cumsum(reading.age, dtype=np.float64)])
    tails = np.array([1 - AGE_SHARE, 1 + AGE_SHARE]) / 2
    low, high = np.interp(tails, cumulated / cumulated[-1], AGE_EDGES)
    return int(np.floor(low)), int(np.ceil(high))


def occluded(reading: Reading) -> Answer[bool]:
    """Whether something hides eyes, nose or mouth: a mask, a hand, an object, or dark sunglasses.

    The confidence holds where 15 % of faces are occluded; see `OCCLUSION_ODDS`.
    """
    odds = OCCLUSION_ODDS * reading.visible["occluded"] / max(1 - reading.visible["occluded"], 1e-9)
    return answer(1 - (1 - reading.visible["sunglasses"]) / (1 + odds))


def emotions(reading: Reading) -> tuple[tuple[str, float], ...]:
    """Every expression of `EMOTIONS` with its probability in percent, the most probable first.

    DISGUSTED and FEAR were not trained and stay near 0.
    """
    return tuple(sorted(((name, 100 * p) for name, p in reading.emotion.items()), key=lambda pair: -pair[1]))


def eye_direction(mesh: Mesh, reading: Reading) -> EyeDirection:
    """Gaze from where the irises are between the corners of the eyes, in the frame of the head."""
    turned = rotation(mesh)
    eyes = np.array([_direction(mesh.points[list(eye)], turned, side) for eye, side in EYES])
    yaw, pitch = eyes.mean(0)
    apart = float(np.linalg.norm(eyes[0] - eyes[1]))
    seen = mesh.presence * (1 - reading.visible["eyes_closed"]) * (1 - reading.visible["sunglasses"])
    return EyeDirection(float(yaw), float(pitch), float(100 * seen * np.exp(-((apart / EYES_AGREE) ** 2) / 2)))


def _direction(eye: NDArray[Any], turned: NDArray[np.float64], side: int) -> NDArray[np.float64]:
    """Yaw and pitch in degrees of an `eye` [3, 3] (iris, left corner, right corner) of a mesh.

    `turned` is the mesh's rotation; `side` is −1 for the eye at the left of the face and 1 for the other.
    """
    iris, left, right = eye.astype(np.float64)
    middle, across = (left + right) / 2, right - left
    width = float(np.linalg.norm(across))
    forward = np.array([iris[0], iris[1], middle[2] - CORNEA * width]) - middle
    line, offset = ((np.stack([across, forward]) * [1, -1, -1]) @ turned)[:, :2] / width
    along = line / np.linalg.norm(line)
    sines = np.array([offset @ along - side * RESTING_OUTWARD, offset @ [-along[1], along[0]] - RESTING_HEIGHT])
    return np.asarray(np.degrees(np.arcsin(np.clip(sines / EYEBALL, -1, 1))))


def _visible(name: str) -> Callable[[Reading, Mesh], Answer[bool]]:
    return lambda reading, _: answer(reading.visible[name])


# Rekognition's name of an attribute: the field of a face, and how it follows from reading and mesh.
ATTRIBUTES: Mapping[str, tuple[str, Callable[[Reading, Mesh], Any]]] = {
    "AGE_RANGE": ("age_range", lambda reading, _: age_range(reading)),
    "SMILE": ("smile", _visible("smile")),
    "EYEGLASSES": ("eyeglasses", _visible("eyeglasses")),
    "SUNGLASSES": ("sunglasses", _visible("sunglasses")),
    "GENDER": ("gender", lambda reading, _: gender(reading)),
    "BEARD": ("beard", _visible("beard")),
    "MUSTACHE": ("mustache", _visible("mustache")),
    "EYES_OPEN": ("eyes_open", lambda reading, _: answer(1 - reading.visible["eyes_closed"])),
    "MOUTH_OPEN": ("mouth_open", _visible("mouth_open")),
    "EMOTIONS": ("emotions", lambda reading, _: emotions(reading)),
    "FACE_OCCLUDED": ("face_occluded", lambda reading, _: occluded(reading)),
    "EYE_DIRECTION": ("eye_direction", lambda reading, mesh: eye_direction(mesh, reading)),
}
