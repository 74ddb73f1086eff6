"""Stored video over the wire: what Start… refuses, what Get… gives, page by page, and what operators see."""

import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from tests.videos import make_video, numbers

VIDEO = {"S3Object": {"Bucket": "local", "Name": "moving.mp4"}}
FRAMES = 120  # twelve seconds, one in 100 ms


@pytest.fixture(scope="module")
def deployment(luminance: Callable[..., Any], s3: Any) -> Any:
    return luminance(
        REGARD_S3="true",
        AWS_ENDPOINT_URL_S3=s3.meta.endpoint_url,
        AWS_ACCESS_KEY_ID="s3",
        AWS_SECRET_ACCESS_KEY="s3",
        AWS_DEFAULT_REGION="us-east-1",
    )


@pytest.fixture(scope="module")
def client(deployment: Any) -> Iterator[Any]:
    server = deployment.start()
    with closing(server.client()) as made:
        yield made
    assert server.stop() == 0


def begin(client: Any, video: Any = VIDEO, **parameters: Any) -> str:
    job_id = str(client.start_label_detection(Video=video, **parameters)["JobId"])
    assert len(job_id) == 64
    return job_id


def ended(client: Any, job_id: str) -> dict[str, Any]:
    deadline = time.monotonic() + 60
    while (page := client.get_label_detection(JobId=job_id))["JobStatus"] == "IN_PROGRESS":
        assert time.monotonic() < deadline, "the job did not end in time"
        time.sleep(0.1)
    return dict(page)


@pytest.fixture(scope="module")
def job_id(client: Any) -> str:
    """A job that has succeeded."""
    begun = begin(client, JobTag="archive-7")
    assert ended(client, begun)["JobStatus"] == "SUCCEEDED"
    return begun


def pages(client: Any, job_id: str, **parameters: Any) -> list[Any]:
    found, token = [], ""
    while token is not None:
        page = client.get_label_detection(JobId=job_id, NextToken=token, **parameters)
        token = page.get("NextToken")
        found.append(page["Labels"])
    return found


def test_a_job_that_succeeded_says_what_it_was_and_what_is_in_the_video(client: Any, job_id: str) -> None:
    page = client.get_label_detection(JobId=job_id)
    labels = page.pop("Labels")
    del page["ResponseMetadata"]
    assert page == {
        "JobStatus": "SUCCEEDED",
        "JobId": job_id,
        "JobTag": "archive-7",
        "Video": VIDEO,
        "VideoMetadata": {
            "Codec": "h264",
            "ColorRange": "LIMITED",
            "DurationMillis": 12000,
            "Format": "QuickTime / MOV",
            "FrameHeight": 240,
            "FrameRate": 24.0,
            "FrameWidth": 320,
        },
        "LabelModelVersion": page["LabelModelVersion"],
        "GetRequestMetadata": {"SortBy": "TIMESTAMP", "AggregateBy": "TIMESTAMPS"},
    }
    times = [label["Timestamp"] for label in labels]
    assert len(times) == FRAMES
    assert times == sorted(times)


def test_pages_together_are_the_whole_in_the_order_that_was_asked_for(client: Any, job_id: str) -> None:
    (whole,) = pages(client, job_id)
    by_time = pages(client, job_id, MaxResults=50)
    assert [len(page) for page in by_time] == [50, 50, 20]
    assert list(chain(*by_time)) == whole
    by_name = list(chain(*pages(client, job_id, MaxResults=7, SortBy="NAME")))
    assert by_name == sorted(whole, key=lambda label: (label["Label"]["Name"], label["Timestamp"]))


def test_segments_are_other_results_than_timestamps(client: Any, job_id: str) -> None:
    page = client.get_label_detection(JobId=job_id, AggregateBy="SEGMENTS", SortBy="NAME")
    assert page["GetRequestMetadata"] == {"SortBy": "NAME", "AggregateBy": "SEGMENTS"}
    assert [label["Label"]["Name"] for label in page["Labels"]] == ["Bright"] * 3 + ["Dark"] * 3
    assert all("DurationMillis" in label for label in page["Labels"])


def test_more_than_a_thousand_results_a_page_means_a_thousand(client: Any, job_id: str) -> None:
    assert len(client.get_label_detection(JobId=job_id, MaxResults=1_000_000)["Labels"]) == FRAMES


def test_a_token_belongs_to_its_job_and_order(client: Any, job_id: str) -> None:
    token = client.get_label_detection(JobId=job_id, MaxResults=5)["NextToken"]
    other = begin(client)
    ended(client, other)
    for misuse in (
        {"JobId": other},
        {"JobId": job_id, "SortBy": "NAME"},
        {"JobId": job_id, "AggregateBy": "SEGMENTS"},
        {"JobId": job_id, "NextToken": "forged"},
    ):
        with pytest.raises(client.exceptions.InvalidPaginationTokenException):
            client.get_label_detection(**{"NextToken": token, **misuse})


def test_a_job_in_progress_has_no_results_yet(client: Any) -> None:
    page = client.get_label_detection(JobId=begin(client))
    assert (page["JobStatus"], page["Labels"]) == ("IN_PROGRESS", [])
    assert "StatusMessage" not in page
    ended(client, page["JobId"])


