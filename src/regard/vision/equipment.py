"""Protective equipment: the people in a picture, their faces, heads and hands, and what covers them.

People come from the object detectors and the pose network, which miss different ones; hands and heads from the
pose, faces from the face detector. Masks are judged on faces. No network here knows a helmet or a glove, so of
heads and hands it is said that they are seen, and nothing of what they wear.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from regard.settings import Settings
from regard.vision import models
from regard.vision.attributes import Answer
from regard.vision.body import JOINTS, Body, BodyNetwork
from regard.vision.detection import Detection
from regard.vision.faces import FaceEngine
from regard.vision.geometry import ARCFACE_POINTS, Box, similarity_transform
from regard.vision.masks import MaskNetwork
from regard.vision.models import Curve, ModelError
from regard.vision.objects import ObjectEngine
from regard.vision.spreading import Spreader

MAX_PERSONS = 15  # DetectProtectiveEquipment answers for as many
LEAST = 50.0  # percent, below which neither person nor part is told of

_SAME = 0.5  # overlap of a person's box with a pose's from which on they are of one person
_WITHIN = 0.7  # share of the smaller box inside the other, from which on a second box is of the same person
# Farthest that the middle of a face may be from where the pose has the head, in heights of the face.
_HEAD_REACH = 1.0
_FACE_ALONE = 90.0  # percent, from which on a face that belongs to nobody found makes a person of its own
# Corners of where a mask is on the aligned face.
_MASK = np.array([(18, 56), (94, 56), (18, 114), (94, 114)], np.float64)
# A head around its face: what is added above and on each side, in heights and widths of the face.
_CROWN, _SIDE = 0.25, 0.15
_HEAD_PER_SHOULDERS = 0.55  # side of a head's box / distance of the shoulders, where no face is seen
_HAND_PER_FOREARM = 0.75  # side of a hand's box / length of the forearm
_HAND_BEYOND = 0.3  # of the forearm's length, from the wrist to the middle of the hand

_INDEX = {name: number for number, name in enumerate(JOINTS)}
_HEAD = [_INDEX[name] for name in ("nose", "left_eye", "right_eye", "left_ear", "right_ear")]

PartName = Literal["FACE", "HEAD", "LEFT_HAND", "RIGHT_HAND"]
CoverName = Literal["FACE_COVER", "HEAD_COVER", "HAND_COVER"]
_HANDS: tuple[tuple[PartName, str], ...] = (("LEFT_HAND", "left"), ("RIGHT_HAND", "right"))


@dataclass(frozen=True, slots=True)
class Cover:
    """Equipment on a body part.

    `confidence` 0–100 percent is the probability that it is worn, so 100 − confidence that it is not. `covers`
    says whether it covers the part, if it is worn.
    """

    name: CoverName
    confidence: float
    covers: Answer[bool]
    box: Box


@dataclass(frozen=True, slots=True)
class Part:
    """A body part that is seen, with the probability of that, 50–100 percent.

    Left and right are the person's own. `cover` is None where no network can tell, which does not say that
    nothing is worn.
    """

    name: PartName
    confidence: float
    box: Box
    cover: Cover | None = None


@dataclass(frozen=True, slots=True)
class Person:
    """A person, and how surely the box shows one, 50–100 percent; the box lies within the picture.

    `confidence` is the highest of what detector, pose and face promise, each calibrated by itself, and so too high
    where the box must fit (`regard evaluate equipment` says by how much).
    """

    box: Box
    confidence: float
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Found:
    """A person, put together from what the networks have found. `confidence` 0–100 is as that of `Person`."""

    box: Box
    confidence: float
    body: Body | None = None
    face: Detection | None = None


@dataclass(frozen=True, slots=True)
class EquipmentEngine:
    """Looks at people's equipment; many threads may use it at once.

    `calibration` maps the pose network's scores to percents, for a `person` and for a `joint`.
    """

    faces: FaceEngine
    objects: ObjectEngine
    bodies: BodyNetwork
    masks: MaskNetwork
    calibration: Mapping[str, Curve] = field(repr=False)
    spreader: Spreader = field(repr=False)

    @classmethod
    def load(cls, settings: Settings, faces: FaceEngine, objects: ObjectEngine) -> Self:
        """Raises `models.ModelError`."""
        cache, threads, device, compiled = (
            settings.cache,
            settings.threads,
            settings.device,
            settings.cache / "compiled",
        )
        calibration = json.loads((models.WEIGHTS / "movenet_multipose" / "calibration.json").read_text("utf-8"))
        try:
            bodies = BodyNetwork(
                models.path("movenet_multipose", cache), threads=threads, device=device, cache=compiled
            )
            masks = MaskNetwork(models.path("face_mask", cache), threads=threads, device=device, cache=compiled)
        except RuntimeError as error:
            raise ModelError(f"a network cannot be read, see `regard models verify`: {error}") from error
        return cls(faces, objects, bodies, masks, calibration, Spreader(threads, "equipment"))

    def look(self, image: NDArray[np.uint8]) -> list[Person]:
        """The people in `image`, uint8 RGB [h, w, 3], the largest first, at most 15."""
        faces = self.spreader.offer(self.faces.detect, image)
        bodies = self.spreader.offer(self.bodies.find, image)
        things = [thing for thing in self.objects.detect(image) if thing.class_name == "person"]
        poses = [(body, self._percent("person", body.score)) for body in bodies.made()]
        people = united([Found(thing.box, 100 * thing.score) for thing in things], poses)
        people = with_faces(people, faces.made(), (image.shape[1], image.shape[0]))
        people = sorted((found for found in people if found.confidence >= LEAST), key=lambda found: -found.box.area)
        return self.spreader.each(lambda found: self._person(image, found), people[:MAX_PERSONS])

    def people(self, image: NDArray[np.uint8], faces: Sequence[Detection]) -> list[Found]:
        """The people in `image`, uint8 RGB [h, w, 3], by their poses and these `faces` of it alone.

        The object detectors, which are not asked, miss people whom the pose network finds, and take thrice its time.
        It in turn sees people in furniture, at any confidence below 90: look at several pictures before you believe
        in one.
        """
        poses = [(body, self._percent("person", body.score)) for body in self.bodies.find(image)]
        return with_faces(united([], poses), faces, (image.shape[1], image.shape[0]))

    def _person(self, image: NDArray[np.uint8], found: Found) -> Person:
        parts = [
            *([] if found.face is None else [self._face(image, found.face)]),
            *([] if (head := self._head(found)) is None else [head]),
            *([] if found.body is None else self._hands(found.body)),
        ]
        return Person(found.box, found.confidence, tuple(part for part in parts if part.confidence >= LEAST))

    def _face(self, image: NDArray[np.uint8], detection: Detection) -> Part:
        (face,) = self.faces.describe(image, [detection], frozenset())
        occluded = self.faces.attributes.read(image, face.keypoints).visible["occluded"]
        mask = self.masks.read(image, detection.box, face.keypoints, occluded)
        cover = Cover("FACE_COVER", 100 * mask.worn, mask.covers_nose, _lower_face(face.keypoints))
        return Part("FACE", detection.confidence, detection.box, cover)

    def _head(self, found: Found) -> Part | None:
        """The head, as sure as its face, or as the second best of nose, eyes and ears."""
        if found.face is not None:
            return Part("HEAD", found.face.confidence, _head_around(found.face.box))
        if found.body is None:
            return None
        joints = found.body.joints
        shoulders = joints[[_INDEX["left_shoulder"], _INDEX["right_shoulder"]], :2]
        spread = float(np.ptp(joints[_HEAD, :2], axis=0).max())
        side = max(_HEAD_PER_SHOULDERS * float(np.linalg.norm(shoulders[0] - shoulders[1])), 2 * spread)
        return Part(
            "HEAD", self._percent("joint", float(np.sort(joints[_HEAD, 2])[-2])), _square(_middle(joints), side)
        )

    def _hands(self, body: Body) -> list[Part]:
        """The hands, each as sure as its wrist, where the forearm points."""
        hands = []
        for name, side in _HANDS:
            elbow, wrist = body.joints[_INDEX[f"{side}_elbow"]], body.joints[_INDEX[f"{side}_wrist"]]
            forearm = wrist[:2] - elbow[:2]
            box = _square(wrist[:2] + _HAND_BEYOND * forearm, _HAND_PER_FOREARM * float(np.linalg.norm(forearm)))
            hands.append(Part(name, self._percent("joint", float(wrist[2])), box))
        return hands

    def _percent(self, of: str, score: float) -> float:
        scores, percents = zip(*self.calibration[of], strict=True)
        return float(np.interp(score, scores, percents))


def united(people: Sequence[Found], bodies: Sequence[tuple[Body, float]]) -> list[Found]:
    """The people of both finders: `people` with the surest pose that is theirs, and the poses of others.

    `bodies` are poses, each with the probability in percent of a person. The higher probability counts. A pose
    that no person has, but that lies within a sure one, is a part of that one.
    """
    free = list(bodies)
    found = []
    for person in people:
        own = [pair for pair in free if pair[0].box.overlap(person.box) > _SAME]
        body, percent = max(own, key=lambda pair: pair[1], default=(None, 0.0))
        free = [pair for pair in free if pair[0] is not body]
        found.append(Found(person.box, max(person.confidence, percent), body))
    sure = [person.box for person in found if person.confidence >= LEAST]
    found.extend(
        Found(body.box, percent, body)
        for body, percent in free
        if all(body.box.shared(box) <= _WITHIN * min(body.box.area, box.area) for box in sure)
    )
    return found


def with_faces(people: Sequence[Found], faces: Sequence[Detection], size: tuple[int, int]) -> list[Found]:
    """Each person with the face on their head, sure people and the nearest first, and a person for each sure face
    that is left.

    `size` is the picture's width and height. Who shows a face is a person at least as surely as it is one.
    """
    pairs = sorted(
        (person.confidence < LEAST, distance, number, index)
        for number, person in enumerate(people)
        for index, face in enumerate(faces)
        if (distance := _from_head(person, face.box)) <= _HEAD_REACH
    )
    found, taken = list(people), set[int]()
    for *_, number, index in pairs:
        if found[number].face is None and index not in taken:
            taken.add(index)
            person, face = found[number], faces[index]
            found[number] = replace(
                person,
                box=_within(person.box.union(_head_around(face.box)), size),
                face=face,
                confidence=max(person.confidence, face.confidence),
            )
    alone = [face for index, face in enumerate(faces) if index not in taken and face.confidence >= _FACE_ALONE]
    return found + [Found(_within(_bust(face.box), size), face.confidence, face=face) for face in alone]


def _from_head(person: Found, face: Box) -> float:
    """How far a face is from where a person's head should be, in heights of the face."""
    middle = np.array([face.left + face.width / 2, face.top + face.height / 2])
    if person.body is not None:
        return float(np.linalg.norm(middle - _middle(person.body.joints))) / face.height
    across = abs(middle[0] - person.box.left - person.box.width / 2) / max(person.box.width / 2, 1)
    down = (middle[1] - person.box.top) / max(person.box.height, 1)
    # Somewhere in the upper half of the box; the nearer to the middle of its top, the sooner.
    return float(max(across, abs(down) * 2)) if face.shared(person.box) else np.inf


