"""Bulk analysis through boto3: a manifest in S3 goes in, results and a summary come out."""

import json
import time
import uuid
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

MODERATION = {"DetectModerationLabels": {"MinConfidence": 1}}


@pytest.fixture
def bucket(s3: Any, face: bytes) -> str:
    """A bucket of a real S3 server with a picture, `face.jpg`, and a file that is none, `notes.jpg`."""
    name = f"bulk-{uuid.uuid4()}"
    s3.create_bucket(Bucket=name)
    s3.put_object(Bucket=name, Key="in/face.jpg", Body=face)
    s3.put_object(Bucket=name, Key="in/notes.jpg", Body=b"no picture")
    return name


def put_manifest(s3: Any, bucket: str, *lines: str | dict[str, Any]) -> dict[str, Any]:
    text = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
    s3.put_object(Bucket=bucket, Key="manifest.jsonl", Body=text.encode())
    return {"S3Object": {"Bucket": bucket, "Name": "manifest.jsonl"}}


def ended(client: Any, job_id: str) -> Any:
    deadline = time.monotonic() + 120
    while (job := client.get_media_analysis_job(JobId=job_id))["Status"] not in ("SUCCEEDED", "FAILED"):
        assert "Results" not in job
        assert time.monotonic() < deadline, "the job did not end in time"
        time.sleep(0.1)
    return job


def read(s3: Any, place: dict[str, Any]) -> str:
    return str(s3.get_object(Bucket=place["S3Object"]["Bucket"], Key=place["S3Object"]["Name"])["Body"].read().decode())


def test_every_picture_has_its_result_and_every_bad_line_its_error(
    rekognition: Any, s3: Any, bucket: str, face: bytes
) -> None:
    good = {"source-ref": f"s3://{bucket}/in/face.jpg", "mine": 7}
    manifest = put_manifest(
        s3,
        bucket,
        good,
        {"source-ref": f"s3://{bucket}/in/nowhere.jpg"},
        "",
        {"source-ref": f"s3://{bucket}/in/notes.jpg"},
        "{no json",
        {"source": "s3://x/y"},
        {"source-ref": "https://example.org/face.jpg"},
        good,
    )
    output = {"S3Bucket": bucket, "S3KeyPrefix": "results/"}
    with pytest.raises(ClientError) as refused:
        rekognition.start_media_analysis_job(
            OperationsConfig=MODERATION, Input=manifest, OutputConfig=output | {"S3KeyPrefix": "a\0b"}
        )
    assert refused.value.response["Error"]["Code"] == "InvalidParameterException"
    job_id = rekognition.start_media_analysis_job(
        JobName="all", OperationsConfig=MODERATION, Input=manifest, OutputConfig=output
    )["JobId"]
    job = ended(rekognition, job_id)
    assert (job["Status"], job["JobName"], job["Input"], job["OutputConfig"]) == ("SUCCEEDED", "all", manifest, output)
    assert job["CreationTimestamp"] <= job["CompletionTimestamp"]
    answer = rekognition.detect_moderation_labels(Image={"Bytes": face}, MinConfidence=1)
    assert job["Results"]["ModelVersions"] == {"Moderation": answer["ModerationModelVersion"]}
    lines = [json.loads(line) for line in read(s3, job["Results"]).splitlines()]
    expected = {name: answer[name] for name in ("ModerationLabels", "ModerationModelVersion", "ContentTypes")}
    assert lines == [good | {"detect-moderation-labels": expected}] * 2
    summary = json.loads(read(s3, job["ManifestSummary"]))
    assert summary["version"] == "1.0"
    assert summary["statistics"] == {"total-json-lines": 7, "valid-json-lines": 2, "invalid-json-lines": 5}
    assert [(error["line-number"], error["code"]) for error in summary["errors"]] == [
        (2, "InvalidS3ObjectException"),
        (4, "InvalidImageFormatException"),
        (5, "INVALID_JSON_LINE"),
        (6, "INVALID_JSON_LINE"),
        (7, "INVALID_IMAGE_REFERENCE"),
    ]
    assert summary["errors"][0]["source-ref"].endswith("nowhere.jpg")


def test_jobs_are_listed_the_newest_first(rekognition: Any, s3: Any, bucket: str) -> None:
    manifest = put_manifest(s3, bucket, {"source-ref": f"s3://{bucket}/in/notes.jpg"})
    begun = [
        rekognition.start_media_analysis_job(
            OperationsConfig=MODERATION, Input=manifest, OutputConfig={"S3Bucket": bucket}
        )["JobId"]
        for _ in range(3)
    ]
    listed, token = [], ""
    while len(listed) < 3:
        page = rekognition.list_media_analysis_jobs(MaxResults=2, NextToken=token)
        listed += [job["JobId"] for job in page["MediaAnalysisJobs"]]
        token = page.get("NextToken", "")
    assert listed[:3] == begun[::-1]
    for job_id in begun:
        ended(rekognition, job_id)


