"""How many faces are found, how many are invented, and whose are missed.

Portraits show one person, so a face must be about the middle. Photos with annotated boxes, photos without
people and group photos whose names say how many there are count the rest; small and turned faces are made
from portraits.
"""

import json
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from regard.evaluate import fairface, groups
from regard.evaluate.groups import Kind, Rows, cell, percent
from regard.evaluate.portraits import Portrait, inside, look, read
from regard.evaluate.result import Cell, Evaluation, Figure, Plot, Progress, Result, Table
from regard.vision.detection import Detection
from regard.vision.engines import Engines
from regard.vision.faces import Face
from regard.vision.geometry import Box

NETWORKS = ("yunet",)
PORTRAITS = (
    ("lfw", "LFW", "lfw/*/*.jpg"),
    ("fairface", "FairFace", "fairface/*.jpg"),
    ("cfp-frontal", "CFP, frontal", "cfp/*/frontal/*.jpg"),
    ("cfp-profile", "CFP, profile", "cfp/*/profile/*.jpg"),
)
CONFIDENCES = (80, 90, 99)
PERSON = 1  # COCO's category
OVERLAP = 0.4  # intersection over union from which a detection is the annotated face
EVERY = 13  # of LFW's pictures, for small and turned faces
WIDTHS = (24, 32, 40, 60, 100, 300)
SCENE = (1920, 1080)
TURNS = (0, 15, 30, 45, 60, 90, 135, 180)

Image = NDArray[np.uint8]
Detect = Callable[[Image], list[Detection]]


def central(portrait: Portrait, confidence: float = 0.0) -> bool:
    """Whether a face of at least that confidence reaches into the middle third of the picture.

    The very middle would be too strict: in a profile it shows an ear or hair.
    """
    width, height = portrait.size
    boxes = (face.detection.box for face in portrait.faces if face.detection.confidence >= confidence)
    return any(
        box.left < width * 2 / 3
        and box.left + box.width > width / 3
        and box.top < height * 2 / 3
        and box.top + box.height > height / 3
        for box in boxes
    )


def measure(engines: Engines, data: Path, progress: Progress) -> Result:
    """Faces found in portraits and groups and per group of people, and invented where there are none."""
    seen = {name: look(engines, sorted(data.glob(pattern)), progress, title) for name, title, pattern in PORTRAITS}
    figures = [
        percent(name, f"{title}: face found", np.array([central(seeing) for seeing in seen[name]]), "higher")
        for name, title, _ in PORTRAITS
    ]
    empty = _without_people(data)
    invented = [bool(seeing.faces) for seeing in look(engines, empty, progress, "COCO")]
    figures.append(percent("false-faces", "COCO photos without people: a face is found", np.array(invented), "lower"))
    crowds = sorted((data / "samples" / "groups").glob("*_[0-9]*.jpg"))
    counts = [(path, int(path.stem.rsplit("_")[-1])) for path in crowds]
    found = [len(seeing.faces) for seeing in look(engines, crowds, progress, "Groups")]
    counted = np.array([number == faces for (_, number), faces in zip(counts, found, strict=True)], bool)
    figures.append(percent("groups", "Group photos whose faces are all counted", counted, "higher"))
    more, tables, plots = _by_group(engines, data, progress)
    tables = [_at_confidences(seen), *tables, _crowds(counts, found)]
    told = (
        f"{sum(map(len, seen.values())):,} portraits of LFW, FairFace and CFP, {len(empty)} COCO photos without "
        f"annotated people, {len(crowds)} group photos."
    )
    notes = (
        "A portrait's face is found if a detection reaches into the middle third of the picture.",
        "COCO's faces in drawings and on screens count as invented.",
        groups.CHANCE,
    )
    return Result(told, (*figures, *more), tuple(tables), tuple(plots), notes)


def _by_group(engines: Engines, data: Path, progress: Progress) -> tuple[list[Figure], list[Table], list[Plot]]:
    pictures = fairface.labelled(data)
    seen = look(engines, [picture.path for picture in pictures], progress, "FairFace")
    missed = np.array([not central(seeing) for seeing in seen], bool)
    return groups.by_group(Kind("missed", "FairFace faces missed"), fairface.groupings(pictures), missed)


def _without_people(data: Path) -> list[Path]:
    coco = json.loads((data / "coco" / "instances.json").read_text("utf-8"))
    people = {entry["image_id"] for entry in coco["annotations"] if entry["category_id"] == PERSON}
    return sorted(data / "coco" / entry["file_name"] for entry in coco["images"] if entry["id"] not in people)


