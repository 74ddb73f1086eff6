"""The AWS SDK for JavaScript: every operation that is built, and errors that a program can tell apart."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from regard.operations import OPERATIONS

FOLDER = Path(__file__).parent / "node"


@pytest.fixture(scope="module")
def tour(server: Any, photos: dict[str, Path], celebrity: str, interview: dict[str, Any]) -> dict[str, Any]:
    """What `node/tour.mjs` prints."""
    if not (FOLDER / "node_modules").is_dir():
        pytest.skip("the SDK is not here: `make tests/contract/node/node_modules`")
    node = Path(sys.executable).parent / "node"
    finished = subprocess.run(
        [node, FOLDER / "tour.mjs", *(photos[name] for name in ("obama", "obama2", "page"))],
        env=server.client_environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert finished.returncode == 0, finished.stderr
    result: dict[str, Any] = json.loads(finished.stdout)
    return result


def test_every_operation_answers_at_the_first_attempt(tour: dict[str, Any]) -> None:
    assert set(tour["answers"]) == set(OPERATIONS)
    assert all((one["status"], one["attempts"]) == (200, 1) for one in tour["answers"].values())


def test_answers_arrive_as_the_sdk_types_them(tour: dict[str, Any]) -> None:
    answers = {name: one["answer"] for name, one in tour["answers"].items()}
    described = answers["DescribeCollection"]
    assert (described["FaceCount"], described["UserCount"]) == (0, 0)
    assert described["CreationTimestamp"].endswith("Z")  # a Date, printed
    (face,) = answers["DetectFaces"]["FaceDetails"]
    assert len(face["Landmarks"]) == 30
    assert face["Gender"]["Value"] == "Male"
    assert answers["CompareFaces"]["FaceMatches"][0]["Similarity"] >= 80
    assert {"Person", "Face"} <= {label["Name"] for label in answers["DetectLabels"]["Labels"]}
    assert answers["DetectModerationLabels"]["ModerationLabels"] == []
    assert answers["DetectText"]["TextDetections"][0]["DetectedText"] == "Region-based segmentation"
    assert answers["DetectProtectiveEquipment"]["Summary"]["PersonsWithoutRequiredEquipment"] == [0]
    assert answers["GetCelebrityInfo"]["Name"] == "Barack Obama"
    assert [face["FaceId"] for face in answers["ListFaces"]["Faces"]] == tour["FaceIds"]
    assert tour["pages"] == [1, 1]
    assert answers["SearchFaces"]["FaceMatches"][0]["Face"]["FaceId"] == tour["FaceIds"][1]
    assert answers["SearchFacesByImage"]["FaceMatches"][0]["Face"]["ExternalImageId"] == "person"
    assert answers["AssociateFaces"]["UserStatus"] == "ACTIVE"
    assert answers["SearchUsersByImage"]["UserMatches"][0]["User"]["UserId"] == "u"
    assert answers["DeleteFaces"]["DeletedFaces"] == tour["FaceIds"]
    assert answers["GetFaceSearch"]["Persons"][0]["FaceMatches"][0]["Face"]["ExternalImageId"] == "same"
    assert answers["GetSegmentDetection"]["VideoMetadata"][0]["FrameRate"] == 10
    assert answers["GetMediaAnalysisJob"]["Status"] == "SUCCEEDED"
    assert answers["DeleteUser"] == answers["TagResource"] == {}
    assert answers["ListTagsForResource"]["Tags"] == {"b": "2"}


@pytest.mark.parametrize(
    ("situation", "name", "text"),
    [
        ("missing", "ResourceNotFoundException", "does not exist"),
        ("conflict", "ConflictException", "already exists"),
        ("format", "InvalidImageFormatException", "Request has invalid image format"),
        ("validation", "InvalidParameterException", "1 validation error detected: Value 'a/b' at 'collectionId'"),
        ("unbuilt", "AccessDeniedException", "ListStreamProcessors is not implemented by this deployment."),
    ],
)
def test_errors_are_classes_that_a_program_can_tell_apart(
    tour: dict[str, Any], situation: str, name: str, text: str
) -> None:
    error = tour["errors"][situation]
    assert (error["name"], error["status"], error["attempts"]) == (name, 400, 1)
    assert error["typed"]
    assert error["service"]
    assert text in error["message"]
    assert error["requestId"]
