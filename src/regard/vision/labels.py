"""What a picture shows, in labels: the findings of several networks under one set of names.

An object detector finds things and where they are, a classifier names what the picture shows as a whole, the
face networks see people and the text networks letters. Here their classes become labels of the taxonomy, those
that mean the same become one, and every label brings its ancestors with it. Where two networks know the same kind
of thing, they are held against each other: `believed` and `faces` say how.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from regard.vision import objects
from regard.vision.detection import Detection
from regard.vision.faces import FaceEngine
from regard.vision.geometry import Box, resize
from regard.vision.objects import COCO_CLASSES
from regard.vision.tags import Tag
from regard.vision.taxonomy import Concept, concepts, labels_of_classes

if TYPE_CHECKING:
    from regard.vision.engines import Engines

# A tag that is doubted counts this much. Of 11 likely tags of a kind that the detector knows but gave less than
# `_UNSEEN`, 6 were right (photos of COCO and ImageNet); of 38 of other kinds on photos of people, 16 (LFW and others).
_DOUBT, _UNSEEN = 0.6, 0.15
# A face counts in a person of at least this score. In 46 photos of COCO and ImageNet a face was found: on people in
# 38, always in such a person, and on animals and things in 8, once.
_PERSON = 0.5
# Faces are looked for at this size; smaller ones than it shows are no label of the picture.
FACE_SIDE = 640
# Attributes cost some milliseconds a face, and what the largest faces show is what the picture shows.
_FACES_READ = 3
# The names of `attributes.ATTRIBUTES` that are labels, and the fields of a face that answer them.
ATTRIBUTES = {
    "SMILE": "smile",
    "EYEGLASSES": "eyeglasses",
    "SUNGLASSES": "sunglasses",
    "BEARD": "beard",
    "MUSTACHE": "mustache",
}


@dataclass(frozen=True, slots=True)
class Instance:
    """A thing that a label stands for; `confidence` 0–100 is the probability that it is there."""

    confidence: float
    box: Box


@dataclass(frozen=True, slots=True)
class Label:
    """A label that a picture has, and `confidence`, 0–100, that it does, see `merge`; instances best first."""

    concept: Concept
    confidence: float
    instances: tuple[Instance, ...]


def find(engines: "Engines", image: NDArray[np.uint8]) -> list[Label]:
    """The labels of `image`, uint8 RGB [h, w, 3], most confident first.

    Raises `models.ModelError`.
    """
    text = engines.spreader.offer(engines.text.glance, image)
    reading = engines.spreader.offer(engines.tags.read, image)
    detections = engines.spreader.offer(small_faces, engines.faces, image)
    things = engines.objects.detect(image, tiles=engines.settings.tiles)
    seen = faces(engines.faces, image, detections.made(), things)
    tags = believed(reading.made().tags, things)
    if words := text.made():
        seen["text:text"] = words
    return merge(things, tags, seen)


def believed(tags: Sequence[Tag], things: Sequence[objects.Instance]) -> list[Tag]:
    """The tags; those that the detector gives reason to doubt count less.

    The classifier learned that a photo shows one of its classes and seldom people, and says so where it is otherwise.
    Doubted are a tag of a kind of thing that the detector knows and does not see (a ski for a snowboard), and one
    of a kind that the detector does not know on a photo of people (a bikini for bare shoulders).
    """
    names = labels_of_classes()
    known = frozenset(names[f"coco:{name}"] for name in COCO_CLASSES)
    there = {names[f"coco:{thing.class_name}"] for thing in things if thing.score >= _UNSEEN}
    with_people = bool(people(things))

    def doubted(tag: Tag) -> bool:
        kinds = known.intersection(_line(names[f"imagenet:{tag.class_name}"]))
        return not kinds & there if kinds else with_people

    return [replace(tag, score=_DOUBT * tag.score) if doubted(tag) else tag for tag in tags]


def merge(instances: Sequence[objects.Instance], tags: Sequence[Tag], seen: Mapping[str, float]) -> list[Label]:
    """The labels that findings amount to, most confident first, equally confident ones by name.

    `seen` are probabilities, 0–1, of what faces and text show, such as `face:smile`. The confidence of a label is
    the highest of three probabilities: of its best instance, of the best of `seen`, and of its tags, each
    including what stands below it in the taxonomy. Tags exclude each other, so theirs are summed. So no label
    is less confident than one below it, or than its instances. That the sources may confirm each other is not
    counted: they make the same mistakes.
    """
    names = labels_of_classes()
    places: defaultdict[str, list[Instance]] = defaultdict(list)
    best: defaultdict[str, float] = defaultdict(float)
    main: defaultdict[str, float] = defaultdict(float)
    for instance in instances:
        label = names[f"coco:{instance.class_name}"]
        places[label].append(Instance(100 * instance.score, instance.box))
        for name in _line(label):
            best[name] = max(best[name], instance.score)
    for class_name, probability in seen.items():
        for name in _line(names[class_name]):
            best[name] = max(best[name], probability)
    for tag in tags:
        for name in _line(names[f"imagenet:{tag.class_name}"]):
            main[name] += tag.score
    labels = [
        Label(
            concepts()[name],
            100 * min(max(best[name], main[name]), 1.0),
            tuple(sorted(places[name], key=lambda instance: -instance.confidence)),
        )
        for name in best.keys() | main.keys()
    ]
    return sorted(labels, key=lambda label: (-label.confidence, label.concept.name))


def _line(label: str) -> tuple[str, ...]:
    """A label and all its ancestors."""
    return label, *concepts()[label].parents


def faces(
    engine: FaceEngine,
    image: NDArray[np.uint8],
    detections: Sequence[Detection],
    things: Sequence[objects.Instance],
) -> dict[str, float]:
    """Probabilities, 0–1, of what faces show of the picture: `face:face`, and what the largest of them wear.

    Only a detection in a person counts: face detectors find faces on dogs and bagels. An attribute's probability
    is that of the face times that of the attribute on it.
    """
    boxes = people(things)
    found = [face for face in detections if any(_holds(box, face.box) for box in boxes)]
    seen = {"face:face": max(face.confidence for face in found) / 100} if found else {}
    for face in engine.describe(image, found[:_FACES_READ], frozenset(ATTRIBUTES)):
        for field in ATTRIBUTES.values():
            answer = getattr(face, field)
            percent = answer.confidence if answer.value else 100 - answer.confidence
            probability = face.detection.confidence * percent / 100**2
            seen[f"face:{field}"] = max(seen.get(f"face:{field}", 0.0), probability)
    return seen


def people(things: Sequence[objects.Instance]) -> list[Box]:
    """Where people are seen more likely than not."""
    return [thing.box for thing in things if thing.class_name == "person" and thing.score >= _PERSON]


def small_faces(engine: FaceEngine, image: NDArray[np.uint8]) -> list[Detection]:
    """The faces that are seen when the picture is made small."""
    height, width = image.shape[:2]
    grow = max(1.0, max(height, width) / FACE_SIDE)
    small = resize(image, max(1, round(width / grow)), max(1, round(height / grow)))
    return [
        replace(
            face,
            box=Box(grow * face.box.left, grow * face.box.top, grow * face.box.width, grow * face.box.height),
            keypoints=np.asarray(grow * face.keypoints, np.float32),
        )
        for face in engine.detect(small)
    ]


def _holds(box: Box, other: Box) -> bool:
    """Whether the middle of the other box is in `box`."""
    x, y = other.left + other.width / 2, other.top + other.height / 2
    return box.left <= x <= box.left + box.width and box.top <= y <= box.top + box.height