def _middle(joints: NDArray[np.float32]) -> NDArray[np.float64]:
    """Where the head is: the mean of nose, eyes and ears by their scores; x, y."""
    head = joints[_HEAD].astype(np.float64)
    return np.asarray(np.average(head[:, :2], axis=0, weights=head[:, 2] + 1e-6))


def _head_around(face: Box) -> Box:
    """A head around its face."""
    return Box(
        face.left - _SIDE * face.width,
        face.top - _CROWN * face.height,
        (1 + 2 * _SIDE) * face.width,
        (1 + _CROWN) * face.height,
    )


def _bust(face: Box) -> Box:
    """Head and shoulders around a face."""
    return Box(face.left - face.width, face.top - _CROWN * face.height, 3 * face.width, (2 + _CROWN) * face.height)


def _within(box: Box, size: tuple[int, int]) -> Box:
    """What of a box lies in a picture of `size`, width and height."""
    left, top = max(box.left, 0.0), max(box.top, 0.0)
    right, bottom = min(box.left + box.width, size[0]), min(box.top + box.height, size[1])
    return Box(left, top, max(right - left, 0.0), max(bottom - top, 0.0))


def _lower_face(keypoints: NDArray[Any]) -> Box:
    """The box around the lower half of a face, where a mask is: from the bridge of the nose to the chin."""
    back = cv2.invertAffineTransform(similarity_transform(keypoints, ARCFACE_POINTS))
    corners = _MASK @ back[:, :2].T + back[:, 2]
    (left, top), (right, bottom) = corners.min(0).tolist(), corners.max(0).tolist()
    return Box(left, top, right - left, bottom - top)


def _square(middle: NDArray[Any], side: float) -> Box:
    return Box(float(middle[0]) - side / 2, float(middle[1]) - side / 2, side, side)
