"""How well people and masks are found: the operation's own people, faces and covers against annotated photos.

Masks are judged per annotated face, through people and faces as DetectProtectiveEquipment finds them; bare faces
elsewhere (LFW) tell how often a mask is seen where none is. Hands, helmets and gloves are annotated nowhere.
"""

import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from regard.evaluate import objects
from regard.evaluate.result import Evaluation, Figure, Plot, Progress, Result, Series
from regard.evaluate.statistics import reliability, wilson
from regard.media import images
from regard.vision.engines import Engines
from regard.vision.equipment import LEAST, Person
from regard.vision.geometry import Box

FOUND = 0.3  # intersection over union of a face with the annotated one; detectors draw faces differently
SAME = 0.5  # of a person
# "Guidelines and quotas in Amazon Rekognition": the smallest person, in a picture of these sides.
PERSON, LONG, SHORT = 100, 1300, 800
BARE_FACES = 100
NOT_ANNOTATED = "no picture of the evaluation data is annotated with it"


@dataclass(frozen=True, slots=True)
class Judged:
    """An annotated face: whether it wears a mask; and if it was found, the probability 0–1 given to that."""

    masked: bool
    said: float | None
    covers: bool | None


def run(engines: Engines, data: Path, progress: Progress) -> Result:
    look = engines.equipment.look
    faces = [
        face
        for file in progress(sorted((data / "masks").glob("*.jpg")), "masks")
        for face in _annotated(file, look(images.decode(file.read_bytes(), 1)))
    ]
    portraits = sorted((data / "lfw").rglob("*.jpg"))
    portraits = portraits[:: max(len(portraits) // BARE_FACES, 1)][:BARE_FACES]
    bare = [
        Judged(False, part.cover.confidence / 100, part.cover.covers.value)
        for file in progress(portraits, "bare faces")
        for person in look(images.decode(file.read_bytes(), 1))[:1]
        for part in person.parts
        if part.cover is not None
    ]
    people, sure, right = _people(objects.read(data / "coco"), look, progress)
    return Result(
        f"{len(faces)} annotated faces in the photos of masks/, {len(bare)} bare faces of lfw/, and {people} people of "
        f"{PERSON} or more pixels (in {SHORT}×{LONG}) in coco/",
        (*_mask_figures(faces, bare), *_person_figures(people, sure, right), *_not_measured()),
        plots=(_plot(faces, bare),),
        notes=(
            "The masks' calibration was fitted to the same photos; `weights/face_mask/calibrate.py` prints figures of "
            "functions fitted to the other half. The photos show few people, some of them many times.",
        ),
    )


def _annotated(file: Path, persons: Sequence[Person]) -> list[Judged]:
    """The faces of a photo's Pascal VOC file, each with what was found there."""
    parts = [part for person in persons for part in person.parts if part.name == "FACE"]
    judged = []
    for item in ElementTree.parse(file.with_suffix(".xml")).getroot().iter("object"):  # noqa: S314
        left, top, right, bottom = (
            float(item.findtext(f"bndbox/{side}", "nan")) for side in ("xmin", "ymin", "xmax", "ymax")
        )
        box = Box(left, top, right - left, bottom - top)
        part = max(parts, key=lambda part: part.box.overlap(box), default=None)
        cover = part.cover if part is not None and part.box.overlap(box) >= FOUND else None
        judged.append(
            Judged(
                item.findtext("name") == "with_mask",
                None if cover is None else cover.confidence / 100,
                None if cover is None else cover.covers.value,
            )
        )
    return judged


def _people(
    photos: Sequence[objects.Photo], look: Callable[..., list[Person]], progress: Progress
) -> tuple[int, list[float], list[bool]]:
    """How many people of the least size are annotated, and of those found the confidence 0–1 and whether right.

    People who are smaller, and crowds, count neither way.
    """
    annotated, sure, right = 0, list[float](), list[bool]()
    for photo in progress(photos, "people"):
        picture = images.decode(photo.path.read_bytes())
        truth = photo.things.get("person", objects.NOTHING)
        boxes = [Box(*box) for box in truth.boxes.tolist()]
        least = PERSON / min(LONG / max(picture.shape[:2]), SHORT / min(picture.shape[:2]))
        large = [min(box.width, box.height) >= least for box in boxes]
        annotated += sum(is_large and not crowd for is_large, crowd in zip(large, truth.crowd, strict=True))
        free = [index for index, crowd in enumerate(truth.crowd) if not crowd]
        for person in sorted(look(picture), key=lambda person: -person.confidence):
            best = max(free, key=lambda index: boxes[index].overlap(person.box), default=None)
            hit = best is not None and boxes[best].overlap(person.box) >= SAME
            if hit and best is not None:
                free.remove(best)
                counts = large[best]
            else:
                crowded = any(
                    boxes[index].shared(person.box) > person.box.area / 2 for index in np.flatnonzero(truth.crowd)
                )
                counts = min(person.box.width, person.box.height) >= least and not crowded
            if counts:
                sure.append(person.confidence / 100)
                right.append(hit)
    return annotated, sure, right


def _mask_figures(faces: Sequence[Judged], bare: Sequence[Judged]) -> list[Figure]:
    found = [face for face in faces if face.said is not None]
    masked = [face for face in found if face.masked]
    worn = [face for face in masked if _says(face)]
    calibration = reliability(*_answers(found))
    return [
        _share("masked-faces-found", "Masked faces found as faces", masked, [f for f in faces if f.masked], "higher"),
        _share("mask-recall", "Masks seen on masked faces that were found", worn, masked, "higher"),
        _share(
            "mask-recall-all",
            "Masks seen on all annotated masked faces",
            worn,
            [face for face in faces if face.masked],
            "higher",
        ),
        _share(
            "mask-false-alarms",
            "Masks seen on bare faces beside masked ones",
            [face for face in found if not face.masked and _says(face)],
            [face for face in found if not face.masked],
            "lower",
        ),
        _share(
            "mask-false-alarms-lfw",
            "Masks seen on bare faces of LFW",
            [face for face in bare if _says(face)],
            bare,
            "lower",
        ),
        _share(
            "covers-nose",
            "Seen masks said to cover the nose (all annotated ones do)",
            [face for face in worn if face.covers],
            worn,
            "higher",
        ),
        Figure(
            "mask-calibration-error",
            "Expected calibration error of the probability of a mask",
            100 * calibration.error,
            "points",
            len(found),
            better="lower",
        ),
    ]


def _person_figures(annotated: int, sure: Sequence[float], right: Sequence[bool]) -> list[Figure]:
    calibration = reliability(np.array(sure), np.array(right, bool))
    return [
        _rate("person-recall", f"People of {PERSON} or more pixels found", sum(right), annotated, "higher"),
        _rate("person-precision", "Found people that are annotated", sum(right), len(right), "higher"),
        Figure(
            "person-calibration-error",
            "Expected calibration error of a person's confidence",
            100 * calibration.error,
            "points",
            len(right),
            better="lower",
        ),
    ]


def _not_measured() -> list[Figure]:
    return [
        Figure(name, title, None, "%", 0, note=NOT_ANNOTATED)
        for name, title in (
            ("hands", "Hands found"),
            ("nose-uncovered", "Masks below the nose recognised"),
            ("head-cover", "Head covers seen"),
            ("hand-cover", "Hand covers seen"),
        )
    ]


def _plot(faces: Sequence[Judged], bare: Sequence[Judged]) -> Plot:
    found = reliability(*_answers([face for face in (*faces, *bare) if face.said is not None]))
    return Plot(
        "Reliability of the probability of a mask",
        "line",
        "probability",
        "share that wear one",
        (Series("faces", tuple(found.probability.tolist()), tuple(found.share.tolist())),),
        diagonal=True,
    )


def _answers(faces: Sequence[Judged]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([face.said for face in faces], np.float64), np.array([face.masked for face in faces], bool)


def _says(face: Judged) -> bool:
    return face.said is not None and 100 * face.said >= LEAST


def _share(
    name: str, title: str, part: Sequence[Judged], whole: Sequence[Judged], better: Literal["higher", "lower"]
) -> Figure:
    return _rate(name, title, len(part), len(whole), better)


def _rate(name: str, title: str, part: int, whole: int, better: Literal["higher", "lower"]) -> Figure:
    if not whole:
        return Figure(name, title, None, "%", 0, note="no trial")
    low, high = wilson(part, whole)
    return Figure(name, title, 100 * part / whole, "%", whole, 100 * low, 100 * high, better)


EVALUATIONS = (
    Evaluation(
        "equipment",
        "Protective equipment: people and masks",
        ("movenet_multipose", "face_mask"),
        ("masks", "coco/instances.json", "lfw"),
        run,
        fast=False,
    ),
)
