import base64
import json
from datetime import UTC, datetime

import pytest
from botocore.model import Shape
from botocore.serialize import create_serializer
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.timing import least_time

from regard.wire.errors import InvalidParameterException, SerializationException
from regard.wire.parse import _timestamp, parse
from regard.wire.service import input_shape, operation, operation_names

from .strategies import values

BOTOCORE = create_serializer("json", include_validation=False)


@pytest.mark.parametrize("name", operation_names())
def test_what_botocore_sends_arrives_unchanged(name):
    model = operation(name)

    @settings(max_examples=15)
    @given(values(input_shape(model)))
    def arrives(params):
        body = BOTOCORE.serialize_to_request(params, model)["body"]
        assert parse(model, body) == params

    arrives()


def parsed(name, document):
    return parse(operation(name), json.dumps(document).encode())


def test_an_empty_body_is_an_empty_request():
    assert parse(operation("ListCollections"), b"") == {}
    assert parse(operation("ListCollections"), b"{}") == {}


@pytest.mark.parametrize("value", [b"1", b"[]", b"{}", b'"x"', b"null"])
def test_a_body_of_very_many_values_is_refused_before_they_are_made(value):
    body = b'{"CollectionId": "c", "FaceIds": [' + b",".join([value] * 20_000) + b"]}"
    with pytest.raises(SerializationException, match="values"):
        parse(operation("DeleteFaces"), body)


def test_null_is_absent_but_stays_in_a_list():
    assert parsed("DetectLabels", {"Image": None, "MaxLabels": 3}) == {"MaxLabels": 3}
    assert parsed("DetectFaces", {"Attributes": [None, "ALL"]}) == {"Attributes": [None, "ALL"]}
    assert parsed("TagResource", {"Tags": {"a": None}}) == {"Tags": {"a": None}}


def test_numbers_get_the_type_of_the_member():
    params = parsed("DetectLabels", {"MinConfidence": 70, "MaxLabels": 5.0})
    assert params == {"MinConfidence": 70.0, "MaxLabels": 5}
    assert isinstance(params["MinConfidence"], float)
    assert isinstance(params["MaxLabels"], int)


@pytest.mark.parametrize(
    ("name", "document", "text"),
    [
        ("DetectLabels", {"MaxLabels": "5"}, "STRING_VALUE can not be converted to an Integer"),
        ("DetectLabels", {"MaxLabels": True}, "TRUE_VALUE can not be converted to an Integer"),
        ("DetectLabels", {"MaxLabels": 1.5}, "DECIMAL_VALUE can not be converted to an Integer"),
        ("DetectLabels", {"MaxLabels": 2**31}, "NUMBER_VALUE can not be converted to an Integer"),
        ("DetectLabels", {"MaxLabels": 1e40}, "DECIMAL_VALUE can not be converted to an Integer"),
        ("DetectLabels", {"MinConfidence": "80"}, "STRING_VALUE can not be converted to a Float"),
        ("DetectLabels", {"MinConfidence": False}, "FALSE_VALUE can not be converted to a Float"),
        ("DescribeCollection", {"CollectionId": 7}, "NUMBER_VALUE can not be converted to a String"),
        ("DescribeCollection", {"CollectionId": 7.5}, "DECIMAL_VALUE can not be converted to a String"),
        ("DescribeCollection", {"CollectionId": {}}, "Start of structure or map found where not expected."),
        ("DescribeCollection", {"CollectionId": []}, "Start of list found where not expected."),
        ("ListDatasetEntries", {"Labeled": 1}, "NUMBER_VALUE can not be converted to a Boolean"),
        ("ListDatasetEntries", {"Labeled": "true"}, "STRING_VALUE can not be converted to a Boolean"),
        ("DetectFaces", {"Image": []}, "Start of list found where not expected."),
        ("DetectFaces", {"Image": "cat.jpg"}, "Unexpected field type"),
        ("DetectFaces", {"Attributes": "ALL"}, "Unexpected field type"),
        ("DetectFaces", {"Attributes": {}}, "Start of structure or map found where not expected."),
        ("DetectFaces", {"Attributes": ["ALL", 3]}, "NUMBER_VALUE can not be converted to a String"),
        ("TagResource", {"Tags": []}, "Start of list found where not expected."),
        ("TagResource", {"Tags": {"a": 1}}, "NUMBER_VALUE can not be converted to a String"),
        ("DetectFaces", {"Image": {"Bytes": 5}}, "only base-64-encoded strings are convertible to bytes"),
    ],
)
def test_a_wrong_type_is_refused_in_awss_words(name, document, text):
    with pytest.raises(SerializationException) as refusal:
        parsed(name, document)
    assert refusal.value.message == text