def test_token_begins_one_job(rekognition: Any, s3: Any, bucket: str) -> None:
    manifest = put_manifest(s3, bucket, {"source-ref": f"s3://{bucket}/in/notes.jpg"})
    request = {
        "OperationsConfig": MODERATION,
        "Input": manifest,
        "OutputConfig": {"S3Bucket": bucket},
        "ClientRequestToken": str(uuid.uuid4()),
    }
    first, again = (rekognition.start_media_analysis_job(**request) for _ in range(2))
    assert first["JobId"] == again["JobId"]
    with pytest.raises(ClientError, match="already in use") as error:
        rekognition.start_media_analysis_job(**request, JobName="another")
    assert error.value.response["Error"]["Code"] == "IdempotentParameterMismatchException"
    ended(rekognition, first["JobId"])


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"OperationsConfig": {}}, "InvalidParameterException"),
        ({"OperationsConfig": {"DetectModerationLabels": {"ProjectVersion": "arn"}}}, "ResourceNotFoundException"),
        ({"KmsKeyId": "key"}, "InvalidParameterException"),
        ({"Input": {"S3Object": {"Bucket": "nobody", "Name": "nothing"}}}, "InvalidS3ObjectException"),
        ({"Input": {"S3Object": {}}}, "InvalidS3ObjectException"),
    ],
)
def test_what_cannot_be_done_is_refused(
    rekognition: Any, s3: Any, bucket: str, changes: dict[str, Any], code: str
) -> None:
    manifest = put_manifest(s3, bucket, {"source-ref": f"s3://{bucket}/in/face.jpg"})
    request = {"OperationsConfig": MODERATION, "Input": manifest, "OutputConfig": {"S3Bucket": bucket}} | changes
    if "ProjectVersion" in str(changes):
        project = "arn:aws:rekognition:us-east-1:123456789012:project/p/version/v/1690556751958"
        request["OperationsConfig"] = {"DetectModerationLabels": {"ProjectVersion": project}}
    with pytest.raises(ClientError) as error:
        rekognition.start_media_analysis_job(**request)
    assert error.value.response["Error"]["Code"] == code


def test_empty_manifest_is_refused(rekognition: Any, s3: Any, bucket: str) -> None:
    request = {"OperationsConfig": MODERATION, "OutputConfig": {"S3Bucket": bucket}}
    with pytest.raises(rekognition.exceptions.InvalidManifestException):
        rekognition.start_media_analysis_job(Input=put_manifest(s3, bucket), **request)
    job_id = rekognition.start_media_analysis_job(Input=put_manifest(s3, bucket, "", ""), **request)["JobId"]
    assert ended(rekognition, job_id)["FailureDetails"]["Code"] == "INVALID_MANIFEST"


def test_too_many_pictures_fail_the_job(rekognition: Any, s3: Any, bucket: str) -> None:
    manifest = put_manifest(s3, bucket, *['{"source-ref": "s3://b/n"}'] * 10_001)
    job_id = rekognition.start_media_analysis_job(
        OperationsConfig=MODERATION, Input=manifest, OutputConfig={"S3Bucket": bucket}
    )["JobId"]
    failure = ended(rekognition, job_id)["FailureDetails"]
    assert failure["Code"] == "INVALID_MANIFEST"
    assert "10001" in failure["Message"]


def test_output_that_cannot_be_written_fails_the_job(rekognition: Any, s3: Any, bucket: str) -> None:
    manifest = put_manifest(s3, bucket, {"source-ref": f"s3://{bucket}/in/notes.jpg"})
    job_id = rekognition.start_media_analysis_job(
        OperationsConfig=MODERATION, Input=manifest, OutputConfig={"S3Bucket": "there-is-no-such-bucket"}
    )["JobId"]
    assert ended(rekognition, job_id)["FailureDetails"]["Code"] == "INVALID_OUTPUT_CONFIG"


def test_job_of_nobody_is_not_found(rekognition: Any) -> None:
    with pytest.raises(rekognition.exceptions.ResourceNotFoundException):
        rekognition.get_media_analysis_job(JobId="0" * 64)


def test_killed_server_goes_on_where_it_was(
    deploy: Callable[..., Any], start: Callable[..., Any], tmp_path: Path, face: bytes
) -> None:
    bucket = tmp_path / "bulk"
    bucket.mkdir()
    (bucket / "face.jpg").write_bytes(face)
    (bucket / "manifest.jsonl").write_text('{"source-ref": "s3://bulk/face.jpg"}\n' * 120)
    deployment = deploy(REGARD_BUCKETS=str(tmp_path))
    request = {
        "OperationsConfig": MODERATION,
        "Input": {"S3Object": {"Bucket": "bulk", "Name": "manifest.jsonl"}},
        "OutputConfig": {"S3Bucket": "bulk"},
    }
    server = start(deployment)
    with closing(server.client()) as client:
        job_id = client.start_media_analysis_job(**request)["JobId"]
    for _ in range(3):
        time.sleep(1.5)
        server.kill()
        server = start(deployment)
    with closing(server.client()) as client:
        job = ended(client, job_id)
    lines = (bucket / job["Results"]["S3Object"]["Name"]).read_text().splitlines()
    assert len(lines) == 120
    assert len(set(lines)) == 1
