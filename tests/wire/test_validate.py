import re
import unicodedata

import pytest
from botocore.model import ListShape, MapShape, Shape, StructureShape
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.timing import least_time

from regard.wire.errors import InvalidParameterException
from regard.wire.service import input_shape, operation, operation_names, output_shape
from regard.wire.validate import compile_pattern, constraints, validate, violations

from .strategies import values

IMAGE = {"S3Object": {"Bucket": "bucket", "Name": "photo.jpg"}}


def message(name, **params):
    with pytest.raises(InvalidParameterException) as refusal:
        validate(operation(name), params)
    return refusal.value.message


def all_shapes():
    def walk(shape):
        yield shape
        if isinstance(shape, StructureShape):
            for member in shape.members.values():
                yield from walk(member)
        elif isinstance(shape, ListShape):
            yield from walk(shape.member)
        elif isinstance(shape, MapShape):
            yield from walk(shape.key)
            yield from walk(shape.value)

    for name in operation_names():
        yield from walk(input_shape(operation(name)))
        yield from walk(output_shape(operation(name)))


SHAPES: dict[str, Shape] = {shape.name: shape for shape in all_shapes()}


def test_a_good_request_passes():
    validate(operation("ListCollections"), {})
    validate(operation("IndexFaces"), {"CollectionId": "staff", "Image": IMAGE, "ExternalImageId": "a:b.c-1"})
    validate(operation("TagResource"), {"ResourceArn": "arn:" + "x" * 20, "Tags": {"städte": "Köln 1"}})


def test_a_missing_member_is_named():
    assert message("DescribeCollection") == (
        "1 validation error detected: Value null at 'collectionId' failed to satisfy constraint: "
        "Member must not be null"
    )


def test_a_missing_member_inside_a_structure_is_named_by_its_path():
    assert message(
        "StartFaceDetection", Video={}, NotificationChannel={"RoleArn": "arn:aws:iam::123456789012:role/r"}
    ) == (
        "1 validation error detected: Value null at 'notificationChannel.sNSTopicArn' "
        "failed to satisfy constraint: Member must not be null"
    )


def test_a_pattern_is_matched_on_the_whole_text():
    text = (
        "1 validation error detected: Value '{}' at 'externalImageId' failed to satisfy constraint: "
        "Member must satisfy regular expression pattern: [a-zA-Z0-9_.\\-:]+"
    )
    for value in ("a b", "a/b", "a\n", "é"):
        assert message("IndexFaces", CollectionId="c", Image=IMAGE, ExternalImageId=value) == text.format(value)


def test_several_errors_are_counted_and_joined():
    assert message("SearchFaces", CollectionId="", FaceMatchThreshold=101.0, MaxFaces=0) == (
        "5 validation errors detected: "
        "Value '' at 'collectionId' failed to satisfy constraint: "
        "Member must have length greater than or equal to 1; "
        "Value '' at 'collectionId' failed to satisfy constraint: "
        "Member must satisfy regular expression pattern: [a-zA-Z0-9_.\\-]+; "
        "Value null at 'faceId' failed to satisfy constraint: Member must not be null; "
        "Value '0' at 'maxFaces' failed to satisfy constraint: "
        "Member must have value greater than or equal to 1; "
        "Value '101.0' at 'faceMatchThreshold' failed to satisfy constraint: "
        "Member must have value less than or equal to 100"
    )


def test_an_enum_lists_its_values():
    assert message("CompareFaces", SourceImage=IMAGE, TargetImage=IMAGE, QualityFilter="BEST") == (
        "1 validation error detected: Value 'BEST' at 'qualityFilter' failed to satisfy constraint: "
        "Member must satisfy enum value set: [NONE, AUTO, LOW, MEDIUM, HIGH]"
    )


@pytest.mark.parametrize(
    ("size", "bound"), [(0, "greater than or equal to 1"), (5242881, "less than or equal to 5242880")]
)
def test_an_image_is_never_printed(size, bound):
    assert message("DetectFaces", Image={"Bytes": b"\x89" * size}) == (
        "1 validation error detected: Value at 'image.bytes' failed to satisfy constraint: "
        f"Member must have length {bound}"
    )


def test_an_image_of_exactly_5_mb_passes():
    validate(operation("DetectFaces"), {"Image": {"Bytes": bytes(5242880)}})


def test_a_bad_scalar_in_a_list_is_reported_at_the_list():
    face_id = "11111111-2222-3333-4444-555555555555"
    for bad, shown in (("7", "7"), (None, "null")):
        assert message("DeleteFaces", CollectionId="c", FaceIds=[face_id, bad]) == (
            f"1 validation error detected: Value '[{face_id}, {shown}]' at 'faceIds' "
            "failed to satisfy constraint: Member must satisfy constraint: "
            "[Member must satisfy regular expression pattern: "
            "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}, Member must not be null]"
        )
    assert "Value '[]' at 'faceIds' failed to satisfy constraint: Member must have length greater" in message(
        "DeleteFaces", CollectionId="c", FaceIds=[]
    )


