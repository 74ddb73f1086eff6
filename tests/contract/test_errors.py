"""Errors as AWS words them, through the client that users have."""

import json
import re
import uuid
from collections.abc import Callable
from typing import Any

import botocore.session
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from regard.operations import OPERATIONS

MODEL = botocore.session.get_session().get_service_model("rekognition")
UNBUILT = sorted(set(MODEL.operation_names) - set(OPERATIONS))

# A text for each pattern of the members that requests must have.
TEXTS = (
    "1",
    "x" * 20,
    str(uuid.UUID(int=0)),
    "arn:aws:rekognition:us-east-1:123456789012:project/p/1",
    "arn:aws:rekognition:us-east-1:123456789012:project/p/version/v/1",
    "arn:aws:rekognition:us-east-1:123456789012:project/p/dataset/train/1",
    "arn:aws:iam::123456789012:role/r",
)


def test_every_error_has_the_body_that_amazon_documents(server: Any, rekognition: Any) -> None:
    answer = server.post(b'{"CollectionId": "nowhere"}', "DescribeCollection")
    text = "The collection id: nowhere does not exist"
    assert answer.status == 400
    assert answer.headers["x-amzn-errortype"] == "ResourceNotFoundException"
    assert answer.headers["content-type"] == "application/x-amz-json-1.1"
    assert answer.body == {
        "__type": "ResourceNotFoundException",
        "Code": "ResourceNotFoundException",
        "Logref": answer.headers["x-amzn-requestid"],
        "Message": text,
        "message": text,
    }
    with pytest.raises(rekognition.exceptions.ResourceNotFoundException) as raised:
        rekognition.describe_collection(CollectionId="nowhere")
    assert uuid.UUID(raised.value.response["ResponseMetadata"]["RequestId"])


FAILED = "1 validation error detected: Value {} failed to satisfy constraint: Member must "


@pytest.mark.parametrize(
    ("operation", "parameters", "text"),
    [
        ("create_collection", {}, FAILED.format("null at 'collectionId'") + "not be null"),
        (
            "create_collection",
            {"CollectionId": "a/b"},
            FAILED.format("'a/b' at 'collectionId'") + r"satisfy regular expression pattern: [a-zA-Z0-9_.\-]+",
        ),
        (
            "create_collection",
            {"CollectionId": "x" * 256},
            FAILED.format(f"'{'x' * 256}' at 'collectionId'") + "have length less than or equal to 255",
        ),
        (
            "list_collections",
            {"MaxResults": 4097},
            FAILED.format("'4097' at 'maxResults'") + "have value less than or equal to 4096",
        ),
        (
            "search_faces",
            {"CollectionId": "c", "FaceId": str(uuid.UUID(int=0)), "FaceMatchThreshold": 100.5},
            FAILED.format("'100.5' at 'faceMatchThreshold'") + "have value less than or equal to 100",
        ),
        (
            "index_faces",
            {"CollectionId": "c", "Image": {"Bytes": b"x"}, "ExternalImageId": "with space"},
            FAILED.format("'with space' at 'externalImageId'")
            + r"satisfy regular expression pattern: [a-zA-Z0-9_.\-:]+",
        ),
        (
            "index_faces",
            {"CollectionId": "c", "Image": {"Bytes": b"x"}, "QualityFilter": "BEST"},
            FAILED.format("'BEST' at 'qualityFilter'") + "satisfy enum value set: [NONE, AUTO, LOW, MEDIUM, HIGH]",
        ),
    ],
    ids=["missing", "pattern", "length", "integer", "float", "external id", "enum"],
)
def test_what_breaks_a_constraint_is_told_in_amazons_words(
    unchecked: Any, operation: str, parameters: dict[str, Any], text: str
) -> None:
    with pytest.raises(unchecked.exceptions.InvalidParameterException) as raised:
        getattr(unchecked, operation)(**parameters)
    assert raised.value.response["Error"]["Message"] == text


def test_all_that_is_wrong_is_told_at_once(unchecked: Any) -> None:
    with pytest.raises(unchecked.exceptions.InvalidParameterException, match="2 validation errors detected: "):
        unchecked.search_faces(CollectionId="c", FaceId="not-an-id", MaxFaces=0)


def test_a_misspelt_member_is_refused_rather_than_ignored(server: Any, collection: str) -> None:
    answer = server.post(json.dumps({"CollectionId": collection, "MaxResult": 1}).encode(), "ListFaces")
    assert (answer.status, answer.body["__type"]) == (400, "InvalidParameterException")
    assert "MaxResult" in answer.body["Message"]


@pytest.mark.parametrize("operation", ["DetectCats", "", "detectFaces"])
def test_an_unknown_operation_is_named_as_such(server: Any, operation: str) -> None:
    answer = server.post(operation=operation)
    assert (answer.status, answer.body["__type"]) == (400, "UnknownOperationException")


@pytest.mark.parametrize("body", [b"{", b"[]", b"\xff\xfe", b'{"MaxResults": "five"}', b"{} {}"])
def test_a_body_that_is_no_request_is_refused(server: Any, body: bytes) -> None:
    answer = server.post(body)
    assert (answer.status, answer.body["__type"]) == (400, "SerializationException")


def test_bytes_that_are_not_base64_are_refused(server: Any) -> None:
    answer = server.post(b'{"Image": {"Bytes": "@@@@"}}', "DetectFaces")
    assert (answer.status, answer.body["__type"]) == (400, "SerializationException")


@pytest.mark.parametrize("megabytes", [6, 20, 60])
def test_an_image_that_is_far_too_large_gets_an_answer_too(rekognition: Any, megabytes: int) -> None:
    """A server that hangs up in the middle of the upload would show as a broken connection."""
    with pytest.raises(rekognition.exceptions.InvalidParameterException):
        rekognition.detect_faces(Image={"Bytes": bytes(megabytes * 1024 * 1024)})


def least(shape: Any) -> Any:
    """The smallest value that a shape allows."""
    low = shape.metadata.get("min", 0)
    match shape.type_name:
        case "structure":
            return {name: least(shape.members[name]) for name in shape.required_members}
        case "list":
            return [least(shape.member)] * low
        case "map":
            return {}
        case "string":
            allowed = re.compile(shape.metadata.get("pattern", ".*"))
            candidates = getattr(shape, "enum", None) or TEXTS
            return next(text for text in candidates if len(text) >= low and allowed.fullmatch(text))
        case "blob":
            return b"x" * max(low, 1)
        case "boolean":
            return False
        case _:
            return low


@pytest.mark.parametrize("name", UNBUILT)
def test_an_operation_that_is_not_built_says_so(unchecked: Any, name: str) -> None:
    (method,) = (method for method, name_ in unchecked.meta.method_to_api_mapping.items() if name_ == name)
    with pytest.raises(unchecked.exceptions.AccessDeniedException) as raised:
        getattr(unchecked, method)(**least(MODEL.operation_model(name).input_shape))
    assert raised.value.response["Error"]["Message"] == f"{name} is not implemented by this deployment."
    assert raised.value.response["ResponseMetadata"]["RetryAttempts"] == 0


def test_an_operation_that_is_not_built_is_not_tried_again(connect: Callable[..., Any]) -> None:
    client = connect(config=Config(retries={"mode": "standard", "total_max_attempts": 3}))
    with pytest.raises(ClientError) as raised:
        client.describe_projects()
    assert raised.value.response["ResponseMetadata"]["RetryAttempts"] == 0
