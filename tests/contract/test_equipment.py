"""DetectProtectiveEquipment through boto3."""

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from regard.operations.equipment import summary
from regard.vision.attributes import Answer
from regard.vision.equipment import Cover, CoverName, Part, PartName, Person
from regard.vision.geometry import Box

BOX = Box(0, 0, 10, 10)
TOO_LARGE = "ImageTooLargeException"


def encoded(image: Image.Image, kind: str = "JPEG") -> dict[str, bytes]:
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, kind)
    return {"Bytes": buffer.getvalue()}


def code(client: Any, **parameters: Any) -> str:
    with pytest.raises(client.exceptions.ClientError) as raised:
        client.detect_protective_equipment(**parameters)
    return str(raised.value.response["Error"]["Code"])


def summarise(*types: str, least: float = 80) -> dict[str, Any]:
    return {"MinConfidence": least, "RequiredEquipmentTypes": list(types)}


def test_a_portrait_without_summary(rekognition: Any, picture: Any) -> None:
    response = rekognition.detect_protective_equipment(Image=picture("obama"))
    assert "Summary" not in response
    assert response["ProtectiveEquipmentModelVersion"] == "1.0"
    (person,) = response["Persons"]
    assert set(person) == {"BodyParts", "BoundingBox", "Confidence", "Id"}
    assert person["Id"] == 0
    names = [part["Name"] for part in person["BodyParts"]]
    assert names[:2] == ["FACE", "HEAD"]
    assert all(part["EquipmentDetections"] == [] for part in person["BodyParts"])
    assert all(50 <= part["Confidence"] <= 100 for part in person["BodyParts"])


def test_a_bare_face_is_without_a_mask_and_of_helmets_and_gloves_nothing_is_known(
    rekognition: Any, picture: Any
) -> None:
    expected = {
        ("FACE_COVER",): "PersonsWithoutRequiredEquipment",
        ("HEAD_COVER",): "PersonsIndeterminate",
        ("HAND_COVER",): "PersonsIndeterminate",
        ("FACE_COVER", "HEAD_COVER", "HAND_COVER"): "PersonsWithoutRequiredEquipment",
    }
    for types, name in expected.items():
        response = rekognition.detect_protective_equipment(
            Image=picture("obama"), SummarizationAttributes=summarise(*types)
        )
        assert {key for key, ids in response["Summary"].items() if ids} == {name}
        assert response["Summary"][name] == [0]


def test_a_mask_is_told_of_with_what_it_covers(rekognition: Any, portrait: Image.Image) -> None:
    (person,) = rekognition.detect_protective_equipment(Image=encoded(portrait))["Persons"]
    (face,) = [detail["BoundingBox"] for detail in rekognition.detect_faces(Image=encoded(portrait))["FaceDetails"]]
    pixels = np.asarray(portrait).copy()
    height, width = pixels.shape[:2]
    top, bottom = (int((face["Top"] + share * face["Height"]) * height) for share in (0.52, 1.0))
    left, right = int(face["Left"] * width), int((face["Left"] + face["Width"]) * width)
    pixels[top:bottom, left:right] = (170, 205, 235)
    response = rekognition.detect_protective_equipment(
        Image=encoded(Image.fromarray(pixels)), SummarizationAttributes=summarise("FACE_COVER", least=50)
    )
    (person,) = response["Persons"]
    (cover,) = [item for part in person["BodyParts"] for item in part["EquipmentDetections"]]
    assert cover["Type"] == "FACE_COVER"
    assert cover["CoversBodyPart"]["Value"] is True
    assert cover["BoundingBox"]["Top"] > face["Top"]
    assert response["Summary"]["PersonsWithRequiredEquipment"] == [0]


def test_a_picture_of_nobody(rekognition: Any) -> None:
    response = rekognition.detect_protective_equipment(
        Image=encoded(Image.new("RGB", (64, 64), "gray")), SummarizationAttributes=summarise("FACE_COVER")
    )
    assert response["Persons"] == []
    assert response["Summary"] == {
        "PersonsWithRequiredEquipment": [],
        "PersonsWithoutRequiredEquipment": [],
        "PersonsIndeterminate": [],
    }


