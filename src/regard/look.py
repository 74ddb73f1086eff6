"""What each capability sees in a photo, told and drawn: faces, labels, text, moderation, protective equipment.

People judge a recognition system by looking at what it found; the tour and the README show these pictures.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.table import Table
from rich.text import Text

from regard.drawing import GREEN, ORANGE, PALETTE, SKY, Mark, draw
from regard.media.images import ImageError, decode
from regard.operations import equipment, labels, moderation
from regard.settings import Capability
from regard.vision.attributes import ATTRIBUTES
from regard.vision.engines import Engines
from regard.vision.equipment import LEAST, Part, Person
from regard.vision.faces import Face
from regard.vision.geometry import Box
from regard.vision.labels import find
from regard.vision.moderation import UNSEEN

# What a caption mentions where it is seen, and the confidence that it takes to mention it, or a gender.
TRAITS = ("smile", "eyeglasses", "sunglasses", "beard", "mustache")
TOLD = (*TRAITS, "eyes_open", "mouth_open", "face_occluded")
SURE = 90.0

Picture = NDArray[np.uint8]
_NO_POINTS = np.empty((0, 2))


@dataclass(frozen=True, slots=True)
class Sight:
    """What a capability sees in a picture: a sentence, a table with the rest, and what there is to draw."""

    summary: str
    table: Table
    marks: Sequence[Mark]


def look_at(engines: Engines, photo: Path, names: Sequence[Capability], out: Path, console: Console) -> bool:
    """Tell what the capabilities of these `names` see in a photo and draw it into the folder `out`.

    False for no picture.
    """
    try:
        image = decode(photo.read_bytes())
    except (OSError, ImageError) as error:
        console.print(Text(f"{photo}: {error}", style="red"))
        return False
    for name in names:
        sight = SIGHTS[name](engines, image)
        summary = f"{photo}: {sight.summary}"
        if sight.marks:
            drawn = out / f"{photo.stem}-{name}.png"
            Image.fromarray(draw(image, sight.marks)).save(drawn)
            summary += f", drawn in {drawn}"
        console.print(Text(summary, style="bold"))
        if sight.table.row_count:
            console.print(sight.table)
    return True


def _faces(engines: Engines, image: Picture) -> Sight:
    faces = engines.faces.describe(image, engines.faces.detect(image), frozenset(ATTRIBUTES))
    return Sight(f"{len(faces)} faces", _table(faces), face_marks(faces))


def _labels(engines: Engines, image: Picture) -> Sight:
    """Labels with the confidence that DetectLabels asks for by default; drawn where there are instances."""
    found = [label for label in find(engines, image) if label.confidence >= labels.DEFAULT_MIN_CONFIDENCE]
    table = Table("Label", "Confidence", "Instances", "Above it", "Categories")
    marks = []
    for label, colour in zip(found, cycle(PALETTE), strict=False):
        name = label.concept.name
        instances = [i for i in label.instances if i.confidence >= labels.DEFAULT_MIN_CONFIDENCE]
        table.add_row(
            name,
            f"{label.confidence:.1f}",
            str(len(instances) or ""),
            ", ".join(label.concept.parents),
            ", ".join(label.concept.categories),
        )
        marks += [Mark(i.box, _NO_POINTS, (f"{name} {i.confidence:.0f} %",), colour) for i in instances]
    return Sight(f"{len(found)} labels", table, marks)


def _text(engines: Engines, image: Picture) -> Sight:
    lines = engines.text.read(image)
    table = Table("Line", "Confidence", "Words")
    marks = []
    for line, colour in zip(lines, cycle(PALETTE), strict=False):
        words = ", ".join(f"{word.text} {word.confidence:.0f}" for word in line.words)
        table.add_row(line.text, f"{line.confidence:.1f}", words)
        left, top = line.corners.min(0).tolist()
        right, bottom = line.corners.max(0).tolist()
        box = Box(left, top, right - left, bottom - top)
        # Without a caption, which would hide the next line; the table has the text.
        marks.append(Mark(box, _NO_POINTS, (), colour, line.corners.astype(np.float64)))
    return Sight(f"{len(lines)} lines of text", table, marks)


def _moderation(engines: Engines, image: Picture) -> Sight:
    found = [
        finding
        for finding in engines.moderation.moderate(image)
        if finding.confidence >= moderation.DEFAULT_MIN_CONFIDENCE
    ]
    table = Table("Moderation label", "Confidence", "Below")
    for finding in found:
        table.add_row(finding.label.name, f"{finding.confidence:.1f}", finding.label.parent)
    return Sight(f"{len(found)} moderation labels (no network sees {len(UNSEEN)} of them)", table, ())


def _equipment(engines: Engines, image: Picture) -> Sight:
    people = engines.equipment.look(image)
    table = Table("Person", "Confidence", "Parts", "Face cover")
    marks = []
    for number, person in enumerate(people):
        cover = equipment.wears(person, "FACE_COVER", LEAST)
        parts = ", ".join(f"{part.name.lower().replace('_', ' ')} {part.confidence:.0f}" for part in person.parts)
        table.add_row(str(number), f"{person.confidence:.1f}", parts, cover)
        marks += _person_marks(number, person)
    return Sight(f"{len(people)} people", table, marks)


def _person_marks(number: int, person: Person) -> list[Mark]:
    """The person, their parts, and what covers these, each in a colour of its kind."""
    marks = [Mark(person.box, _NO_POINTS, (f"person {number}, {person.confidence:.0f} %",), SKY)]
    for part in person.parts:
        marks.append(Mark(part.box, _NO_POINTS, (), ORANGE))
        if part.cover is not None and part.cover.confidence >= LEAST:
            marks.append(Mark(part.cover.box, _NO_POINTS, _cover_lines(part), GREEN))
    return marks


def _cover_lines(part: Part) -> tuple[str, ...]:
    if part.cover is None:
        return ()
    covers = "covers" if part.cover.covers.value else "does not cover"
    return (f"{part.cover.name.lower().replace('_', ' ')} {part.cover.confidence:.0f} %", f"{covers} it")


SIGHTS: dict[Capability, Callable[[Engines, Picture], Sight]] = {
    "faces": _faces,
    "labels": _labels,
    "text": _text,
    "moderation": _moderation,
    "equipment": _equipment,
}


def _table(faces: Sequence[Face]) -> Table:
    """What is known of each face, the largest first; confidences in percent."""
    table = Table("Face", "Pixels", "Age", "Gender", "Expression", "Seen", "Roll, yaw, pitch", "Bright, sharp")
    for face in faces:
        box, turned = face.detection.box, face.pose
        seen = (
            f"{name.replace('_', ' ')} {answer.confidence:.0f}"
            for name in TOLD
            if (answer := getattr(face, name)) and answer.value
        )
        table.add_row(
            f"{face.detection.confidence:.1f}",
            f"{box.width:.0f}×{box.height:.0f}",
            f"{face.age_range[0]}-{face.age_range[1]} years" if face.age_range else "",
            f"{face.gender.value} {face.gender.confidence:.0f}" if face.gender else "",
            f"{face.emotions[0][0].lower()} {face.emotions[0][1]:.0f}" if face.emotions else "",
            ", ".join(seen),
            f"{round(turned.roll)}°, {round(turned.yaw)}°, {round(turned.pitch)}°",
            f"{face.quality.brightness:.0f}, {face.quality.sharpness:.0f}",
        )
    return table


def face_marks(faces: Sequence[Face]) -> list[Mark]:
    """What to draw of faces: each captioned with what is known of it."""
    return [
        Mark(face.detection.box, np.asarray(face.landmarks, np.float64), _caption_of(face), colour)
        for face, colour in zip(faces, cycle(PALETTE), strict=False)
    ]


def _caption_of(face: Face) -> tuple[str, ...]:
    return caption(
        face.detection.confidence,
        age_range=face.age_range,
        gender=face.gender.value if face.gender and face.gender.confidence >= SURE else None,
        emotion=max(face.emotions, key=lambda emotion: emotion[1])[0] if face.emotions else None,
        traits=[
            name for name in TRAITS if (answer := getattr(face, name)) and answer.value and answer.confidence >= SURE
        ],
    )


def caption(
    confidence: float,
    *,
    age_range: tuple[int, int] | None = None,
    gender: str | None = None,
    emotion: str | None = None,
    traits: Sequence[str] = (),
) -> tuple[str, ...]:
    """The lines of text for a face: `confidence` in percent, then what is known of its looks."""
    age = f"{age_range[0]}-{age_range[1]} years" if age_range else None
    looks = (age, gender and gender.lower(), emotion and emotion.lower())
    lines = (f"face {confidence:.1f} %", ", ".join(filter(None, looks)), ", ".join(traits))
    return tuple(filter(None, lines))
