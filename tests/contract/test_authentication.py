"""Who may call: a request that is not signed rightly gets AWS's error for it, once, and has no effect."""

import json
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError

Connect = Callable[..., Any]
RETRYING = Config(retries={"mode": "standard", "total_max_attempts": 3})


def refusal(client: Any, **parameters: Any) -> tuple[str, str]:
    """The code and text of the error that ListCollections gets; 400 and not tried again, or the test fails."""
    with pytest.raises(ClientError) as raised:
        client.list_collections(**parameters)
    metadata = raised.value.response["ResponseMetadata"]
    assert (metadata["HTTPStatusCode"], metadata["RetryAttempts"]) == (400, 0)
    error = raised.value.response["Error"]
    return error["Code"], error["Message"]


def test_a_wrong_secret_is_refused(connect: Connect) -> None:
    code, text = refusal(connect(aws_secret_access_key="wrong", config=RETRYING))
    assert code == "InvalidSignatureException"
    assert text.startswith("The request signature we calculated does not match the signature you provided.")


def test_an_unknown_key_is_refused(connect: Connect) -> None:
    assert refusal(connect(aws_access_key_id="AKIAIOSFODNN7EXAMPLE", config=RETRYING)) == (
        "UnrecognizedClientException",
        "The security token included in the request is invalid.",
    )


def test_a_new_key_works_at_once_and_a_revoked_one_no_more(server: Any, connect: Connect) -> None:
    key = json.loads(server.deployment.regard("keys", "create", "--description", "a test", "--json"))
    client = connect(
        aws_access_key_id=key["AccessKeyId"], aws_secret_access_key=key["SecretAccessKey"], config=RETRYING
    )
    client.list_collections()
    server.deployment.regard("keys", "revoke", key["AccessKeyId"])
    assert refusal(client)[0] == "UnrecognizedClientException"


def test_keys_of_one_deployment_share_its_collections(server: Any, connect: Connect, collection: str) -> None:
    key = json.loads(server.deployment.regard("keys", "create", "--json"))
    other = connect(aws_access_key_id=key["AccessKeyId"], aws_secret_access_key=key["SecretAccessKey"])
    assert other.describe_collection(CollectionId=collection)["FaceCount"] == 0


def test_another_region_is_refused(connect: Connect) -> None:
    code, text = refusal(connect(region_name="eu-west-1", config=RETRYING))
    assert code == "InvalidSignatureException"
    assert "Credential should be scoped to a valid region, not 'eu-west-1'." in text


def test_a_signature_for_another_service_is_refused(server: Any) -> None:
    answer = server.post(service="s3")
    assert (answer.status, answer.body["__type"]) == (400, "InvalidSignatureException")
    assert "Credential should be scoped to correct service: 'rekognition'." in answer.body["Message"]


@pytest.mark.parametrize(
    ("minutes", "text"), [(-6, "Signature expired: "), (6, "Signature not yet current: ")], ids=["slow", "fast"]
)
def test_a_clock_that_is_wrong_is_named(
    connect: Connect, monkeypatch: pytest.MonkeyPatch, minutes: int, text: str
) -> None:
    there = datetime.now(UTC) + timedelta(minutes=minutes)
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda *_, **__: there)
    code, found = refusal(connect(config=RETRYING))
    assert code == "InvalidSignatureException"
    assert found.startswith(text)


def test_a_clock_that_is_a_little_wrong_is_accepted(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    there = datetime.now(UTC) - timedelta(minutes=4)
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda *_, **__: there)
    connect().list_collections()


def test_a_session_token_is_refused(connect: Connect) -> None:
    code, text = refusal(connect(aws_session_token="token", config=RETRYING))
    assert code == "UnrecognizedClientException"
    assert "no session tokens" in text


def test_an_unsigned_request_is_refused(connect: Connect) -> None:
    assert refusal(connect(config=Config(signature_version=UNSIGNED))) == (
        "MissingAuthenticationTokenException",
        "Request is missing Authentication Token",
    )


def test_a_request_that_was_changed_on_its_way_is_refused_and_has_no_effect(connect: Connect, rekognition: Any) -> None:
    names = f"mine-{uuid.uuid4()}", f"evil-{uuid.uuid4()}"

    def tamper(request: Any, **_: Any) -> None:
        request.body = request.body.replace(names[0].encode(), names[1].encode())

    client = connect()
    client.meta.events.register("before-send.rekognition", tamper)
    with pytest.raises(ClientError, match="InvalidSignatureException"):
        client.create_collection(CollectionId=names[0])
    assert not set(names) & set(rekognition.list_collections()["CollectionIds"])


def test_an_operation_that_was_changed_on_its_way_is_refused(server: Any) -> None:
    answer = server.post(headers={"X-Amz-Target": "RekognitionService.DescribeProjects"})
    assert (answer.status, answer.body["__type"]) == (400, "InvalidSignatureException")


@pytest.mark.parametrize(
    ("authorization", "code", "text"),
    [
        ("Basic dXNlcjpwYXNz", "MissingAuthenticationTokenException", "Request is missing Authentication Token"),
        ("AWS4-HMAC-SHA256 nonsense", "IncompleteSignatureException", "Authorization header requires 'Credential'"),
        ("AWS4-ECDSA-P256-SHA256 Credential=x", "IncompleteSignatureException", "Unsupported AWS 'algorithm'"),
    ],
    ids=["basic", "incomplete", "another algorithm"],
)
def test_another_kind_of_authorization_is_refused(server: Any, authorization: str, code: str, text: str) -> None:
    answer = server.post(headers={"Authorization": authorization})
    assert (answer.status, answer.body["__type"]) == (400, code)
    assert text in answer.body["Message"]


def test_a_presigned_address_is_refused(server: Any, rekognition: Any) -> None:
    address = rekognition.generate_presigned_url("list_collections")
    answer = server.send(
        b"{}",
        {"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": "RekognitionService.ListCollections"},
        path="/?" + address.partition("?")[2],
    )
    assert (answer.status, answer.body["__type"]) == (400, "IncompleteSignatureException")
    assert "Presigned requests are not accepted" in answer.body["Message"]


@pytest.mark.parametrize("path", ["/-/", "/collections", "/docs", "/openapi.json"])
def test_nothing_else_is_served_to_strangers(server: Any, path: str) -> None:
    with pytest.raises(urllib.error.HTTPError) as raised:
        urllib.request.urlopen(server.endpoint + path, timeout=10)
    with raised.value:
        assert raised.value.code == 404
