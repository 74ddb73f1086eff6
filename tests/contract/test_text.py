"""DetectText through boto3."""

import io
from typing import Any

import numpy as np
import pytest
from botocore.exceptions import ClientError
from PIL import Image, ImageDraw, ImageFont

WIDTH, HEIGHT = 800, 400
LINES = (("OPEN DAILY", 70, 60), ("ring the bell", 40, 200), ("small print", 16, 320))


def jpeg(image: Image.Image) -> dict[str, bytes]:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=95)
    return {"Bytes": buffer.getvalue()}


@pytest.fixture(scope="module")
def sign() -> dict[str, bytes]:
    """A picture with three lines of two, three and two words, each smaller than the one above."""
    image = Image.new("RGB", (WIDTH, HEIGHT), "white")
    pen = ImageDraw.Draw(image)
    for text, size, top in LINES:
        pen.text((60, top), text, fill="black", font=ImageFont.load_default(size))
    return jpeg(image)


def words(response: dict[str, Any]) -> list[str]:
    return [found["DetectedText"] for found in response["TextDetections"] if found["Type"] == "WORD"]


def lines(response: dict[str, Any]) -> list[str]:
    return [found["DetectedText"] for found in response["TextDetections"] if found["Type"] == "LINE"]


def box(left: float, top: float, width: float, height: float) -> dict[str, Any]:
    return {"BoundingBox": {"Left": left, "Top": top, "Width": width, "Height": height}}


def polygon(*points: tuple[float, float]) -> dict[str, Any]:
    return {"Polygon": [{"X": x, "Y": y} for x, y in points]}


def test_lines_come_first_and_words_point_to_them(rekognition: Any, sign: dict[str, bytes]) -> None:
    response = rekognition.detect_text(Image=sign)
    found = response["TextDetections"]
    assert [one["Id"] for one in found] == list(range(10))
    assert [one["Type"] for one in found] == ["LINE"] * 3 + ["WORD"] * 7
    assert lines(response) == [text for text, _, _ in LINES]
    assert words(response) == " ".join(text for text, _, _ in LINES).split()
    assert [one.get("ParentId") for one in found] == [None, None, None, 0, 0, 1, 1, 1, 2, 2]
    assert response["TextModelVersion"]


def test_geometry_is_in_ratios_and_the_box_is_around_the_polygon(rekognition: Any, sign: dict[str, bytes]) -> None:
    for found in rekognition.detect_text(Image=sign)["TextDetections"]:
        around, points = found["Geometry"]["BoundingBox"], found["Geometry"]["Polygon"]
        assert len(points) == 4
        xs, ys = [point["X"] for point in points], [point["Y"] for point in points]
        assert around["Left"] == pytest.approx(min(xs), abs=1e-6)
        assert around["Top"] == pytest.approx(min(ys), abs=1e-6)
        assert around["Left"] + around["Width"] == pytest.approx(max(xs), abs=1e-6)
        assert around["Top"] + around["Height"] == pytest.approx(max(ys), abs=1e-6)
        assert 0 < found["Confidence"] <= 100
    top_left = rekognition.detect_text(Image=sign)["TextDetections"][0]["Geometry"]["Polygon"][0]
    assert (top_left["X"] * WIDTH, top_left["Y"] * HEIGHT) == pytest.approx((60, 70), abs=20)


def test_a_picture_without_text_is_no_error(rekognition: Any) -> None:
    blank = jpeg(Image.new("RGB", (200, 200), "gray"))
    assert rekognition.detect_text(Image=blank)["TextDetections"] == []


def test_words_below_the_minimum_confidence_are_left_out(rekognition: Any) -> None:
    image = Image.new("RGB", (WIDTH, HEIGHT), "white")
    pen = ImageDraw.Draw(image)
    for row, size in enumerate((40, 9, 8, 7, 6)):
        pen.text((60, 40 + 60 * row), f"faint{row} writing{row}", fill="black", font=ImageFont.load_default(size))
    found = [one for one in rekognition.detect_text(Image=jpeg(image))["TextDetections"] if one["Type"] == "WORD"]
    confidences = sorted(one["Confidence"] for one in found)
    assert confidences[0] < 80 < confidences[-1]

    def kept(**word_filter: float) -> set[str]:
        return set(words(rekognition.detect_text(Image=jpeg(image), Filters={"WordFilter": word_filter})))

    def sure(least: float) -> set[str]:
        return {one["DetectedText"] for one in found if one["Confidence"] >= least}

    assert kept(MinConfidence=confidences[-1]) == sure(confidences[-1])
    assert kept(MinConfidence=0) == sure(0)
    assert kept() == sure(80) != sure(0)
    assert kept(MinBoundingBoxHeight=0) == sure(80)


def test_words_in_too_small_boxes_are_left_out(rekognition: Any, sign: dict[str, bytes]) -> None:
    low = rekognition.detect_text(Image=sign, Filters={"WordFilter": {"MinBoundingBoxHeight": 0.08}})
    assert words(low) == ["OPEN", "DAILY", "ring", "the", "bell"]
    assert lines(low) == ["OPEN DAILY", "ring the bell"]
    narrow = rekognition.detect_text(Image=sign, Filters={"WordFilter": {"MinBoundingBoxWidth": 0.15}})
    assert words(narrow) == ["OPEN", "DAILY"]