def test_a_structure_in_a_list_is_numbered_from_one():
    datasets = [{"Arn": "arn:aws:rekognition:us-east-1:123456789012:project/p/dataset/train/1"}, {}]
    assert message("DistributeDatasetEntries", Datasets=datasets) == (
        "1 validation error detected: Value null at 'datasets.2.member.arn' failed to satisfy constraint: "
        "Member must not be null"
    )
    assert "Value null at 'datasets.2.member' failed" in message(
        "DistributeDatasetEntries", Datasets=[datasets[0], None]
    )
    assert "Value at 'datasets' failed to satisfy constraint: Member must have length" in message(
        "DistributeDatasetEntries", Datasets=datasets[:1]
    )


def test_the_keys_and_values_of_a_map_are_checked():
    arn = "arn:" + "x" * 20
    assert message("TagResource", ResourceArn=arn, Tags={"aws:x": "y"}).startswith(
        "1 validation error detected: Value '{aws:x=y}' at 'tags' failed to satisfy constraint: "
        "Map keys must satisfy constraint: [Member must have length less than or equal to 128, "
    )
    assert "Map value must satisfy constraint: [" in message("TagResource", ResourceArn=arn, Tags={"a": "<>"})
    assert "Value '{a=null}'" in message("TagResource", ResourceArn=arn, Tags={"a": None})


def test_every_pattern_of_the_model_compiles_and_is_ascii_unless_it_says_otherwise():
    patterns = {shape.metadata["pattern"] for shape in SHAPES.values() if "pattern" in shape.metadata}
    assert len(patterns) > 25
    for pattern in patterns:
        assert bool(compile_pattern(pattern).flags & re.ASCII) == (r"\p" not in pattern)
    assert not compile_pattern(r"\d").fullmatch("٣")


def test_a_class_that_python_lacks_is_not_passed_over():
    with pytest.raises(re.error):
        compile_pattern(r"[\p{L}]*")


def test_tag_keys_take_exactly_the_letters_separators_and_numbers_of_unicode():
    pattern = compile_pattern(SHAPES["TagKey"].metadata["pattern"])
    for code in range(0x110000):
        character = chr(code)
        expected = unicodedata.category(character)[0] in "LZN" or character in "_.:/=+-@"
        assert (pattern.fullmatch(character) is not None) == expected, hex(code)


@pytest.mark.parametrize("name", sorted(name for name in SHAPES if "pattern" in SHAPES[name].metadata))
def test_no_text_makes_a_pattern_slow(name):
    """A client with a key could otherwise stop a core with one request."""
    checks = constraints(SHAPES[name])
    parts = ("a", "-", " ", "a-", ":", ":aaaaaaaaaaaa", "arn:aws:sns:", "é")
    hostile = [prefix + part * (1_000_000 // len(part)) + "\n" for part in parts for prefix in ("", "arn:aws:sns:")]
    for text in hostile:
        assert False in [check.holds(text) for check in checks]

    def held() -> None:
        for text in hostile:
            for check in checks:
                check.holds(text)
                check.holds(text[:1500] + "\n")

    assert least_time(held) < least_time(lambda: [sum(map(ord, text)) for text in hostile])


def test_a_text_too_long_for_its_pattern_is_refused_where_the_model_gives_no_length():
    assert "regular expression" in message("SearchFaces", CollectionId="c", FaceId="a" * 3000)


@settings(max_examples=150)
@given(st.data())
def test_any_typed_request_is_accepted_or_refused_with_its_count(data):
    model = operation(data.draw(st.sampled_from(operation_names())))
    params = data.draw(values(input_shape(model)))
    found = list(violations(input_shape(model), params))
    if not found:
        validate(model, params)
        return
    with pytest.raises(InvalidParameterException) as refusal:
        validate(model, params)
    assert refusal.value.message.startswith(f"{len(found)} validation error")
    missing = {name for name in input_shape(model).required_members if name not in params}
    assert len([text for text in found if "." not in text.split("'")[1] and "Value null" in text]) == len(missing)


def test_validation_of_the_largest_list_is_fast():
    params = {"CollectionId": "c", "FaceIds": ["11111111-2222-3333-4444-555555555555"] * 4096}
    eighth = {"CollectionId": "c", "FaceIds": params["FaceIds"][:512]}
    model = operation("DeleteFaces")
    assert least_time(lambda: validate(model, params)) < 24 * least_time(lambda: validate(model, eighth))
