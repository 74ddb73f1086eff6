"""Telling others that a job has ended: Amazon SNS's message to any SNS endpoint, and signed webhooks.

The message on SNS is AWS's, and goes through boto3 with its own configuration to the topic that the request named.
A webhook is the operator's: one address that hears of every job, in the manner of the Standard Webhooks
specification (https://www.standardwebhooks.com), so that receivers can check it with a library of theirs. Both are
delivered at least once; `webhook-id` is the same each time.
"""

import base64
import hashlib
import hmac
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import boto3
import orjson
import urllib3
from botocore.config import Config

from regard.settings import Settings

_CONFIG = Config(connect_timeout=5, read_timeout=10, retries={"total_max_attempts": 1})  # the queue tries again
_TIMEOUT = urllib3.Timeout(connect=5, read=10)
_ARN_REGION = 3  # arn:aws:sns:REGION:ACCOUNT:TOPIC
_SUCCESS = 2  # the first digit of a status of success in HTTP


class NotDelivered(Exception):
    """A receiver did not accept the notification."""


class Notifier:
    """Who is to hear of a notification, as the settings say. Safe to use from many threads."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._http = urllib3.PoolManager(timeout=_TIMEOUT, retries=False)

    def __call__(self, notification: Mapping[str, Any]) -> dict[str, Callable[[], None]]:
        """The receivers of what `runner.Runner.notify` describes, by name; nobody where nobody wants it.

        What delivers it raises where a receiver cannot be reached or does not accept it.
        """
        receivers: dict[str, Callable[[], None]] = {}
        channel = notification["Request"].get("NotificationChannel")
        if channel is not None and self._settings.sns:
            receivers["SNS"] = partial(self._publish, channel["SNSTopicArn"], message(notification))
        if self._settings.webhook_url is not None:
            receivers["webhook"] = partial(self._post, notification)
        return receivers

    def _publish(self, topic: str, body: dict[str, Any]) -> None:
        region = topic.split(":")[_ARN_REGION] or self._settings.region
        client = boto3.session.Session().client("sns", region_name=region, config=_CONFIG)
        try:
            client.publish(TopicArn=topic, Message=orjson.dumps(body).decode())
        finally:
            client.close()

    def _post(self, notification: Mapping[str, Any]) -> None:
        body = orjson.dumps(message(notification))
        headers = {"Content-Type": "application/json"} | signature(
            self._settings.webhook_key, notification["JobId"], int(time.time()), body
        )
        response = self._http.request(
            "POST", str(self._settings.webhook_url), body=body, headers=headers, redirect=False
        )
        if response.status // 100 != _SUCCESS:
            raise NotDelivered(f"the webhook answered {response.status}")


def message(notification: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON that receivers get: AWS's completion message, without the members that the job has not got."""
    request = notification["Request"]
    body = {name: notification[name] for name in ("JobId", "Status", "API")}
    if "JobTag" in request:
        body["JobTag"] = request["JobTag"]
    body["Timestamp"] = notification["Timestamp"]
    place = request.get("Video", {}).get("S3Object")
    if place is not None:
        body["Video"] = {"S3ObjectName": place["Name"], "S3Bucket": place["Bucket"]}
    return body


def signature(secret: bytes, identifier: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The headers of Standard Webhooks: HMAC-SHA256 over id, seconds since the epoch and body."""
    signed = b".".join((identifier.encode(), str(timestamp).encode(), body))
    digest = base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest()).decode()
    return {"webhook-id": identifier, "webhook-timestamp": str(timestamp), "webhook-signature": f"v1,{digest}"}