def _at_confidences(seen: dict[str, list[Portrait]]) -> Table:
    lines: Rows = tuple(
        (
            title,
            len(seen[name]),
            *(
                cell(percent("", "", np.array([central(seeing, least) for seeing in seen[name]], bool)))
                for least in (0, *CONFIDENCES)
            ),
        )
        for name, title, _ in PORTRAITS
    )
    columns = ("Portraits", "Pictures", "Found, %", *(f"at Confidence {least}, %" for least in CONFIDENCES))
    return Table("Faces found in portraits", columns, lines)


def _crowds(counts: Sequence[tuple[Path, int]], found: Sequence[int]) -> Table:
    lines = tuple((path.name, number, faces) for (path, number), faces in zip(counts, found, strict=True))
    return Table("Group photos", ("Photo", "Faces", "Found"), lines)


@dataclass(frozen=True, slots=True, eq=False)
class Annotated:
    """A face with a box drawn by people, whether it wears a mask, and what was found there."""

    box: Box
    masked: bool
    face: Face | None


def masks(engines: Engines, data: Path, progress: Progress) -> Result:
    """Masked and bare faces: found or not, and called occluded or not."""
    notes = sorted((data / "masks").glob("*.xml"))
    seen = look(engines, [note.with_suffix(".jpg") for note in notes], progress, "Masks")
    truths = [list(annotations(note, seeing)) for note, seeing in zip(notes, seen, strict=True)]
    faces = [face for truth in truths for face in truth]
    extra = sum(
        not any(same(face.detection.box, truth.box) for truth in known)
        for known, seeing in zip(truths, seen, strict=True)
        for face in seeing.faces
    )
    total = sum(len(seeing.faces) for seeing in seen)
    masked, bare = ([face for face in faces if face.masked is on] for on in (True, False))
    sizes = (("under 60 px", 0, 60), ("60 to 150 px", 60, 150), ("150 px and more", 150, np.inf))
    rows = [("masked", masked), ("bare", bare)]
    rows += [(name, [face for face in faces if low <= face.box.width < high]) for name, low, high in sizes]
    figures = [
        percent("found-masked", "Masked faces found", _found(masked), "higher"),
        percent("found-bare", "Bare faces found", _found(bare), "higher"),
        percent("unannotated", "Detections without an annotated face", np.arange(total) < extra, "lower"),
        percent("occluded-masked", "FaceOccluded of masked faces", _occluded(masked), "higher"),
        percent("occluded-bare", "FaceOccluded of bare faces", _occluded(bare), "lower"),
    ]
    lines = tuple((name, len(part), cell(percent("", "", _found(part)))) for name, part in rows)
    told = f"{len(notes)} photos with {len(masked)} masked and {len(bare)} bare annotated faces."
    note = (
        f"A face is found where a detection overlaps its box by {OVERLAP} or each has its middle in the other; these "
        "photos were among those that the detector's confidence was calibrated on."
    )
    table = Table("Annotated faces", ("Faces", "Annotated", "Found, %"), lines)
    return Result(told, tuple(figures), (table,), (), (note,))


def _found(faces: Sequence[Annotated]) -> NDArray[np.bool_]:
    return np.array([face.face is not None for face in faces], bool)


def _occluded(faces: Sequence[Annotated]) -> NDArray[np.bool_]:
    answers = [face.face.face_occluded for face in faces if face.face]
    return np.array([answer.value for answer in answers if answer], bool)


def annotations(note: Path, seen: Portrait) -> Iterable[Annotated]:
    """The faces of a Pascal VOC file, each with the surest detection of it."""
    for entry in ElementTree.parse(note).iter("object"):  # noqa: S314 — a file of the evaluation data
        left, top, right, bottom = (float(entry.findtext(f"bndbox/{n}", "0")) for n in ("xmin", "ymin", "xmax", "ymax"))
        box = Box(left, top, right - left, bottom - top)
        hits = [face for face in seen.faces if same(face.detection.box, box)]
        face = max(hits, key=lambda face: face.detection.confidence, default=None)
        yield Annotated(box, entry.findtext("name") == "with_mask", face)


def same(a: Box, b: Box) -> bool:
    """Whether two boxes are of one face: they overlap enough, or each has its middle in the other."""
    width = min(a.left + a.width, b.left + b.width) - max(a.left, b.left)
    height = min(a.top + a.height, b.top + b.height) - max(a.top, b.top)
    shared = max(0.0, width) * max(0.0, height)
    centred = inside(b, a.left + a.width / 2, a.top + a.height / 2) and inside(
        a, b.left + b.width / 2, b.top + b.height / 2
    )
    return shared / (a.area + b.area - shared) >= OVERLAP or centred


