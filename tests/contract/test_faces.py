"""DetectFaces and CompareFaces through boto3."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from regard.operations.shapes import ATTRIBUTES

DEFAULT_MEMBERS = {"BoundingBox", "Confidence", "Landmarks", "Pose", "Quality"}


def jpeg(image: Image.Image, **options: Any) -> dict[str, bytes]:
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, "JPEG", quality=92, **options)
    return {"Bytes": buffer.getvalue()}


def centre(box: dict[str, float]) -> tuple[float, float]:
    return box["Left"] + box["Width"] / 2, box["Top"] + box["Height"] / 2


def test_a_portrait_has_one_face_with_the_default_members(rekognition: Any, picture: Any) -> None:
    response = rekognition.detect_faces(Image=picture("obama"))
    (face,) = response["FaceDetails"]
    assert "OrientationCorrection" not in response
    assert set(face) == DEFAULT_MEMBERS
    assert [point["Type"] for point in face["Landmarks"]] == [
        "eyeLeft",
        "eyeRight",
        "nose",
        "mouthLeft",
        "mouthRight",
    ]
    assert face["Confidence"] > 99
    points = {point["Type"]: (point["X"], point["Y"]) for point in face["Landmarks"]}
    assert points["eyeLeft"][0] < points["nose"][0] < points["eyeRight"][0]
    assert points["eyeLeft"][1] < points["nose"][1] < points["mouthLeft"][1]


def test_numbers_are_float32_as_amazon_sends_them(rekognition: Any, picture: Any) -> None:
    (face,) = rekognition.detect_faces(Image=picture("obama"))["FaceDetails"]
    numbers = [
        face["Confidence"],
        *face["BoundingBox"].values(),
        *face["Pose"].values(),
        *face["Quality"].values(),
    ]
    assert all(float(np.float32(number)) == number for number in numbers)
    assert any(round(number, 2) != number for number in numbers)


def test_all_attributes_of_faces_that_we_know(rekognition: Any, picture: Any) -> None:
    (obama,) = rekognition.detect_faces(Image=picture("obama"), Attributes=["ALL"])["FaceDetails"]
    assert len(obama["Landmarks"]) == 30
    assert set(obama) == DEFAULT_MEMBERS | {
        "AgeRange",
        "Smile",
        "Eyeglasses",
        "Sunglasses",
        "Gender",
        "Beard",
        "Mustache",
        "EyesOpen",
        "MouthOpen",
        "Emotions",
        "FaceOccluded",
        "EyeDirection",
    }
    assert obama["Gender"]["Value"] == "Male"
    assert obama["Smile"]["Value"] is True
    assert obama["Eyeglasses"]["Value"] is False
    assert obama["Sunglasses"]["Value"] is False
    assert obama["EyesOpen"]["Value"] is True
    assert obama["Emotions"][0]["Type"] == "HAPPY"
    assert obama["AgeRange"]["Low"] <= 51 <= obama["AgeRange"]["High"] + 5
    assert abs(obama["Pose"]["Yaw"]) < 15
    (hopper,) = rekognition.detect_faces(Image=picture("hopper"), Attributes=["ALL"])["FaceDetails"]
    assert hopper["Eyeglasses"]["Value"] is True
    for face in (obama, hopper):
        confidences = [value["Confidence"] for value in face.values() if isinstance(value, dict) and "Value" in value]
        assert all(50 <= confidence <= 100 for confidence in confidences)


@pytest.mark.parametrize("name", sorted(ATTRIBUTES))
def test_one_attribute_adds_one_member(rekognition: Any, picture: Any, name: str) -> None:
    (face,) = rekognition.detect_faces(Image=picture("obama"), Attributes=[name])["FaceDetails"]
    added = set(face) - DEFAULT_MEMBERS
    assert [member.lower() for member in added] == [name.replace("_", "").lower()]
    assert len(face["Landmarks"]) == 5


def test_all_wins_over_default(rekognition: Any, picture: Any) -> None:
    (face,) = rekognition.detect_faces(Image=picture("obama"), Attributes=["ALL", "DEFAULT"])["FaceDetails"]
    assert "Emotions" in face


def test_a_picture_without_faces_is_no_error(rekognition: Any) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (240, 320, 3), dtype=np.uint8)
    assert rekognition.detect_faces(Image=jpeg(Image.fromarray(noise)))["FaceDetails"] == []


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_followed(rekognition: Any, photos: dict[str, Path], orientation: int) -> None:
    upright = Image.open(photos["obama"]).convert("RGB")
    upright.thumbnail((640, 640))
    undo = {
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[orientation]
    stored = upright if undo is None else upright.transpose(undo)
    exif = Image.Exif()
    exif[0x0112] = orientation
    (expected,) = rekognition.detect_faces(Image=jpeg(upright))["FaceDetails"]
    (found,) = rekognition.detect_faces(Image=jpeg(stored, exif=exif))["FaceDetails"]
    assert centre(found["BoundingBox"]) == pytest.approx(centre(expected["BoundingBox"]), abs=0.02)


def test_the_same_person_matches_and_another_does_not(rekognition: Any, picture: Any) -> None:
    same = rekognition.compare_faces(SourceImage=picture("obama"), TargetImage=picture("obama2"))
    (match,) = same["FaceMatches"]
    assert match["Similarity"] >= 80
    assert same["UnmatchedFaces"] == []
    assert set(match["Face"]) == DEFAULT_MEMBERS
    assert set(same["SourceImageFace"]) == {"BoundingBox", "Confidence"}
    other = rekognition.compare_faces(SourceImage=picture("obama"), TargetImage=picture("biden"))
    assert other["FaceMatches"] == []
    assert len(other["UnmatchedFaces"]) == 1
    assert "Similarity" not in other["UnmatchedFaces"][0]


def test_the_threshold_decides_what_matches(rekognition: Any, picture: Any) -> None:
    images = {"SourceImage": picture("obama"), "TargetImage": picture("biden")}
    (match,) = rekognition.compare_faces(**images, SimilarityThreshold=0)["FaceMatches"]
    assert match["Similarity"] < 50
    same = {"SourceImage": picture("obama"), "TargetImage": picture("obama")}
    (identical,) = rekognition.compare_faces(**same, SimilarityThreshold=99)["FaceMatches"]
    assert identical["Similarity"] > 99.9


def test_a_picture_matches_itself_at_the_highest_threshold(rekognition: Any, picture: Any, collection: str) -> None:
    for name in ("obama", "biden", "hopper", "astronaut"):
        same = {"SourceImage": picture(name), "TargetImage": picture(name)}
        (match,) = rekognition.compare_faces(**same, SimilarityThreshold=100)["FaceMatches"]
        assert match["Similarity"] == 100
        rekognition.index_faces(CollectionId=collection, Image=picture(name))
        search = {"CollectionId": collection, "Image": picture(name), "FaceMatchThreshold": 100}
        assert len(rekognition.search_faces_by_image(**search)["FaceMatches"]) == 1


def test_the_largest_source_face_is_compared_with_every_target_face(rekognition: Any, photos: dict[str, Path]) -> None:
    left, right = (Image.open(photos[name]).convert("RGB") for name in ("biden", "obama2"))
    height = 800
    pair = [image.resize((image.width * height // image.height, height)) for image in (left, right)]
    both = Image.new("RGB", (pair[0].width + pair[1].width, height))
    both.paste(pair[0], (0, 0))
    both.paste(pair[1], (pair[0].width, 0))
    source = jpeg(Image.open(photos["obama"]))
    response = rekognition.compare_faces(SourceImage=source, TargetImage=jpeg(both))
    assert len(response["FaceMatches"]) == 1
    assert len(response["UnmatchedFaces"]) == 1
    assert response["FaceMatches"][0]["Face"]["BoundingBox"]["Left"] > 0.4


@pytest.mark.parametrize("side", ["SourceImage", "TargetImage"])
def test_comparing_without_a_face_is_an_invalid_parameter(rekognition: Any, picture: Any, side: str) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (240, 320, 3), dtype=np.uint8)
    images = {"SourceImage": picture("obama"), "TargetImage": picture("obama2")}
    images[side] = jpeg(Image.fromarray(noise))
    with pytest.raises(rekognition.exceptions.InvalidParameterException, match="Request has invalid parameters"):
        rekognition.compare_faces(**images)


def test_quality_filter_keeps_blurred_faces_out_of_a_comparison(rekognition: Any, photos: dict[str, Path]) -> None:
    sharp = Image.open(photos["obama"]).convert("RGB")
    blurred = sharp.resize((40, 40 * sharp.height // sharp.width)).resize(sharp.size, Image.Resampling.BICUBIC)
    images = {"SourceImage": jpeg(sharp), "TargetImage": jpeg(blurred)}
    unfiltered = rekognition.compare_faces(**images)
    assert len(unfiltered["FaceMatches"]) + len(unfiltered["UnmatchedFaces"]) == 1
    with pytest.raises(rekognition.exceptions.InvalidParameterException):
        rekognition.compare_faces(**images, QualityFilter="HIGH")
