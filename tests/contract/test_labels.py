"""DetectLabels through boto3."""

import io
import json
import subprocess
import sys
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from regard.vision.taxonomy import concepts

GENERAL, PROPERTIES = "GENERAL_LABELS", "IMAGE_PROPERTIES"


def png(image: Image.Image) -> dict[str, bytes]:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return {"Bytes": buffer.getvalue()}


def names(response: Mapping[str, Any]) -> list[str]:
    return [label["Name"] for label in response["Labels"]]


def by_name(response: Mapping[str, Any]) -> dict[str, Any]:
    return {label["Name"]: label for label in response["Labels"]}


def filtered(**filters: list[str]) -> dict[str, Any]:
    return {"Settings": {"GeneralLabels": filters}}


@pytest.fixture(scope="module")
def cat(rekognition: Any, picture: Any) -> Any:
    """What is said of the cat when nothing is asked but that."""
    return rekognition.detect_labels(Image=picture("cat"))


def test_a_cat_is_a_cat_with_its_place_and_all_that_a_cat_is(cat: Any) -> None:
    assert set(cat) == {"Labels", "LabelModelVersion", "ResponseMetadata"}
    found = by_name(cat)["Cat"]
    assert set(found) == {"Name", "Confidence", "Instances", "Parents", "Aliases", "Categories"}
    assert [parent["Name"] for parent in found["Parents"]] == ["Animal", "Feline", "Mammal", "Pet"]
    assert found["Categories"] == [{"Name": "Animals and Pets"}]
    (instance,) = found["Instances"]
    assert set(instance) == {"BoundingBox", "Confidence", "DominantColors"}
    assert instance["DominantColors"] == []
    assert instance["BoundingBox"]["Width"] > 0.5
    assert 55 <= instance["Confidence"] <= found["Confidence"] <= 100


def test_every_ancestor_is_a_label_of_its_own_and_no_less_confident(cat: Any) -> None:
    found = by_name(cat)
    for label in cat["Labels"]:
        for parent in label["Parents"]:
            assert found[parent["Name"]]["Confidence"] >= label["Confidence"]
        assert label["Categories"]
        assert label["Name"] in concepts()


def test_people_are_persons_with_faces(rekognition: Any, picture: Any) -> None:
    found = by_name(rekognition.detect_labels(Image=picture("obama")))
    assert found["Person"]["Aliases"] == [{"Name": "Human"}]
    assert len(found["Person"]["Instances"]) == 1
    assert {"Face", "Head", "Smile"} <= set(found)
    assert "Glasses" not in found
    assert "Glasses" in names(rekognition.detect_labels(Image=picture("hopper")))
    assert not {"Man", "Woman", "Male", "Female"} & set(found)


def test_a_cup_of_coffee_is_named_by_both_networks(rekognition: Any, picture: Any) -> None:
    found = by_name(rekognition.detect_labels(Image=picture("coffee")))
    assert found["Cup"]["Instances"]
    assert {"Coffee", "Beverage"} <= set(found)


def test_labels_come_most_confident_first_and_by_name_where_equal(cat: Any) -> None:
    keys = [(-label["Confidence"], label["Name"]) for label in cat["Labels"]]
    assert keys == sorted(keys)
    assert all(label["Confidence"] >= 55 for label in cat["Labels"])


def test_the_least_confidence_is_the_requests(rekognition: Any, picture: Any, cat: Any) -> None:
    everything = rekognition.detect_labels(Image=picture("cat"), MinConfidence=1)
    assert set(names(cat)) < set(names(everything))
    assert any(label["Confidence"] < 55 for label in everything["Labels"])
    third = cat["Labels"][2]["Confidence"]
    exact = rekognition.detect_labels(Image=picture("cat"), MinConfidence=third)
    assert names(exact) == [label["Name"] for label in cat["Labels"] if label["Confidence"] >= third]
    (instance,) = by_name(cat)["Cat"]["Instances"]
    if instance["Confidence"] < 99:
        sure = rekognition.detect_labels(Image=picture("cat"), MinConfidence=99.5)
        assert all(i["Confidence"] >= 99.5 for label in sure["Labels"] for i in label["Instances"])