def test_a_line_is_what_passes_of_it(rekognition: Any, sign: dict[str, bytes]) -> None:
    response = rekognition.detect_text(Image=sign, Filters={"RegionsOfInterest": [box(0, 0.4, 0.2, 0.3)]})
    assert [(one["DetectedText"], one["Id"]) for one in response["TextDetections"]] == [("ring", 0), ("ring", 1)]
    line, word = (one["Geometry"]["BoundingBox"] for one in response["TextDetections"])
    assert line == pytest.approx(word, abs=1e-6)


@pytest.mark.parametrize(
    ("regions", "expected"),
    [
        ([box(0, 0, 1, 1)], "OPEN DAILY ring the bell small print"),
        ([box(0, 0.4, 1, 0.3)], "ring the bell"),
        ([box(0, 0, 1, 0.4), box(0, 0.7, 1, 0.3)], "OPEN DAILY small print"),
        ([box(0.6, 0, 0.4, 1)], ""),
        ([polygon((0, 0.4), (1, 0.4), (1, 0.7), (0, 0.7))], "ring the bell"),
        ([polygon((0, 0), (1, 0), (0, 1))], "OPEN DAILY ring the bell small print"),
        # An arrow whose notch leaves the middle line out: not what its hull would say.
        (
            [polygon((0, 0), (1, 0), (1, 1), (0, 1), (0, 0.72), (0.9, 0.7), (0.9, 0.45), (0, 0.42))],
            "OPEN DAILY small print",
        ),
        ([], "OPEN DAILY ring the bell small print"),
    ],
)
def test_words_more_than_half_in_a_region_are_kept(
    rekognition: Any, sign: dict[str, bytes], regions: list[dict[str, Any]], expected: str
) -> None:
    response = rekognition.detect_text(Image=sign, Filters={"RegionsOfInterest": regions})
    assert " ".join(words(response)) == expected


def test_a_word_half_in_a_region_depends_on_which_half(rekognition: Any, sign: dict[str, bytes]) -> None:
    (first, *_) = [one for one in rekognition.detect_text(Image=sign)["TextDetections"] if one["Type"] == "WORD"]
    around = first["Geometry"]["BoundingBox"]

    def seen(share: float) -> list[str]:
        region = box(0, 0, around["Left"] + share * around["Width"], 0.4)
        return words(rekognition.detect_text(Image=sign, Filters={"RegionsOfInterest": [region]}))

    assert seen(0.45) == []
    assert seen(0.55) == ["OPEN"]


@pytest.mark.parametrize(
    "region",
    [
        {},
        box(0, 0, 1, 1) | polygon((0, 0), (1, 0), (1, 1)),
        {"BoundingBox": {"Left": 0.1, "Top": 0.1, "Width": 0.5}},
        {"BoundingBox": {}},
        box(0.1, 0.1, 0, 0.5),
        box(0.1, 0.1, 0.5, -0.5),
        box(0.6, 0.1, 0.5, 0.5),
        box(-0.1, 0.1, 0.5, 0.5),
        {"Polygon": []},
        polygon((0, 0), (1, 1)),
        polygon((0, 0), (1.5, 0), (1, 1)),
        polygon(*((0.1, 0.1),) * 11),
        {"Polygon": [{"X": 0.1}, {"X": 0.5, "Y": 0.5}, {"X": 0.1, "Y": 0.9}]},
    ],
)
def test_a_region_that_makes_no_sense_is_refused(
    rekognition: Any, sign: dict[str, bytes], region: dict[str, Any]
) -> None:
    with pytest.raises(ClientError) as refused:
        rekognition.detect_text(Image=sign, Filters={"RegionsOfInterest": [region]})
    assert refused.value.response["Error"]["Code"] == "InvalidParameterException"


@pytest.mark.parametrize(
    "filters",
    [
        {"WordFilter": {"MinConfidence": 101}},
        {"WordFilter": {"MinConfidence": -1}},
        {"WordFilter": {"MinBoundingBoxHeight": 1.1}},
        {"WordFilter": {"MinBoundingBoxWidth": -0.1}},
        {"RegionsOfInterest": [box(0, 0, 1, 1)] * 11},
    ],
)
def test_filters_beyond_their_bounds_are_refused(
    unchecked: Any, sign: dict[str, bytes], filters: dict[str, Any]
) -> None:
    with pytest.raises(ClientError) as refused:
        unchecked.detect_text(Image=sign, Filters=filters)
    assert refused.value.response["Error"]["Code"] == "InvalidParameterException"
    assert "validation error detected" in refused.value.response["Error"]["Message"]


def test_a_hundred_words_at_most_are_answered(rekognition: Any) -> None:
    image = Image.new("RGB", (700, 1000), "white")
    pen = ImageDraw.Draw(image)
    for row in range(30):
        pen.text((30, 20 + 32 * row), f"row {row} has six words here", fill="black", font=ImageFont.load_default(18))
    assert len(words(rekognition.detect_text(Image=jpeg(image)))) == 100


def test_what_is_no_picture_is_refused(rekognition: Any, s3: Any) -> None:
    for image, code in (
        ({"Bytes": b"GIF89a"}, "InvalidImageFormatException"),
        ({"S3Object": {"Bucket": "none", "Name": "none.jpg"}}, "InvalidS3ObjectException"),
        (jpeg(Image.fromarray(np.zeros((40, 40, 3), np.uint8))), "InvalidParameterException"),
    ):
        with pytest.raises(ClientError) as refused:
            rekognition.detect_text(Image=image)
        assert refused.value.response["Error"]["Code"] == code
