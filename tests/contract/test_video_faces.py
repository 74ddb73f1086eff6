"""FaceDetection, FaceSearch, PersonTracking and CelebrityRecognition of stored video, as a client sees them."""

import time
import uuid
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from botocore.exceptions import ClientError
from tests.scenes import empty, panned
from tests.videos import make_video

PATIENCE_S = 250
VIDEO = {"S3Object": {"Bucket": "local", "Name": "people.mp4"}}
DEFAULT_ATTRIBUTES = {"BoundingBox", "Confidence", "Landmarks", "Pose", "Quality"}


@pytest.fixture(scope="module", autouse=True)
def people(buckets: Path, photos: dict[str, Path]) -> Iterator[None]:
    """A video in the bucket: Obama for a second and a half, Biden as long in his place, nobody, a photo of Obama
    from another year."""
    portraits = {
        name: np.asarray(cv2.imread(str(photos[name])), np.uint8)[:, :, ::-1].copy()
        for name in ("obama", "biden", "obama2")
    }
    scenes = (panned(portraits["obama"], 12), panned(portraits["biden"], 12), empty(8), panned(portraits["obama2"], 8))
    yield make_video(buckets / "local" / "people.mp4", chain(*scenes), rate=8) and None
    (buckets / "local" / "people.mp4").unlink()


def outcome(get: Callable[..., Any], job_id: str, **order: str) -> dict[str, Any]:
    """The first page of a job that has succeeded."""
    deadline = time.monotonic() + PATIENCE_S
    while (page := get(JobId=job_id, **order))["JobStatus"] == "IN_PROGRESS":
        assert time.monotonic() < deadline, "the job did not end in time"
        time.sleep(0.2)
    assert page["JobStatus"] == "SUCCEEDED", page
    return dict(page)


def test_faces(rekognition: Any) -> None:
    job_id = rekognition.start_face_detection(Video=VIDEO, FaceAttributes="ALL")["JobId"]
    page = outcome(rekognition.get_face_detection, job_id)
    times = [found["Timestamp"] for found in page["Faces"]]
    assert times == [0, 500, 1000, 1500, 2000, 2500, 4000, 4500]
    assert all(found["Face"]["Gender"]["Value"] == "Male" for found in page["Faces"])
    assert page["VideoMetadata"]["FrameHeight"] == 360
    plain = rekognition.start_face_detection(Video=VIDEO)["JobId"]
    first, *_ = outcome(rekognition.get_face_detection, plain)["Faces"]
    assert set(first["Face"]) == DEFAULT_ATTRIBUTES


def test_people(rekognition: Any) -> None:
    job_id = rekognition.start_person_tracking(Video=VIDEO)["JobId"]
    by_time = outcome(rekognition.get_person_tracking, job_id)["Persons"]
    by_index = outcome(rekognition.get_person_tracking, job_id, SortBy="INDEX")["Persons"]
    assert [found["Timestamp"] for found in by_time] == sorted(found["Timestamp"] for found in by_time)
    seen = [(found["Person"]["Index"], found["Timestamp"]) for found in by_index]
    assert seen == sorted(seen)
    times = {index: [time_ms for who, time_ms in seen if who == index] for index, _ in seen}
    assert times == {0: [*range(0, 1500, 250), *range(4000, 5000, 250)], 1: [*range(1500, 3000, 250)]}
    assert all(set(found["Person"]) == {"Index", "BoundingBox", "Face"} for found in by_time)
    assert all(set(found["Person"]["Face"]) == DEFAULT_ATTRIBUTES for found in by_time)


def test_who_of_a_collection_is_seen_and_who_is_a_stranger(
    rekognition: Any, collection: str, picture: Callable[[str], dict[str, bytes]]
) -> None:
    rekognition.index_faces(CollectionId=collection, Image=picture("obama3"), ExternalImageId="44")
    rekognition.index_faces(CollectionId=collection, Image=picture("hopper"), ExternalImageId="grace")
    job_id = rekognition.start_face_search(Video=VIDEO, CollectionId=collection)["JobId"]
    persons = outcome(rekognition.get_face_search, job_id)["Persons"]
    assert [found["Timestamp"] for found in persons] == [0, 500, 1000, 1500, 2000, 2500, 4000, 4500]
    for found in persons:
        names = [match["Face"]["ExternalImageId"] for match in found["FaceMatches"]]
        biden = 1500 <= found["Timestamp"] < 3000
        assert names == ([] if biden else ["44"])
        assert found["Person"]["Index"] == int(biden)
        assert set(found["Person"]["Face"]) == DEFAULT_ATTRIBUTES
        assert all(match["Similarity"] >= 80 for match in found["FaceMatches"])
    # One search for all of a track: the same answer at each of its times.
    assert len({match["Similarity"] for found in persons[:3] for match in found["FaceMatches"]}) == 1


def test_a_threshold_decides_who_is_told_of(
    rekognition: Any, collection: str, picture: Callable[[str], dict[str, bytes]]
) -> None:
    rekognition.index_faces(CollectionId=collection, Image=picture("biden"), ExternalImageId="46")
    job_id = rekognition.start_face_search(Video=VIDEO, CollectionId=collection, FaceMatchThreshold=0)["JobId"]
    persons = outcome(rekognition.get_face_search, job_id, SortBy="INDEX")["Persons"]
    similarities = {found["Person"]["Index"]: found["FaceMatches"][0]["Similarity"] for found in persons}
    assert similarities[1] > 80 > similarities[0]


def test_a_collection_that_is_not_there_is_refused(rekognition: Any) -> None:
    with pytest.raises(ClientError) as error:
        rekognition.start_face_search(Video=VIDEO, CollectionId=f"no-{uuid.uuid4()}")
    assert error.value.response["Error"]["Code"] == "ResourceNotFoundException"


def test_celebrities_once_there_are_any(rekognition: Any, request: pytest.FixtureRequest) -> None:
    assert celebrities(rekognition) == []
    celebrity = request.getfixturevalue("celebrity")
    found = celebrities(rekognition)
    assert [at["Timestamp"] for at in found] == [0, 500, 1000, 4000, 4500]
    for at in found:
        detail = at["Celebrity"]
        assert (detail["Id"], detail["Name"], detail["KnownGender"]) == (celebrity, "Barack Obama", {"Type": "Male"})
        assert detail["Urls"] == ["https://example.org"]
        assert set(detail) == {"Id", "Name", "Urls", "KnownGender", "Confidence", "BoundingBox", "Face"}
        assert 90 < detail["Confidence"] <= 100


def celebrities(rekognition: Any) -> list[dict[str, Any]]:
    job_id = rekognition.start_celebrity_recognition(Video=VIDEO)["JobId"]
    found: list[dict[str, Any]] = outcome(rekognition.get_celebrity_recognition, job_id, SortBy="ID")["Celebrities"]
    return found
