"""The AWS CLI, as its users type it."""

import json
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

Aws = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def aws(server: Any) -> Aws:
    """`aws("list-collections")` is the finished `aws rekognition list-collections`."""

    def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "awscli", "rekognition", *arguments, "--output", "json"],
            env=server.client_environment(),
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def answer(finished: "subprocess.CompletedProcess[str]") -> Any:
    assert finished.returncode == 0, finished.stderr
    return json.loads(finished.stdout) if finished.stdout else None


@pytest.fixture(scope="module")
def staff(aws: Aws, photos: dict[str, Path]) -> Iterator[str]:
    """A collection, made and filled from the command line."""
    name = f"cli-{uuid.uuid4()}"
    assert answer(aws("create-collection", "--collection-id", name))["StatusCode"] == 200
    for person in ("obama", "obama2", "biden"):
        indexed = answer(
            aws(
                *("index-faces", "--collection-id", name, "--external-image-id", person),
                *("--image-bytes", f"fileb://{photos[person]}"),
            )
        )
        assert indexed["FaceRecords"][0]["Face"]["ExternalImageId"] == person
    yield name
    assert answer(aws("delete-collection", "--collection-id", name))["StatusCode"] == 200


def test_faces_are_detected_in_a_local_photo(aws: Aws, photos: dict[str, Path]) -> None:
    found = answer(aws("detect-faces", "--image-bytes", f"fileb://{photos['obama']}", "--attributes", "ALL"))
    (face,) = found["FaceDetails"]
    assert face["Gender"]["Value"] == "Male"
    assert len(face["Landmarks"]) == 30


def test_a_local_photo_is_understood(aws: Aws, photos: dict[str, Path]) -> None:
    coffee = answer(aws("detect-labels", "--image-bytes", f"fileb://{photos['coffee']}", "--max-labels", "3"))
    assert "Coffee" in {label["Name"] for label in coffee["Labels"]}
    portrait = ("--image-bytes", f"fileb://{photos['obama']}")
    assert answer(aws("detect-moderation-labels", *portrait))["ModerationLabels"] == []
    page = answer(aws("detect-text", "--image-bytes", f"fileb://{photos['page']}"))
    assert page["TextDetections"][0]["DetectedText"] == "Region-based segmentation"
    wanted = "MinConfidence=80,RequiredEquipmentTypes=FACE_COVER"
    equipment = answer(aws("detect-protective-equipment", *portrait, "--summarization-attributes", wanted))
    assert equipment["Summary"]["PersonsWithoutRequiredEquipment"] == [0]
    assert len(answer(aws("recognize-celebrities", *portrait))["UnrecognizedFaces"]) == 1


def test_two_local_photos_are_compared(aws: Aws, photos: dict[str, Path]) -> None:
    source, target = f"fileb://{photos['obama']}", f"fileb://{photos['obama2']}"
    found = answer(aws("compare-faces", "--source-image-bytes", source, "--target-image-bytes", target))
    assert found["FaceMatches"][0]["Similarity"] >= 80


def test_a_person_is_found_by_a_photo(aws: Aws, staff: str, photos: dict[str, Path]) -> None:
    found = answer(
        aws(
            *("search-faces-by-image", "--collection-id", staff),
            *("--image-bytes", f"fileb://{photos['obama3']}"),
        )
    )
    assert {match["Face"]["ExternalImageId"] for match in found["FaceMatches"]} == {"obama", "obama2"}


def test_faces_are_listed_page_by_page(aws: Aws, staff: str) -> None:
    every = answer(aws("list-faces", "--collection-id", staff, "--page-size", "2"))
    assert [face["ExternalImageId"] for face in every["Faces"]] == ["obama", "obama2", "biden"]
    first = answer(aws("list-faces", "--collection-id", staff, "--max-items", "1"))
    rest = answer(aws("list-faces", "--collection-id", staff, "--starting-token", first["NextToken"]))
    assert first["Faces"] + rest["Faces"] == every["Faces"]


def test_a_collection_is_tagged(aws: Aws, staff: str) -> None:
    arn = answer(aws("describe-collection", "--collection-id", staff))["CollectionARN"]
    answer(aws("tag-resource", "--resource-arn", arn, "--tags", "team=door,floor=2"))
    assert answer(aws("list-tags-for-resource", "--resource-arn", arn))["Tags"] == {"team": "door", "floor": "2"}


def test_an_error_is_shown_and_ends_with_its_status(aws: Aws) -> None:
    failed = aws("describe-collection", "--collection-id", "nowhere")
    assert failed.returncode in (254, 255)  # version 2 of the CLI, version 1
    assert "(ResourceNotFoundException)" in failed.stderr
    assert "The collection id: nowhere does not exist" in failed.stderr
