"""How good the picture of a face is, and whether that is good enough to enrol it.

A collection is only as good as the faces in it: one dark or blurred face matches many strangers. Brightness
and sharpness are measured on the aligned face, so that they do not depend on where or how large it is in the
picture (a face of fewer than about 50 pixels is less sharp because it shows less).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from regard.vision.geometry import ARCFACE_POINTS, Box, align

if TYPE_CHECKING:
    from regard.vision.faces import Face

SIZE = 112
_INNER = (slice(24, 104), slice(20, 92))  # brows to chin, cheek to cheek: neither hair nor background
_BLUR_LENGTH = 9  # pixels of the aligned crop
_BLURRED, _SHARP = 0.8, 0.3  # blur effect of a face that shows no detail, and of the sharpest photos


@dataclass(frozen=True, slots=True)
class Quality:
    """Brightness and sharpness, 0–100."""

    brightness: float
    sharpness: float


def quality(image: NDArray[np.uint8], keypoints: NDArray[Any]) -> Quality:
    """The quality of the face in `image` (RGB [h, w, 3]) at `keypoints` [5, 2].

    Brightness is the CIE lightness L* that a tenth of the face's pixels exceed: lit skin, which depends less
    on the colour of the skin than the mean does.
    """
    crop = align(image, keypoints, ARCFACE_POINTS, SIZE, cv2.BORDER_REPLICATE)[_INNER]
    lightness = cv2.cvtColor(crop.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)[:, :, 0]
    return Quality(float(np.clip(np.percentile(lightness, 90), 0, 100)), _sharpness(lightness))


def _sharpness(lightness: NDArray[Any]) -> float:
    """100 for the sharpest photos, 0 for none of the detail left."""
    return float(np.clip(100 * (_BLURRED - blur_effect(lightness)) / (_BLURRED - _SHARP), 0, 100))


def blur_effect(lightness: NDArray[Any], where: NDArray[np.bool_] | None = None) -> float:
    """How little detail L* [h, w], or its pixels `where`, has to lose: 0–1, 1 for none.

    From Crete et al. 2007 ("The blur effect: perception and estimation with a new no-reference perceptual blur
    metric"): the share of the neighbouring pixels' differences that remains when the picture is blurred, along
    the axis where more remains. It does not depend on contrast; noise counts as detail.
    """
    if where is None:
        where = np.ones(lightness.shape, bool)
    return max(_blur(lightness, where), _blur(lightness.T, where.T))


def _blur(lightness: NDArray[Any], where: NDArray[np.bool_]) -> float:
    counted = where[:, 1:] & where[:, :-1]
    differences = np.abs(np.diff(lightness, axis=1))[counted]
    blurred = np.abs(np.diff(cv2.blur(np.ascontiguousarray(lightness), (_BLUR_LENGTH, 1)), axis=1))[counted]
    total = float(differences.sum())
    lost = float(np.maximum(differences - blurred, 0).sum())
    return 1 - lost / total if total else 1.0


@dataclass(frozen=True, slots=True)
class Bar:
    """The least that is accepted: percents, degrees from the front, pixels of the box's shorter side, and
    the shares (0–1) of the mesh network's presence and of the box inside the picture."""

    confidence: float
    brightness: float
    sharpness: float
    yaw: float
    pitch: float
    pixels: float
    presence: float
    inside: float


BARS: Mapping[str, Bar] = {
    "LOW": Bar(75, 10, 10, 65, 55, 16, 0.0, 0.5),
    "AUTO": Bar(80, 18, 25, 50, 45, 24, 0.01, 0.6),
    "MEDIUM": Bar(85, 24, 35, 40, 35, 40, 0.5, 0.7),
    "HIGH": Bar(90, 30, 50, 25, 25, 64, 0.9, 0.8),
}
"""What Rekognition's QualityFilter levels mean here. Rekognition does not publish its own bars."""


def rejections(face: "Face", image_size: tuple[int, int], level: str) -> tuple[str, ...]:
    """Why a face is not good enough for `level`, in Rekognition's words; empty if it is.

    `image_size` is (width, height) in pixels. `level` is NONE or a name of `BARS`, else `KeyError`.
    """
    if level == "NONE":
        return ()
    bar = BARS[level]
    box = face.detection.box
    failed = {
        "EXTREME_POSE": abs(face.pose.yaw) > bar.yaw or abs(face.pose.pitch) > bar.pitch,
        "LOW_BRIGHTNESS": face.quality.brightness < bar.brightness,
        "LOW_SHARPNESS": face.quality.sharpness < bar.sharpness,
        "LOW_CONFIDENCE": face.detection.confidence < bar.confidence,
        "SMALL_BOUNDING_BOX": min(box.width, box.height) < bar.pixels,
        "LOW_FACE_QUALITY": face.presence < bar.presence or _inside(box, *image_size) < bar.inside,
    }
    return tuple(reason for reason, applies in failed.items() if applies)


def _inside(box: Box, width: int, height: int) -> float:
    """The share of the box that lies in the picture."""
    across = min(box.left + box.width, width) - max(box.left, 0)
    down = min(box.top + box.height, height) - max(box.top, 0)
    return max(across, 0) * max(down, 0) / box.area