def test_at_most_as_many_labels_as_asked_for_the_best_of_them(rekognition: Any, picture: Any, cat: Any) -> None:
    assert names(rekognition.detect_labels(Image=picture("cat"), MaxLabels=3)) == names(cat)[:3]
    assert names(rekognition.detect_labels(Image=picture("cat"), MaxLabels=5000)) == names(cat)
    assert names(rekognition.detect_labels(Image=picture("cat"), MaxLabels=0)) == []


def test_labels_can_be_included_and_excluded_by_name(rekognition: Any, picture: Any, cat: Any) -> None:
    included = rekognition.detect_labels(Image=picture("cat"), **filtered(LabelInclusionFilters=["Cat", "Unicorn"]))
    assert names(included) == ["Cat"]
    assert included["Labels"][0] == by_name(cat)["Cat"]  # its parents are named though they are not returned
    excluded = rekognition.detect_labels(Image=picture("cat"), **filtered(LabelExclusionFilters=["Cat"]))
    assert names(excluded) == [name for name in names(cat) if name != "Cat"]


def test_filters_are_exact(rekognition: Any, picture: Any, cat: Any) -> None:
    for wrong in ("cat", "Cat ", "Ca"):
        assert names(rekognition.detect_labels(Image=picture("cat"), **filtered(LabelInclusionFilters=[wrong]))) == []
    wrong_category = filtered(LabelCategoryExclusionFilters=["animals and pets"])
    assert names(rekognition.detect_labels(Image=picture("cat"), **wrong_category)) == names(cat)


def test_labels_can_be_included_and_excluded_by_category(rekognition: Any, picture: Any) -> None:
    everything = rekognition.detect_labels(Image=picture("obama"))
    person, clothes = {"Name": "Person Description"}, {"Name": "Apparel and Accessories"}
    included = rekognition.detect_labels(
        Image=picture("obama"), **filtered(LabelCategoryInclusionFilters=[person["Name"]])
    )
    assert names(included) == [label["Name"] for label in everything["Labels"] if person in label["Categories"]]
    excluded = rekognition.detect_labels(
        Image=picture("obama"), **filtered(LabelCategoryExclusionFilters=[person["Name"], clothes["Name"]])
    )
    assert not any(category in label["Categories"] for label in excluded["Labels"] for category in (person, clothes))


def test_filters_work_together(rekognition: Any, picture: Any) -> None:
    both = filtered(LabelInclusionFilters=["Smile"], LabelCategoryInclusionFilters=["Person Description"])
    either = names(rekognition.detect_labels(Image=picture("obama"), **both))
    assert {"Smile", "Person"} <= set(either)
    without = both["Settings"]["GeneralLabels"] | {"LabelExclusionFilters": ["Person"]}
    assert names(rekognition.detect_labels(Image=picture("obama"), **filtered(**without))) == [
        name for name in either if name != "Person"
    ]


def test_the_best_are_taken_of_what_the_filters_leave(rekognition: Any, picture: Any, cat: Any) -> None:
    first, second, *_ = names(cat)
    response = rekognition.detect_labels(Image=picture("cat"), MaxLabels=1, **filtered(LabelExclusionFilters=[first]))
    assert names(response) == [second]