def conditions(engines: Engines, data: Path, progress: Progress) -> Result:
    """Small faces in large photos, and turned faces."""
    portraits = sorted((data / "lfw").glob("*/*.jpg"))[::EVERY]
    seen = look(engines, portraits, progress, "LFW")
    known = [(path, seeing.main.detection) for path, seeing in zip(portraits, seen, strict=True) if seeing.main]
    scenes = sorted((data / "imagenet").glob("*"))
    pairs = [(number, *face, scene) for number, (face, scene) in enumerate(zip(known, scenes, strict=False))]
    detect = engines.faces.detect

    def try_all(pair: tuple[int, Path, Detection, Path]) -> list[float]:
        number, path, upright, background = pair
        face, scene = read(path), read(background)
        small = [float(_pasted(detect, face, upright, scene, width, number)) for width in WIDTHS]
        return small + [_turned(detect, face, upright, degrees) for degrees in TURNS]

    with ThreadPoolExecutor(engines.settings.threads) as pool:
        tried = pool.map(try_all, pairs)
        answers = np.array([row for _, row in zip(progress(pairs, "Small and turned"), tried, strict=True)])
    small, errors = answers[:, : len(WIDTHS)].T.astype(bool), answers[:, len(WIDTHS) :].T
    sizes = [
        percent(f"width-{width}", f"Faces of {width} px in 1920×1080 found", hits, "higher")
        for width, hits in zip(WIDTHS, small, strict=True)
    ]
    turns = [
        percent(f"turned-{degrees}", f"Faces turned by {degrees}° found", ~np.isnan(error), "higher")
        for degrees, error in zip(TURNS, errors, strict=True)
    ]
    lines = tuple(
        (str(degrees), cell(figure), Cell(float(np.nanmedian(error))))
        for degrees, figure, error in zip(TURNS, turns, errors, strict=True)
    )
    columns = ("Turned by, °", "Found, %", "Median error of keypoints, share of the face's width")
    table = Table("Turned faces", columns, lines, "Against the keypoints in the upright picture.")
    told = f"{len(pairs)} pictures of LFW, shrunk and pasted into as many photos of ImageNet, or turned."
    return Result(told, (*sizes, *turns), (table,))


def _pasted(detect: Detect, face: Image, upright: Detection, scene: Image, width: int, seed: int) -> bool:
    """Whether a face is found that was shrunk to `width` pixels and put somewhere in a large photo."""
    random = np.random.default_rng([seed, width])
    scale = width / upright.box.width
    small = cv2.resize(face, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    canvas = np.asarray(cv2.GaussianBlur(cv2.resize(scene, SCENE), (0, 0), 3), np.uint8)
    height, across = small.shape[:2]
    x, y = (int(random.integers(0, limit - side)) for limit, side in zip(SCENE, (across, height), strict=True))
    canvas[y : y + height, x : x + across] = small
    box = upright.box
    centre = x + (box.left + box.width / 2) * scale, y + (box.top + box.height / 2) * scale
    return any(inside(found.box, *centre) and 0.5 < found.box.width / width < 2 for found in detect(canvas))


def _turned(detect: Detect, face: Image, upright: Detection, degrees: int) -> float:
    """The mean error of the keypoints of a turned face, as a share of its width; nan if it is not found."""
    height, width = face.shape[:2]
    turn = np.asarray(cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1))
    image = np.asarray(cv2.warpAffine(face, turn, (width, height), borderMode=cv2.BORDER_REFLECT), np.uint8)
    expected = upright.keypoints @ turn[:, :2].T + turn[:, 2]
    x, y = expected.mean(0)
    found = [one for one in detect(image) if inside(one.box, float(x), float(y))]
    if not found:
        return float("nan")
    best = max(found, key=lambda one: one.confidence)
    return float(np.linalg.norm(best.keypoints - expected, axis=1).mean() / upright.box.width)


FACES = Evaluation(
    "face-detection",
    "Face detection",
    NETWORKS,
    ("lfw", *fairface.NEEDS, "cfp", "coco/instances.json", "samples/groups"),
    measure,
)
MASKS = Evaluation("face-masks", "Faces with masks", (*NETWORKS, "face_mesh", "face_attributes"), ("masks",), masks)
CONDITIONS = Evaluation(
    "face-detection-conditions",
    "Face detection: small and turned faces",
    NETWORKS,
    ("lfw", "imagenet"),
    conditions,
    fast=False,
)
EVALUATIONS = (FACES, MASKS, CONDITIONS)
