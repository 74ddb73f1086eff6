"""Labels, moderation labels and text of stored video through boto3."""

import time
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from botocore.exceptions import ClientError
from numpy.typing import NDArray
from PIL import Image
from tests.videos import make_video, scene

RATE = 10
LIST = {"label_detection": "Labels", "content_moderation": "ModerationLabels", "text_detection": "TextDetections"}


def picture(path: Path, width: int = 640) -> NDArray[np.uint8]:
    with Image.open(path) as opened:
        return np.array(opened.convert("RGB").resize((width, width * 9 // 16)))


@pytest.fixture(scope="module")
def page(photos: dict[str, Path]) -> NDArray[np.uint8]:
    """Printed text, large enough to be read."""
    with Image.open(photos["page"]) as opened:
        return np.array(opened.convert("RGB").resize((1280, 720)))


@pytest.fixture(scope="module")
def video(
    buckets: Path, photos: dict[str, Path], page: NDArray[np.uint8], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Any]]:
    """A page for a second, then a cat for one and a half and a cup of coffee for one, as `Video`."""
    shots = [(page, 10), (picture(photos["cat"]), 15), (picture(photos["coffee"]), 10)]
    path = make_video(buckets / "local" / "scene.mp4", scene(shots), rate=RATE)
    yield {"S3Object": {"Bucket": "local", "Name": path.name}}
    path.unlink()


@pytest.fixture(scope="module")
def analyse(rekognition: Any, video: dict[str, Any]) -> Callable[..., str]:
    """`analyse(name, **parameters)` is the JobId of a job that has ended well."""

    def run(name: str, **parameters: Any) -> str:
        job_id = str(getattr(rekognition, f"start_{name}")(Video=video, **parameters)["JobId"])
        deadline = time.monotonic() + 240
        while (page := getattr(rekognition, f"get_{name}")(JobId=job_id))["JobStatus"] == "IN_PROGRESS":
            assert time.monotonic() < deadline, "the job did not end in time"
            time.sleep(0.2)
        assert page["JobStatus"] == "SUCCEEDED", page
        return job_id

    return run


@pytest.fixture(scope="module")
def get(rekognition: Any) -> Callable[..., list[dict[str, Any]]]:
    """`get(name, job_id, **parameters)` are all results of a job."""

    def all_pages(name: str, job_id: str, **parameters: Any) -> list[dict[str, Any]]:
        found, token = [], ""
        while token is not None:
            answer = getattr(rekognition, f"get_{name}")(JobId=job_id, NextToken=token, **parameters)
            found += answer[LIST[name]]
            token = answer.get("NextToken")
        return found

    return all_pages


@pytest.fixture(scope="module")
def labels(analyse: Callable[..., str]) -> str:
    return analyse("label_detection")


def names(found: Sequence[dict[str, Any]]) -> set[str]:
    return {one["Label"]["Name"] for one in found}


def test_labels_are_told_twice_a_second_with_places_and_all_that_a_label_has(get: Any, labels: str) -> None:
    found = get("label_detection", labels)
    assert all(set(one) == {"Timestamp", "Label"} for one in found)
    cats = [one for one in found if one["Label"]["Name"] == "Cat"]
    assert [cat["Timestamp"] for cat in cats] == [1000, 1500, 2000]
    for cat in cats:
        assert set(cat["Label"]) == {"Name", "Confidence", "Instances", "Parents", "Aliases", "Categories"}
        assert [parent["Name"] for parent in cat["Label"]["Parents"]] == ["Animal", "Feline", "Mammal", "Pet"]
        (instance,) = cat["Label"]["Instances"]
        assert set(instance) == {"BoundingBox", "Confidence"}
        assert instance["BoundingBox"]["Width"] > 0.4
    assert {one["Timestamp"] for one in found if one["Label"]["Name"] == "Text"} == {0, 500}
    assert min(one["Label"]["Confidence"] for one in found) >= 50


def test_a_segment_is_as_long_as_its_label_and_has_no_instances(get: Any, labels: str) -> None:
    segments = get("label_detection", labels, AggregateBy="SEGMENTS")
    by_name = {one["Label"]["Name"]: one for one in segments}
    cat = by_name["Cat"]
    assert set(cat) == {"Timestamp", "Label", "StartTimestampMillis", "EndTimestampMillis", "DurationMillis"}
    assert "Instances" not in cat["Label"]
    times = (cat["Timestamp"], cat["StartTimestampMillis"], cat["EndTimestampMillis"], cat["DurationMillis"])
    assert times == (1000, 1000, 2500, 1500)
    assert by_name["Cup"]["EndTimestampMillis"] == 3500
    single = [one["Label"]["Confidence"] for one in get("label_detection", labels) if one["Label"]["Name"] == "Cat"]
    assert cat["Label"]["Confidence"] == pytest.approx(np.mean(single))


@pytest.mark.parametrize("aggregate", ["TIMESTAMPS", "SEGMENTS"])
def test_labels_come_by_time_or_by_name_and_then_by_confidence(get: Any, labels: str, aggregate: str) -> None:
    by_time = get("label_detection", labels, AggregateBy=aggregate)
    by_name = get("label_detection", labels, AggregateBy=aggregate, SortBy="NAME", MaxResults=7)
    assert [one["Timestamp"] for one in by_time] == sorted(one["Timestamp"] for one in by_time)
    keys = [(one["Label"]["Name"], -one["Label"]["Confidence"]) for one in by_name]
    assert keys == sorted(keys)
    assert sorted(map(repr, by_name)) == sorted(map(repr, by_time))


def test_the_answer_says_how_it_is_aggregated_and_what_has_looked(rekognition: Any, labels: str) -> None:
    answer = rekognition.get_label_detection(JobId=labels, AggregateBy="SEGMENTS", SortBy="NAME")
    assert answer["GetRequestMetadata"] == {"AggregateBy": "SEGMENTS", "SortBy": "NAME"}
    assert answer["LabelModelVersion"]
    assert answer["VideoMetadata"]["DurationMillis"] == 3500


def test_filters_and_min_confidence_let_through_what_they_do_for_pictures(get: Any, analyse: Any) -> None:
    filters = {"LabelCategoryInclusionFilters": ["Animals and Pets"], "LabelExclusionFilters": ["Animal"]}
    job_id = analyse("label_detection", MinConfidence=70, Settings={"GeneralLabels": filters})
    found = get("label_detection", job_id)
    assert "Cat" in names(found)
    assert "Animal" not in names(found)
    assert {category["Name"] for one in found for category in one["Label"]["Categories"]} == {"Animals and Pets"}
    assert min(one["Label"]["Confidence"] for one in found) >= 70
    assert all(thing["Confidence"] >= 70 for one in found for thing in one["Label"]["Instances"])


def test_nothing_in_an_innocent_video_is_moderated(get: Any, analyse: Any) -> None:
    job_id = analyse("content_moderation")
    assert get("content_moderation", job_id) == []
    assert get("content_moderation", job_id, AggregateBy="SEGMENTS") == []


def test_moderation_labels_are_told_by_sample_and_by_segment(get: Any, analyse: Any) -> None:
    job_id = analyse("content_moderation", MinConfidence=0)  # what the networks think possible, however little
    found = get("content_moderation", job_id)
    assert all(set(one) == {"Timestamp", "ModerationLabel", "ContentTypes"} for one in found)
    assert {one["Timestamp"] for one in found} == set(range(0, 3500, 500))
    parents = {one["ModerationLabel"]["Name"]: one["ModerationLabel"] for one in found}
    assert all(label["ParentName"] in {"", *parents} for label in parents.values())
    segments = get("content_moderation", job_id, AggregateBy="SEGMENTS")
    assert {one["ModerationLabel"]["Name"] for one in segments} == set(parents)
    for one in segments:
        assert one["Timestamp"] == one["StartTimestampMillis"] == 0
        assert one["EndTimestampMillis"] == one["DurationMillis"] == 3500
        assert one["ModerationLabel"]["TaxonomyLevel"] == parents[one["ModerationLabel"]["Name"]]["TaxonomyLevel"]


def read_in_a_picture(rekognition: Any, page: NDArray[np.uint8], tmp_path: Path) -> list[str]:
    Image.fromarray(page).save(tmp_path / "page.png")
    answer = rekognition.detect_text(Image={"Bytes": (tmp_path / "page.png").read_bytes()})
    return [one["DetectedText"] for one in answer["TextDetections"] if one["Type"] == "WORD"]


def test_text_is_read_as_in_a_picture_and_numbered_in_every_sample(
    rekognition: Any, get: Any, analyse: Any, page: NDArray[np.uint8], tmp_path: Path
) -> None:
    found = get("text_detection", analyse("text_detection"))
    samples = {
        time_ms: [one["TextDetection"] for one in found if one["Timestamp"] == time_ms]
        for time_ms in sorted({one["Timestamp"] for one in found})
    }
    assert list(samples)[:2] == [0, 500]
    expected = set(read_in_a_picture(rekognition, page, tmp_path))
    for time_ms in (0, 500):
        sample = samples[time_ms]
        assert [one["Id"] for one in sample] == list(range(len(sample)))
        kinds = [one["Type"] for one in sample]
        assert kinds == sorted(kinds)
        lines = kinds.count("LINE")
        assert all(one["ParentId"] < lines for one in sample[lines:])
        assert len(sample) - lines <= 100
        words = {one["DetectedText"] for one in sample[lines:]}
        assert len(words & expected) > 0.8 * len(expected)
    assert [one["DetectedText"] for one in samples[0]] == [one["DetectedText"] for one in samples[500]]


def test_text_filters_are_those_of_pictures(rekognition: Any, get: Any, analyse: Any, video: Any) -> None:
    upper = {"BoundingBox": {"Left": 0, "Top": 0, "Width": 1, "Height": 0.5}}
    filters = {"WordFilter": {"MinConfidence": 90}, "RegionsOfInterest": [upper]}
    found = [one["TextDetection"] for one in get("text_detection", analyse("text_detection", Filters=filters))]
    assert found
    for one in found:
        box = one["Geometry"]["BoundingBox"]
        assert one["Confidence"] >= 90
        assert box["Top"] + box["Height"] / 2 <= 0.5
    neither = {"RegionsOfInterest": [{}]}
    with pytest.raises(ClientError, match="either a BoundingBox or a Polygon") as refused:
        rekognition.start_text_detection(Video=video, Filters=neither)
    assert refused.value.response["Error"]["Code"] == "InvalidParameterException"


def test_samples_are_half_a_second_apart(get: Any, labels: str) -> None:
    times = sorted({one["Timestamp"] for one in get("label_detection", labels)})
    assert {after - before for before, after in pairwise(times)} == {500}