def test_properties_of_a_flat_picture_are_exact(rekognition: Any) -> None:
    red = Image.new("RGB", (200, 120), "red")
    response = rekognition.detect_labels(Image=png(red), Features=[PROPERTIES])
    assert response["Labels"] == []
    found = response["ImageProperties"]
    colour = {
        "Red": 255,
        "Green": 0,
        "Blue": 0,
        "HexCode": "#ff0000",
        "CSSColor": "red",
        "SimplifiedColor": "red",
        "PixelPercent": 100.0,
    }
    assert found["DominantColors"] == [colour]
    assert found["Background"]["DominantColors"] == [colour]
    assert found["Foreground"]["DominantColors"] == []
    assert found["Quality"]["Brightness"] == pytest.approx(53.24, abs=0.1)  # L* of pure red
    assert (found["Quality"]["Sharpness"], found["Quality"]["Contrast"]) == (0, 0)


def test_properties_come_with_labels_and_colours_of_instances_where_both_are_asked(
    rekognition: Any, picture: Any, cat: Any
) -> None:
    response = rekognition.detect_labels(Image=picture("cat"), Features=[GENERAL, PROPERTIES])
    assert names(response) == names(cat)
    found = response["ImageProperties"]
    assert set(found) == {"Quality", "DominantColors", "Foreground", "Background"}
    assert set(found["Quality"]) == {"Brightness", "Sharpness", "Contrast"}
    assert set(found["Foreground"]["Quality"]) == {"Brightness", "Sharpness"}
    assert 0 < sum(colour["PixelPercent"] for colour in found["DominantColors"]) <= 100
    shares = [colour["PixelPercent"] for colour in found["Foreground"]["DominantColors"]]
    assert shares == sorted(shares, reverse=True)
    (instance,) = by_name(response)["Cat"]["Instances"]
    assert 1 <= len(instance["DominantColors"]) <= 10


@pytest.mark.parametrize("most", [0, 2, 20])
def test_at_most_as_many_colours_as_asked_for(rekognition: Any, picture: Any, most: int) -> None:
    response = rekognition.detect_labels(
        Image=picture("coffee"),
        Features=[GENERAL, PROPERTIES],
        Settings={"ImageProperties": {"MaxDominantColors": most}},
    )
    found = response["ImageProperties"]
    lists = [part["DominantColors"] for part in (found, found["Foreground"], found["Background"])]
    lists += [instance["DominantColors"] for label in response["Labels"] for instance in label["Instances"]]
    assert max(map(len, lists)) <= most
    assert (most == 0) or len(lists[0]) >= 2


@pytest.mark.parametrize(
    "arguments",
    [
        {"Features": [PROPERTIES], "MaxLabels": 5},
        {"Features": [PROPERTIES], "MinConfidence": 50},
        {"Features": [PROPERTIES], "Settings": {"GeneralLabels": {"LabelInclusionFilters": ["Cat"]}}},
        {"Settings": {"ImageProperties": {"MaxDominantColors": 5}}},
        {"Features": [GENERAL], "Settings": {"ImageProperties": {"MaxDominantColors": 5}}},
    ],
)
def test_a_parameter_of_a_feature_that_is_not_asked_for_is_invalid(
    rekognition: Any, picture: Any, arguments: dict[str, Any]
) -> None:
    with pytest.raises(rekognition.exceptions.InvalidParameterException, match="only valid when"):
        rekognition.detect_labels(Image=picture("cat"), **arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        {"MinConfidence": 101},
        {"MaxLabels": -1},
        {"Features": ["COLOURS"]},
        {"Features": [GENERAL, PROPERTIES, GENERAL]},
        {"Settings": {"GeneralLabels": {"LabelInclusionFilters": ["Cat"] * 101}}},
        {"Settings": {"GeneralLabels": {"LabelInclusionFilters": ["x" * 51]}}},
        {"Features": [PROPERTIES], "Settings": {"ImageProperties": {"MaxDominantColors": 21}}},
    ],
)
def test_what_the_model_forbids_is_invalid(unchecked: Any, picture: Any, arguments: dict[str, Any]) -> None:
    with pytest.raises(unchecked.exceptions.InvalidParameterException):
        unchecked.detect_labels(Image=picture("cat"), **arguments)


