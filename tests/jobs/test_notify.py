"""Who is told that a job has ended: real SNS and SQS server processes, a real HTTP server with a library that checks
signatures."""

import base64
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from moto.server import ThreadedMotoServer
from pydantic import ValidationError
from standardwebhooks.webhooks import Webhook
from urllib3.exceptions import HTTPError

from regard.jobs.notify import NotDelivered, Notifier
from regard.settings import Settings

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
NOTIFICATION = {
    "JobId": "ab" * 32,
    "Status": "SUCCEEDED",
    "API": "StartLabelDetection",
    "Timestamp": 1_764_000_000_123,
    "StatusMessage": None,
    "AccountId": "123456789012",
    "Request": {
        "Video": {"S3Object": {"Bucket": "archive", "Name": "tapes/1.mp4"}},
        "JobTag": "tape-1",
        "NotificationChannel": {"SNSTopicArn": "", "RoleArn": "arn:aws:iam::123456789012:role/rekognition"},
    },
}
MESSAGE = {
    "JobId": "ab" * 32,
    "Status": "SUCCEEDED",
    "API": "StartLabelDetection",
    "JobTag": "tape-1",
    "Timestamp": 1_764_000_000_123,
    "Video": {"S3ObjectName": "tapes/1.mp4", "S3Bucket": "archive"},
}


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a server process of SNS and SQS, which boto3 is configured for."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    for name, value in {
        "AWS_ENDPOINT_URL_SNS": endpoint,
        "AWS_ENDPOINT_URL_SQS": endpoint,
        "AWS_ACCESS_KEY_ID": "sns",
        "AWS_SECRET_ACCESS_KEY": "sns",
        "AWS_DEFAULT_REGION": "eu-central-1",
    }.items():
        monkeypatch.setenv(name, value)
    yield endpoint
    server.stop()


@pytest.fixture
def clients(aws: str) -> Iterator[tuple[Any, Any]]:
    """SNS and SQS, in a region that is not the server's own."""
    sns, sqs = boto3.client("sns", region_name="eu-west-1"), boto3.client("sqs", region_name="eu-west-1")
    yield sns, sqs
    sns.close()
    sqs.close()


def with_topic(topic: str) -> dict[str, Any]:
    channel = NOTIFICATION["Request"]["NotificationChannel"] | {"SNSTopicArn": topic}  # type: ignore[index]
    return NOTIFICATION | {"Request": NOTIFICATION["Request"] | {"NotificationChannel": channel}}  # type: ignore[operator]


Received = list[tuple[dict[str, str], bytes]]


@pytest.fixture
def receiver() -> Iterator[Callable[[int], tuple[str, Received]]]:
    """`receiver(status)` is a web server that answers with that status: its address, and what it was sent."""
    servers = []

    def new(status: int) -> tuple[str, Received]:
        received: Received = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                received.append(({name.lower(): value for name, value in self.headers.items()}, body))
                self.send_response(status)
                self.send_header("Location", "http://127.0.0.1:1/elsewhere")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        servers.append((server, thread))
        return f"http://127.0.0.1:{server.server_port}/hook", received

    yield new
    for server, thread in servers:
        server.shutdown()
        thread.join()
        server.server_close()


def settings(**changes: Any) -> Settings:
    return Settings(**changes)


def told(notifier: Notifier, notification: Mapping[str, Any]) -> list[str]:
    """Delivers it; to whom."""
    receivers = notifier(notification)
    for deliver in receivers.values():
        deliver()
    return list(receivers)


def test_message_of_aws_reaches_the_topic(clients: tuple[Any, Any]) -> None:
    sns, sqs = clients
    topic = sns.create_topic(Name="AmazonRekognitionDone")["TopicArn"]
    queue = sqs.create_queue(QueueName="done")["QueueUrl"]
    queue_arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue_arn)
    assert told(Notifier(settings(sns=True)), with_topic(topic)) == ["SNS"]
    (received,) = sqs.receive_message(QueueUrl=queue)["Messages"]
    assert json.loads(json.loads(received["Body"])["Message"]) == MESSAGE


def test_what_the_job_has_not_got_is_left_out(receiver: Callable[[int], tuple[str, Received]]) -> None:
    url, received = receiver(204)
    bulk = NOTIFICATION | {"API": "StartMediaAnalysisJob", "Status": "FAILED", "Request": {}}
    told(Notifier(settings(webhook_url=url, webhook_secret=SECRET)), bulk)
    assert json.loads(received[0][1]) == {
        "JobId": "ab" * 32,
        "Status": "FAILED",
        "API": "StartMediaAnalysisJob",
        "Timestamp": 1_764_000_000_123,
    }


def test_nothing_goes_out_unless_the_operator_allows_it(aws: str) -> None:
    assert told(Notifier(settings()), with_topic("arn:aws:sns:us-east-1:123456789012:nobody")) == []


def test_missing_topic_is_an_error_so_that_it_is_tried_again(aws: str) -> None:
    with pytest.raises(ClientError):
        told(Notifier(settings(sns=True)), with_topic("arn:aws:sns:us-east-1:123456789012:nobody"))


def test_unreachable_sns_is_an_error(monkeypatch: pytest.MonkeyPatch, aws: str) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_SNS", "http://127.0.0.1:9")
    with pytest.raises(EndpointConnectionError):
        told(Notifier(settings(sns=True)), with_topic("arn:aws:sns:us-east-1:123456789012:topic"))


def test_webhook_is_signed_as_receivers_check_it(receiver: Callable[[int], tuple[str, Received]]) -> None:
    url, received = receiver(200)
    notifier = Notifier(settings(webhook_url=url, webhook_secret=SECRET))
    assert told(notifier, NOTIFICATION) == told(notifier, NOTIFICATION) == ["webhook"]
    (headers, body), (again, _) = received
    assert Webhook(SECRET).verify(body, headers) == MESSAGE
    assert headers["webhook-id"] == again["webhook-id"]  # by which a receiver knows what it has had
    with pytest.raises(Exception, match="signature"):
        Webhook(SECRET).verify(body.replace(b"SUCCEEDED", b"FAILED"), headers)


@pytest.mark.parametrize("status", [301, 404, 500])
def test_webhook_that_does_not_accept_is_an_error(receiver: Callable[[int], tuple[str, Received]], status: int) -> None:
    url, received = receiver(status)
    with pytest.raises(NotDelivered, match=str(status)):
        told(Notifier(settings(webhook_url=url, webhook_secret=SECRET)), NOTIFICATION)
    assert len(received) == 1


def test_unreachable_webhook_is_an_error() -> None:
    with pytest.raises(HTTPError):
        told(Notifier(settings(webhook_url="http://127.0.0.1:9/", webhook_secret=SECRET)), NOTIFICATION)


@pytest.mark.parametrize("secret", [None, "too-short", "whsec_" + base64.b64encode(b"short").decode()])
def test_no_webhook_without_a_good_secret(secret: str | None) -> None:
    with pytest.raises(ValidationError, match="REGARD_WEBHOOK_SECRET"):
        settings(webhook_url="http://127.0.0.1:9/", webhook_secret=secret)
