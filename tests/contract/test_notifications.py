"""A job's end is told to real SNS and SQS servers, and told again until it is heard."""

import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

VIDEO = {"S3Object": {"Bucket": "local", "Name": "moving.mp4"}}
ROLE = "arn:aws:iam::123456789012:role/rekognition"


@pytest.fixture
def aws() -> Iterator[Callable[..., str]]:
    """`aws(port)` starts SNS and SQS, all of which share what is in them, and gives their endpoint."""
    running: list[ThreadedMotoServer] = []

    def new(port: int = 0) -> str:
        running.append(ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False))
        running[-1].start()
        return "http://{}:{}".format(*running[-1].get_host_and_port())

    yield new
    for server in running:
        server.stop()


def test_queue_hears_of_the_end_of_a_job(
    aws: Callable[..., str], luminance: Callable[..., Any], start: Callable[..., Any]
) -> None:
    endpoint = aws()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        late = probe.getsockname()[1]
    keys = {"aws_access_key_id": "sns", "aws_secret_access_key": "sns", "region_name": "us-east-1"}
    deployment = luminance(
        REGARD_SNS="true",
        AWS_ENDPOINT_URL_SNS=f"http://127.0.0.1:{late}",
        AWS_ACCESS_KEY_ID="sns",
        AWS_SECRET_ACCESS_KEY="sns",
    )
    server = start(deployment)
    with (
        closing(boto3.client("sns", endpoint_url=endpoint, **keys)) as sns,
        closing(boto3.client("sqs", endpoint_url=endpoint, **keys)) as sqs,
        closing(server.client()) as rekognition,
    ):
        queue = sqs.create_queue(QueueName="ended")["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        topic = sns.create_topic(Name="AmazonRekognitionEnded")["TopicArn"]
        sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
        job_id = rekognition.start_label_detection(
            Video=VIDEO, JobTag="tape", NotificationChannel={"SNSTopicArn": topic, "RoleArn": ROLE}
        )["JobId"]
        while rekognition.get_label_detection(JobId=job_id)["JobStatus"] == "IN_PROGRESS":
            time.sleep(0.2)
        aws(late)  # SNS answers there only now: what was not delivered is sent again
        messages: list[Any] = []
        deadline = time.monotonic() + 90
        while not messages and time.monotonic() < deadline:
            messages = sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=1).get("Messages", [])
        message = json.loads(json.loads(messages[0]["Body"])["Message"])
        deadline = time.monotonic() + 10
        while "delivered to SNS" not in deployment.regard("jobs", "show", job_id):
            assert time.monotonic() < deadline, deployment.regard("jobs", "show", job_id)
            time.sleep(0.2)
    assert abs(message.pop("Timestamp") / 1000 - time.time()) < 300
    assert message == {
        "JobId": job_id,
        "Status": "SUCCEEDED",
        "API": "StartLabelDetection",
        "JobTag": "tape",
        "Video": {"S3ObjectName": "moving.mp4", "S3Bucket": "local"},
    }


def test_channel_is_refused_where_sns_is_off(luminance: Callable[..., Any], start: Callable[..., Any]) -> None:
    channel = {"SNSTopicArn": "arn:aws:sns:us-east-1:123456789012:Ended", "RoleArn": ROLE}
    with (
        closing(start(luminance()).client()) as client,
        pytest.raises(client.exceptions.InvalidParameterException, match="REGARD_SNS"),
    ):
        client.start_label_detection(Video=VIDEO, NotificationChannel=channel)
