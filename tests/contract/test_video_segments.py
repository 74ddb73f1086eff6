"""Shots and technical cues of stored video through boto3."""

import time
from collections.abc import Iterator
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.videos import make_video

from regard.media import images

RATE = Fraction(30000, 1001)
SHOT_FRAMES = 30


@pytest.fixture(scope="module")
def video(buckets: Path, photos: dict[str, Path]) -> Iterator[dict[str, Any]]:
    """A second of black, a cat for one and a cup of coffee for one, with a tone, as `Video`."""
    cat, coffee = (images.decode(photos[name].read_bytes())[:240, :320] for name in ("cat", "coffee"))
    frames = chain.from_iterable([one] * SHOT_FRAMES for one in (np.zeros_like(cat), cat, coffee))
    path = make_video(buckets / "local" / "segments.mp4", frames, rate=RATE, audio="aac", colour=(1, 1))
    yield {"S3Object": {"Bucket": "local", "Name": path.name}}
    path.unlink()


def finished(rekognition: Any, job_id: str, **page: Any) -> dict[str, Any]:
    deadline = time.monotonic() + 240
    while True:
        answer: dict[str, Any] = rekognition.get_segment_detection(JobId=job_id, **page)
        if answer["JobStatus"] != "IN_PROGRESS":
            assert answer["JobStatus"] == "SUCCEEDED", answer
            return answer
        assert time.monotonic() < deadline, "the job did not end in time"
        time.sleep(0.2)


def test_segments_are_found_and_told_as_aws_tells_them(rekognition: Any, video: dict[str, Any]) -> None:
    job = rekognition.start_segment_detection(Video=video, SegmentTypes=["TECHNICAL_CUE", "SHOT"], JobTag="cut")
    answer = finished(rekognition, job["JobId"])
    assert answer["JobTag"] == "cut"
    assert [selected["Type"] for selected in answer["SelectedSegmentTypes"]] == ["TECHNICAL_CUE", "SHOT"]
    assert all(selected["ModelVersion"] for selected in answer["SelectedSegmentTypes"])
    (pictures,), (sound,) = answer["VideoMetadata"], answer["AudioMetadata"]
    assert (pictures["FrameWidth"], pictures["FrameHeight"], pictures["ColorRange"]) == (320, 240, "LIMITED")
    assert (sound["Codec"], sound["NumberOfChannels"]) == ("aac", 2)
    cues = [one for one in answer["Segments"] if one["Type"] == "TECHNICAL_CUE"]
    shots = [one for one in answer["Segments"] if one["Type"] == "SHOT"]
    assert answer["Segments"] == cues + shots
    assert [one["TechnicalCueSegment"]["Type"] for one in cues] == ["BlackFrames", "Content"]
    assert (cues[0]["StartFrameNumber"], cues[0]["EndFrameNumber"]) == (0, SHOT_FRAMES - 1)
    assert shots[-1]["StartFrameNumber"] == 2 * SHOT_FRAMES
    assert shots[-1]["StartTimecodeSMPTE"] == "00:00:02;00"
    assert shots[-1]["StartTimestampMillis"] == 2002
    assert [one["ShotSegment"]["Index"] for one in shots] == list(range(len(shots)))
    assert all(50 <= one["ShotSegment"]["Confidence"] <= 100 for one in shots)


def test_segments_come_in_pages(rekognition: Any, video: dict[str, Any]) -> None:
    job_id = rekognition.start_segment_detection(Video=video, SegmentTypes=["SHOT", "TECHNICAL_CUE"])["JobId"]
    whole = finished(rekognition, job_id)["Segments"]
    pages, token = [], ""
    while token is not None:
        answer = rekognition.get_segment_detection(JobId=job_id, MaxResults=1, NextToken=token)
        pages += answer["Segments"]
        token = answer.get("NextToken")
    assert pages == whole
    assert [one["Type"] for one in pages] == sorted(one["Type"] for one in pages)
