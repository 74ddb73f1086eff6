import json
from dataclasses import replace

import pytest
from botocore.awsrequest import HeadersDict
from botocore.exceptions import ClientError
from botocore.parsers import create_parser

from regard.wire.errors import (
    HumanLoopQuotaExceededException,
    ResourceNotFoundException,
    UnknownOperationException,
)
from regard.wire.protocol import Request, failure, operation_name, success
from regard.wire.service import operation, operation_names, output_shape


def request(
    target="RekognitionService.DetectFaces",
    content_type="application/x-amz-json-1.1",
    method="POST",
    path="/",
):
    headers = [("x-amz-target", target), ("content-type", content_type)]
    return Request(method, path, "", [(name, value) for name, value in headers if value is not None], b"{}")


@pytest.mark.parametrize("name", operation_names())
def test_the_target_names_the_operation(name):
    assert operation_name(request(f"RekognitionService.{name}")) == name


@pytest.mark.parametrize(
    "wrong",
    [
        {"target": None},
        {"target": ""},
        {"target": "DetectFaces"},
        {"target": "RekognitionService.DetectGhosts"},
        {"target": "RekognitionService.detectFaces"},
        {"target": "RekognitionService."},
        {"target": "DynamoDB_20120810.DetectFaces"},
        {"target": "RekognitionService.DetectFaces.DetectFaces"},
        {"content_type": None},
        {"content_type": "application/x-amz-json-1.0"},
        {"content_type": "application/json"},
        {"method": "GET"},
        {"path": "/DetectFaces"},
    ],
    ids=str,
)
def test_what_is_no_operation_is_unknown(wrong):
    with pytest.raises(UnknownOperationException):
        operation_name(request(**wrong))


def test_a_content_type_may_name_its_charset():
    assert operation_name(request(content_type="Application/X-Amz-Json-1.1; charset=UTF-8")) == "DetectFaces"


def test_two_targets_are_not_one_of_them():
    """Otherwise the one that is signed and the one that is run could differ."""
    one = request()
    both = replace(one, headers=[*one.headers, ("x-amz-target", "RekognitionService.DeleteFaces")])
    assert both.header("x-amz-target") == "RekognitionService.DetectFaces,RekognitionService.DeleteFaces"
    with pytest.raises(UnknownOperationException):
        operation_name(both)


def test_a_success_is_what_boto3_reads():
    response = success(operation("CreateCollection"), {"StatusCode": 200}, "id-1")
    headers = dict(response.headers)
    assert headers["content-type"] == "application/x-amz-json-1.1"
    read = create_parser("json").parse(
        {"status_code": response.status, "headers": HeadersDict(headers), "body": response.body},
        output_shape(operation("CreateCollection")),
    )
    assert read["StatusCode"] == 200
    assert read["ResponseMetadata"]["RequestId"] == "id-1"


@pytest.mark.parametrize(
    "error",
    [
        ResourceNotFoundException("The collection id: ü does not exist"),
        HumanLoopQuotaExceededException(members={"QuotaCode": "q"}),
    ],
    ids=["plain", "with members"],
)
def test_a_failure_is_what_boto3_reads(error):
    response = failure(error, "id-2")
    headers = dict(response.headers)
    read = create_parser("json").parse(
        {"status_code": response.status, "headers": HeadersDict(headers), "body": response.body},
        output_shape(operation("DetectModerationLabels")),
    )
    caught = ClientError(read, "DetectModerationLabels").response
    assert caught["Error"]["Code"] == error.code == headers["x-amzn-errortype"]
    assert caught["Error"]["Message"] == error.message
    assert caught["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert headers["x-amzn-RequestId"] == "id-2"


def test_a_failure_has_awss_members():
    body = json.loads(failure(ResourceNotFoundException("gone"), "id-3").body)
    assert body == {
        "__type": "ResourceNotFoundException",
        "Code": "ResourceNotFoundException",
        "Logref": "id-3",
        "Message": "gone",
        "message": "gone",
    }
    quota = failure(HumanLoopQuotaExceededException(members={"QuotaCode": "q"}), "id-4")
    assert json.loads(quota.body)["QuotaCode"] == "q"