def test_a_job_that_there_is_not_is_not_found(client: Any, job_id: str) -> None:
    with pytest.raises(client.exceptions.ResourceNotFoundException, match="Could not find JobId"):
        client.get_label_detection(JobId="0" * 64)


@pytest.mark.parametrize(
    "place",
    [
        {"Bucket": "local", "Name": "nothing.mp4"},
        {"Bucket": "nowhere", "Name": "moving.mp4"},
        {"Bucket": "local", "Name": "../local/moving.mp4"},
        {"Bucket": "local", "Name": "moving.mp4", "Version": "1"},
    ],
)
def test_a_video_that_is_not_there_is_refused_at_once(client: Any, place: dict[str, str]) -> None:
    with pytest.raises(client.exceptions.InvalidS3ObjectException, match="Unable to get object metadata from S3"):
        begin(client, {"S3Object": place})


def test_no_video_at_all_is_an_invalid_request(client: Any) -> None:
    with pytest.raises(client.exceptions.InvalidParameterException):
        begin(client, {})


def test_what_the_kind_of_job_refuses_is_refused_at_once(client: Any) -> None:
    with pytest.raises(client.exceptions.InvalidParameterException, match="no such thing"):
        begin(client, JobTag="refused")


def test_a_video_of_more_than_ten_gigabytes_is_refused_at_once(client: Any, moving: Path) -> None:
    large = moving / "local" / "large.mp4"
    with large.open("wb") as file:
        file.truncate(10 * 1024**3 + 1)
    with pytest.raises(
        client.exceptions.VideoTooLargeException,
        match="Video size in bytes: 10737418241 is more than the maximum limit of: 10737418240 bytes",
    ):
        begin(client, {"S3Object": {"Bucket": "local", "Name": "large.mp4"}})
    large.unlink()


def test_a_video_of_more_than_six_hours_fails(client: Any, moving: Path) -> None:
    make_video(moving / "local" / "long.mkv", numbers(3), times=[0, 10, 6 * 3600 + 1])
    failed = ended(client, begin(client, {"S3Object": {"Bucket": "local", "Name": "long.mkv"}}))
    assert failed["JobStatus"] == "FAILED"
    assert "6 hours" in failed["StatusMessage"]


def test_what_is_no_video_fails_and_says_so(client: Any, moving: Path) -> None:
    (moving / "local" / "text.mp4").write_bytes(b"not a video")
    failed = ended(client, begin(client, {"S3Object": {"Bucket": "local", "Name": "text.mp4"}}))
    assert (failed["JobStatus"], failed["Labels"]) == ("FAILED", [])
    assert "VideoMetadata" not in failed
    assert failed["StatusMessage"]


def test_a_video_in_s3_is_analysed_where_it_lies(client: Any, job_id: str, moving: Path, s3: Any) -> None:
    s3.create_bucket(Bucket="archive")
    s3.upload_file(str(moving / "local" / "moving.mp4"), "archive", "moving.mp4")
    there = begin(client, {"S3Object": {"Bucket": "archive", "Name": "moving.mp4"}})
    assert ended(client, there)["JobStatus"] == "SUCCEEDED"
    assert pages(client, there) == pages(client, job_id)


def test_a_video_that_is_replaced_meanwhile_fails(client: Any, moving: Path, s3: Any) -> None:
    other = moving / "other.mp4"
    make_video(other, numbers(24), gop=24)
    s3.create_bucket(Bucket="changing")
    s3.upload_file(str(moving / "local" / "moving.mp4"), "changing", "moving.mp4")
    shutil.copy(moving / "local" / "moving.mp4", moving / "local" / "changing.mp4")
    job_ids = [
        begin(client, {"S3Object": {"Bucket": bucket, "Name": name}})
        for bucket, name in (("changing", "moving.mp4"), ("local", "changing.mp4"))
    ]
    time.sleep(0.5)
    s3.upload_file(str(other), "changing", "moving.mp4")
    shutil.copy(other, moving / "local" / "changing.mp4")
    for job_id in job_ids:
        failed = ended(client, job_id)
        assert failed["JobStatus"] == "FAILED"
        assert failed["StatusMessage"] == "The video was replaced by another one while it was analysed."


def test_operators_see_how_far_jobs_are_and_can_end_and_forget_them(client: Any, deployment: Any, job_id: str) -> None:
    running = begin(client, JobTag="lasts")
    listed = json.loads(deployment.regard("jobs", "list", "--json"))
    assert [job["JobId"] for job in listed][:1] == [running]
    (finished,) = (job for job in listed if job["JobId"] == job_id)
    assert (finished["Status"], finished["PartsDone"], finished["PartsTotal"]) == ("SUCCEEDED", 12, 12)
    assert job_id[:12] in deployment.regard("jobs", "list")
    deployment.regard("jobs", "cancel", running)
    assert json.loads(deployment.regard("jobs", "show", running[:20]))["Status"] == "FAILED"
    page = client.get_label_detection(JobId=running)
    assert (page["JobStatus"], page["StatusMessage"]) == ("FAILED", "The job was cancelled by the operator.")
    deployment.regard("jobs", "delete", running)
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.get_label_detection(JobId=running)
