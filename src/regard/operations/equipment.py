"""DetectProtectiveEquipment: the people in a picture and what protects their faces, heads and hands."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from regard.operations import pictures, shapes
from regard.operations.context import Context, Request, Response
from regard.vision.equipment import LEAST, Cover, CoverName, Part, PartName, Person

MODEL_VERSION = "1.0"

# "Guidelines and quotas in Amazon Rekognition": images for DetectProtectiveEquipment.
LIMITS = pictures.Limits(request_bytes=4 * 1024 * 1024, minimum=64, maximum=4096)

# The body parts that a kind of equipment belongs on.
BODY_PARTS: Mapping[CoverName, tuple[PartName, ...]] = {
    "FACE_COVER": ("FACE",),
    "HEAD_COVER": ("HEAD",),
    "HAND_COVER": ("LEFT_HAND", "RIGHT_HAND"),
}

Verdict = Literal["with", "without", "indeterminate"]


def detect_protective_equipment(context: Context, request: Request) -> Response:
    picture = pictures.load(context, request["Image"], LIMITS)
    persons = context.services.vision.equipment.look(picture.pixels)
    summarise = request.get("SummarizationAttributes")
    return {
        "ProtectiveEquipmentModelVersion": MODEL_VERSION,
        "Persons": [_person(number, person, picture.size) for number, person in enumerate(persons)],
        "Summary": None
        if summarise is None
        else summary(persons, summarise["RequiredEquipmentTypes"], summarise["MinConfidence"]),
    }


def summary(persons: Sequence[Person], required: Sequence[CoverName], confidence: float) -> dict[str, list[int]]:
    """A ProtectiveEquipmentSummary: the persons' numbers in three lists, none in two.

    Persons of less than `confidence` percent, which below 50 counts as 50, are in no list. A person is with the
    equipment if every required kind is surely worn, without if one surely is not, else indeterminate.
    """
    least = max(confidence, LEAST)
    found: dict[Verdict, list[int]] = {"with": [], "without": [], "indeterminate": []}
    for number, person in enumerate(persons):
        if shapes.sent(person.confidence) >= least:
            found[_all({wears(person, kind, least) for kind in required})].append(number)
    return {
        "PersonsWithRequiredEquipment": found["with"],
        "PersonsWithoutRequiredEquipment": found["without"],
        "PersonsIndeterminate": found["indeterminate"],
    }


def wears(person: Person, kind: CoverName, least: float) -> Verdict:
    """Whether a person wears a kind of equipment, on every part that it belongs on, `least` percent sure."""
    parts = {part.name: part for part in person.parts}
    return _all({_covered(parts.get(name), least) for name in BODY_PARTS[kind]})


def _covered(part: Part | None, least: float) -> Verdict:
    """Whether a part is covered: equipment is there, and is so worn that it protects.

    Indeterminate: the part is not seen, no network knows its equipment, or what is known is not sure enough.
    """
    if part is None or part.cover is None or shapes.sent(part.confidence) < least:
        return "indeterminate"
    cover = part.cover
    if 100 - shapes.sent(cover.confidence) >= least:
        return "without"
    if min(shapes.sent(cover.confidence), shapes.sent(cover.covers.confidence)) >= least:
        return "with" if cover.covers.value else "without"
    return "indeterminate"


def _all(verdicts: Iterable[Verdict]) -> Verdict:
    """One that is without decides; else one that is indeterminate."""
    said = set(verdicts)
    if "without" in said:
        return "without"
    return "indeterminate" if "indeterminate" in said else "with"


def _person(number: int, person: Person, size: tuple[int, int]) -> dict[str, Any]:
    return {
        "Id": number,
        "BoundingBox": shapes.bounding_box(shapes.ratios(person.box, size)),
        "Confidence": person.confidence,
        "BodyParts": [
            {
                "Name": part.name,
                "Confidence": part.confidence,
                "EquipmentDetections": [
                    _detection(cover, size)
                    for cover in (part.cover,)
                    if cover is not None and cover.confidence >= LEAST
                ],
            }
            for part in person.parts
        ],
    }


def _detection(cover: Cover, size: tuple[int, int]) -> dict[str, Any]:
    return {
        "Type": cover.name,
        "BoundingBox": shapes.bounding_box(shapes.ratios(cover.box, size)),
        "Confidence": cover.confidence,
        "CoversBodyPart": {"Value": cover.covers.value, "Confidence": cover.covers.confidence},
    }