@pytest.mark.parametrize("text", ["a", "ab=c", "abc", "YWJj\n", "YW Jj", "YWJj=", "YWJj====", "Yé==", "-_-_"])
def test_what_is_not_strict_base64_is_refused(text):
    with pytest.raises(SerializationException, match="ImageBlob is not valid base64"):
        parsed("DetectFaces", {"Image": {"Bytes": text}})


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b'"text"',
        b"null",
        b"7",
        b" ",
        b"{",
        b"{'CollectionId': 'a'}",
        b'{"CollectionId": NaN}',
        b'{"CollectionId": "\xff"}',
        b'{"CollectionId": "\\ud800"}',
        b"{} {}",
        b"\xef\xbb\xbf{}",
        b'{"CollectionId": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"CollectionId": ' + b'{"a":' * 5000 + b"1" + b"}" * 5000 + b"}",
    ],
    ids=range(14),
)
def test_what_is_no_json_object_is_refused(body):
    with pytest.raises(SerializationException):
        parse(operation("DescribeCollection"), body)


def test_unknown_members_are_named():
    with pytest.raises(InvalidParameterException, match="DetectFacesRequest: Attribute, image"):
        parsed("DetectFaces", {"image": {}, "Attribute": ["ALL"], "Attributes": ["ALL"]})
    with pytest.raises(InvalidParameterException, match="S3Object: Key"):
        parsed("DetectFaces", {"Image": {"S3Object": {"Bucket": "b", "Key": "k"}}})
    with pytest.raises(InvalidParameterException, match="Nothing"):
        parsed("DetectFaces", {"Nothing": None})


def test_a_timestamp_is_read_in_utc():
    shape = Shape("DateTime", {"type": "timestamp"})
    assert _timestamp(shape, 1718000000.5) == datetime(2024, 6, 10, 6, 13, 20, 500_000, UTC)
    for wrong in ("2024-06-10", True, 1e300, -1e300):
        with pytest.raises(SerializationException):
            _timestamp(shape, wrong)


def test_a_large_image_is_read_fast():
    image = bytes(range(256)) * 20480  # 5 MiB, the most that the service takes
    body = b'{"Image":{"Bytes":"' + base64.b64encode(image) + b'"}}'
    model = operation("DetectFaces")
    assert parse(model, body) == {"Image": {"Bytes": image}}
    known = least_time(lambda: base64.b64decode(json.loads(body)["Image"]["Bytes"]))
    assert least_time(lambda: parse(model, body)) < 8 * known  # a decoder in Python takes a hundred times as long


@settings(max_examples=300)
@given(
    st.sampled_from(operation_names()),
    st.one_of(
        st.binary(),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
            lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["Image", "Bytes", "Tags", "x"]), inner),
        ).map(lambda document: json.dumps(document).encode()),
    ),
)
def test_no_body_makes_anything_but_parameters_or_an_error(name, body):
    try:
        params = parse(operation(name), body)
    except (SerializationException, InvalidParameterException):
        return
    assert params.keys() <= input_shape(operation(name)).members.keys()
