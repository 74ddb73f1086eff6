"""The people in a frame of a video, each with what he or she can be told by in the next one: place, colours, face.

This is what `tracking` follows. Frames are many, so less is looked at than in a picture: faces only upright ones,
people by the pose network alone.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from regard.vision.equipment import EquipmentEngine
from regard.vision.faces import Face
from regard.vision.geometry import Box
from regard.vision.quality import rejections
from regard.vision.tracking import LEAST

# A face of less quality is not embedded: what it resembles says little of who it is.
RECOGNISABLE = "AUTO"
_FACE_SIDE = 112  # pixels, that an embedder sees; more of a face tells no more

_BINS = (6, 6, 6)  # of CIELAB's L*, a* and b*
# Within ± this a* and b* lie nearly all skin and cloth; what lies beyond counts for the last bin.
_RANGE = 48
_MIDDLE = 0.5  # of a box's width, that is neither arms nor background
_SAMPLES = 24


@dataclass(frozen=True, slots=True)
class Person:
    """A person, 0–100 percent surely there.

    `colours` float32 [216] are as in `tracking.Sighting`, of head and chest. `embedding` float32 [d] is the face's
    where it is good enough, and `quality` 0–1 ranks how good.
    """

    box: Box
    confidence: float
    face: Face | None
    colours: NDArray[np.float32]
    embedding: NDArray[np.float32] | None
    quality: float


def people(engine: EquipmentEngine, image: NDArray[np.uint8]) -> list[Person]:
    """The people in `image`, uint8 RGB [h, w, 3], from left to right."""
    detections = engine.faces.detector.upright(image)
    found = [person for person in engine.people(image, detections) if person.confidence >= LEAST]
    persons = []
    for person in sorted(found, key=lambda person: (person.box.left, person.box.top)):
        face = embedding = None
        quality = 0.0
        if person.face is not None:
            (face,) = engine.faces.describe(image, [person.face], frozenset())
            quality = _quality(face)
            if not rejections(face, (image.shape[1], image.shape[0]), RECOGNISABLE):
                (embedding,) = engine.faces.embed(image, [face])
        persons.append(Person(person.box, person.confidence, face, colours(image, person.box), embedding, quality))
    return persons


def colours(image: NDArray[np.uint8], box: Box) -> NDArray[np.float32]:
    """The roots of the shares of colours in the upper middle of a box, float32 [216]."""
    height, width = image.shape[:2]
    side = _MIDDLE * box.width
    left = int(np.clip(box.left + (box.width - side) / 2, 0, width - 1))
    top = int(np.clip(box.top, 0, height - 1))
    right = int(np.clip(box.left + (box.width + side) / 2, left + 1, width))
    bottom = int(np.clip(box.top + min(2 * side, box.height), top + 1, height))
    part = cv2.resize(image[top:bottom, left:right], (_SAMPLES, 2 * _SAMPLES), interpolation=cv2.INTER_AREA)
    lab = cv2.cvtColor(part.astype(np.float32) / 255, cv2.COLOR_RGB2LAB).reshape(-1, 3)
    near, far = np.array([0, -_RANGE, -_RANGE]), np.array([100, _RANGE, _RANGE])
    counts, _ = np.histogramdd(np.clip(lab, near, far), bins=_BINS, range=list(zip(near, far, strict=True)))
    return np.asarray(np.sqrt(counts.ravel() / counts.sum()), np.float32)


def _quality(face: Face) -> float:
    """How well a face can be recognised compared with others, 0–1: sharp, large, seen from the front.

    It only ranks the faces of one person, and no one has measured more of it.
    """
    box = face.detection.box
    turned = np.cos(np.radians(face.pose.yaw)) * np.cos(np.radians(face.pose.pitch))
    large = min(1.0, min(box.width, box.height) / _FACE_SIDE)
    return float(face.quality.sharpness / 100 * large * max(turned, 0.0) * face.presence)