def test_a_hundred_filters_are_accepted(rekognition: Any, picture: Any) -> None:
    many = ["Cat", *(f"No Label {i}" for i in range(99))]
    response = rekognition.detect_labels(Image=picture("cat"), **filtered(LabelInclusionFilters=many))
    assert names(response) == ["Cat"]


def test_no_features_means_labels(rekognition: Any, picture: Any, cat: Any) -> None:
    assert rekognition.detect_labels(Image=picture("cat"), Features=[])["Labels"] == cat["Labels"]


def test_a_picture_of_noise_has_no_thing_in_it(rekognition: Any, faceless: bytes) -> None:
    response = rekognition.detect_labels(Image={"Bytes": faceless})
    assert all(label["Instances"] == [] for label in response["Labels"])


@pytest.mark.parametrize("size", [(80, 80), (80, 3000), (3000, 80)])
def test_odd_shapes_are_answered(rekognition: Any, size: tuple[int, int]) -> None:
    noise = np.random.default_rng(1).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    response = rekognition.detect_labels(Image=png(Image.fromarray(noise)), Features=[GENERAL, PROPERTIES])
    assert response["ImageProperties"]["Quality"]["Contrast"] > 1


def test_a_grey_picture_is_answered(rekognition: Any, photos: dict[str, Path]) -> None:
    response = rekognition.detect_labels(
        Image=png(Image.open(photos["cat"]).convert("L")), Features=[GENERAL, PROPERTIES]
    )
    assert "Cat" in names(response)
    simplified = {colour["SimplifiedColor"] for colour in response["ImageProperties"]["DominantColors"]}
    assert simplified <= {"black", "grey", "white"}


def test_a_photo_in_s3_has_the_same_labels(rekognition: Any, s3: Any, photos: dict[str, Path], cat: Any) -> None:
    bucket = f"labels-{uuid.uuid4()}"
    s3.create_bucket(Bucket=bucket)
    s3.put_object(Bucket=bucket, Key="cat.png", Body=photos["cat"].read_bytes())
    response = rekognition.detect_labels(Image={"S3Object": {"Bucket": bucket, "Name": "cat.png"}})
    assert response["Labels"] == cat["Labels"]


def test_exif_orientation_turns_the_boxes(rekognition: Any, photos: dict[str, Path], cat: Any) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    stored = Image.open(photos["cat"]).convert("RGB").transpose(Image.Transpose.ROTATE_90)
    stored.save(buffer, "JPEG", quality=95, exif=exif)
    (turned,) = by_name(rekognition.detect_labels(Image={"Bytes": buffer.getvalue()}))["Cat"]["Instances"]
    (upright,) = by_name(cat)["Cat"]["Instances"]
    assert turned["BoundingBox"] == pytest.approx(upright["BoundingBox"], abs=0.05)


@pytest.mark.parametrize(
    ("image", "error"),
    [
        ({"Bytes": b"no picture"}, "InvalidImageFormatException"),
        ({"S3Object": {"Bucket": "nowhere", "Name": "x"}}, "InvalidS3ObjectException"),
        (png(Image.new("RGB", (10_001, 80))), "ImageTooLargeException"),
        (png(Image.new("RGB", (79, 79))), "InvalidParameterException"),
    ],
)
def test_bad_pictures_have_their_errors(rekognition: Any, image: dict[str, Any], error: str) -> None:
    with pytest.raises(getattr(rekognition.exceptions, error)):
        rekognition.detect_labels(Image=image)


def test_the_aws_cli_detects_labels(server: Any, photos: dict[str, Path], cat: Any) -> None:
    command = ["rekognition", "detect-labels", "--image-bytes", f"fileb://{photos['cat']}", "--output", "json"]
    done = subprocess.run(
        [sys.executable, "-m", "awscli", *command, "--features", GENERAL, PROPERTIES],
        env=server.client_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert names(answer) == names(cat)
    assert answer["ImageProperties"]["DominantColors"]