def test_this_operation_has_limits_of_its_own(rekognition: Any) -> None:
    assert code(rekognition, Image=encoded(Image.new("RGB", (63, 64)))) == "InvalidParameterException"
    assert code(rekognition, Image=encoded(Image.new("L", (4097, 64)))) == TOO_LARGE
    assert rekognition.detect_protective_equipment(Image=encoded(Image.new("L", (4096, 64))))["Persons"] == []
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (1200, 1200, 3), np.uint8))
    heavy = encoded(noise, "PNG")
    assert 4 * 1024 * 1024 < len(heavy["Bytes"]) < 5 * 1024 * 1024
    assert code(rekognition, Image=heavy) == TOO_LARGE


def test_bad_requests_get_amazons_errors(rekognition: Any, unchecked: Any, picture: Any) -> None:
    assert code(rekognition, Image={"Bytes": b"no picture"}) == "InvalidImageFormatException"
    assert code(rekognition, Image={}) == "InvalidParameterException"
    image = picture("obama")
    assert code(unchecked, Image=image, SummarizationAttributes={"MinConfidence": 80}) == "InvalidParameterException"
    assert code(unchecked, Image=image, SummarizationAttributes=summarise("SHOE_COVER")) == "InvalidParameterException"
    assert (
        code(unchecked, Image=image, SummarizationAttributes=summarise("FACE_COVER", least=101))
        == "InvalidParameterException"
    )


# The summary, person by person


def person(*parts: Part, confidence: float = 99.0) -> Person:
    return Person(BOX, confidence, parts)


def part(
    name: PartName, kind: CoverName, worn: float | None, covers: bool = True, sure: float = 99.0, seen: float = 99.0
) -> Part:
    return Part(name, seen, BOX, None if worn is None else Cover(kind, worn, Answer(covers, sure), BOX))


def face(worn: float | None, covers: bool = True, sure: float = 99.0, seen: float = 99.0) -> Part:
    return part("FACE", "FACE_COVER", worn, covers, sure, seen)


def lists(persons: list[Person], types: list[CoverName], least: float) -> tuple[list[int], list[int], list[int]]:
    found = summary(persons, types, least)
    return (
        found["PersonsWithRequiredEquipment"],
        found["PersonsWithoutRequiredEquipment"],
        found["PersonsIndeterminate"],
    )


def test_each_person_is_in_one_list() -> None:
    persons = [
        person(face(95)),  # surely worn
        person(face(5)),  # surely not
        person(face(70)),  # rather worn
        person(face(95, covers=False)),  # below the nose
        person(face(95, sure=60)),  # who knows whether below the nose
        person(),  # no face to be seen
        person(face(None)),  # nothing known
        person(face(95, seen=60)),  # perhaps no face
    ]
    assert lists(persons, ["FACE_COVER"], 80) == ([0], [1, 3], [2, 4, 5, 6, 7])
    assert lists(persons, ["FACE_COVER"], 50) == ([0, 2, 4, 7], [1, 3], [5, 6])


def test_a_confidence_below_50_counts_as_50() -> None:
    persons = [person(face(p)) for p in (10, 49, 51, 90)]
    assert lists(persons, ["FACE_COVER"], 0) == lists(persons, ["FACE_COVER"], 50) == ([2, 3], [0, 1], [])


def test_all_required_types_are_needed_on_both_hands() -> None:
    def hands(left: float, right: float) -> tuple[Part, Part]:
        return part("LEFT_HAND", "HAND_COVER", left), part("RIGHT_HAND", "HAND_COVER", right)

    persons = [
        person(face(99), *hands(99, 99)),
        person(face(99), *hands(99, 1)),
        person(face(1), *hands(99, 99)),
        person(face(99), hands(99, 99)[0]),
    ]
    assert lists(persons, ["FACE_COVER", "HAND_COVER"], 80) == ([0], [1, 2], [3])


def test_a_person_who_is_not_sure_enough_is_in_no_list() -> None:
    persons = [person(face(99), confidence=70), person(face(99))]
    assert lists(persons, ["FACE_COVER"], 80) == ([1], [], [])


def test_a_threshold_equal_to_what_the_client_saw_holds() -> None:
    worn = 83.123456789
    assert lists([person(face(worn))], ["FACE_COVER"], float(np.float32(worn))) == ([0], [], [])
