"""Collections, faces, users and tags through boto3: every operation, default, limit and error of the contract."""

import re
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

Picture = Callable[[str], dict[str, bytes]]
MISSING = "00000000-0000-0000-0000-000000000000"


def index(rekognition: Any, collection: str, image: dict[str, bytes], **options: Any) -> list[str]:
    response = rekognition.index_faces(CollectionId=collection, Image=image, **options)
    return [record["Face"]["FaceId"] for record in response["FaceRecords"]]


# Collections


def test_a_collection_from_creation_to_deletion(rekognition: Any, picture: Picture) -> None:
    name = f"life-{uuid.uuid4()}"
    created = rekognition.create_collection(CollectionId=name, Tags={"team": "a"})
    assert created["StatusCode"] == 200
    assert re.fullmatch(rf"aws:rekognition:us-east-1:\d{{12}}:collection/{name}", created["CollectionArn"])
    assert created["FaceModelVersion"]
    index(rekognition, name, picture("obama"))
    rekognition.create_user(CollectionId=name, UserId="u")
    described = rekognition.describe_collection(CollectionId=name)
    assert (described["FaceCount"], described["UserCount"]) == (1, 1)
    assert described["CollectionARN"] == f"arn:{created['CollectionArn']}"
    assert described["FaceModelVersion"] == created["FaceModelVersion"]
    assert abs(described["CreationTimestamp"] - datetime.now(UTC)) < timedelta(minutes=5)
    assert rekognition.delete_collection(CollectionId=name)["StatusCode"] == 200
    with pytest.raises(rekognition.exceptions.ResourceNotFoundException):
        rekognition.describe_collection(CollectionId=name)
    rekognition.create_collection(CollectionId=name)
    again = rekognition.describe_collection(CollectionId=name)
    assert (again["FaceCount"], again["UserCount"]) == (0, 0)
    assert rekognition.list_tags_for_resource(ResourceArn=again["CollectionARN"])["Tags"] == {}
    rekognition.delete_collection(CollectionId=name)


def test_a_name_is_taken_once_and_case_counts(rekognition: Any, collection: str) -> None:
    with pytest.raises(
        rekognition.exceptions.ResourceAlreadyExistsException,
        match=re.escape(f"The collection id: {collection} already exists"),
    ):
        rekognition.create_collection(CollectionId=collection)
    rekognition.create_collection(CollectionId=collection.upper())
    rekognition.delete_collection(CollectionId=collection.upper())


def test_collections_are_listed_in_pages(rekognition: Any) -> None:
    names = [f"page-{uuid.uuid4()}" for _ in range(5)]
    for name in names:
        rekognition.create_collection(CollectionId=name)
    pages = list(rekognition.get_paginator("list_collections").paginate(PaginationConfig={"PageSize": 2}))
    listed = [name for page in pages for name in page["CollectionIds"]]
    assert [name for name in listed if name in names] == names
    assert len(listed) == len(set(listed))
    assert all(len(page["CollectionIds"]) == len(page["FaceModelVersions"]) for page in pages)
    assert all(len(page["CollectionIds"]) == 2 and len(page["NextToken"]) <= 255 for page in pages[:-1])
    first = rekognition.list_collections(MaxResults=1, NextToken="")
    assert len(first["CollectionIds"]) == 1
    assert len(rekognition.list_collections(MaxResults=0)["CollectionIds"]) >= 5
    for name in names:
        rekognition.delete_collection(CollectionId=name)


def test_bad_page_tokens_are_refused(rekognition: Any, collection: str, picture: Picture) -> None:
    refused = pytest.raises(rekognition.exceptions.InvalidPaginationTokenException)
    with refused:
        rekognition.list_collections(NextToken="garbage")
    index(rekognition, collection, picture("obama"))
    index(rekognition, collection, picture("biden"))
    token = rekognition.list_faces(CollectionId=collection, MaxResults=1)["NextToken"]
    with refused:
        rekognition.list_collections(NextToken=token)
    with refused:
        rekognition.list_faces(CollectionId=collection, NextToken=token[:-5] + "AAAA=")


@pytest.mark.parametrize(
    ("operation", "more"),
    [
        ("describe_collection", {}),
        ("delete_collection", {}),
        ("index_faces", {"Image": {"Bytes": b"x"}}),
        ("list_faces", {}),
        ("delete_faces", {"FaceIds": [MISSING]}),
        ("search_faces", {"FaceId": MISSING}),
        ("search_faces_by_image", {"Image": {"Bytes": b"x"}}),
        ("create_user", {"UserId": "u"}),
        ("delete_user", {"UserId": "u"}),
        ("list_users", {}),
        ("associate_faces", {"UserId": "u", "FaceIds": [MISSING]}),
        ("disassociate_faces", {"UserId": "u", "FaceIds": [MISSING]}),
        ("search_users", {"UserId": "u"}),
        ("search_users_by_image", {"Image": {"Bytes": b"x"}}),
    ],
)
def test_a_missing_collection_is_not_found(rekognition: Any, operation: str, more: dict[str, Any]) -> None:
    with pytest.raises(
        rekognition.exceptions.ResourceNotFoundException, match="The collection id: nowhere does not exist"
    ):
        getattr(rekognition, operation)(CollectionId="nowhere", **more)


# Faces


def test_an_indexed_face_is_described_listed_and_deleted(rekognition: Any, collection: str, picture: Picture) -> None:
    response = rekognition.index_faces(CollectionId=collection, Image=picture("obama"), ExternalImageId="barack")
    (record,) = response["FaceRecords"]
    assert response["UnindexedFaces"] == []
    face = record["Face"]
    assert set(face) == {"FaceId", "BoundingBox", "ImageId", "ExternalImageId", "Confidence"}
    assert uuid.UUID(face["FaceId"]).version == uuid.UUID(face["ImageId"]).version == 5
    assert face["BoundingBox"] == record["FaceDetail"]["BoundingBox"]
    assert set(record["FaceDetail"]) == {"BoundingBox", "Confidence", "Landmarks", "Pose", "Quality"}
    listed = rekognition.list_faces(CollectionId=collection)
    assert listed["FaceModelVersion"] == response["FaceModelVersion"]
    (kept,) = listed["Faces"]
    assert kept == face | {"IndexFacesModelVersion": response["FaceModelVersion"].removeprefix("sface-")}
    deleted = rekognition.delete_faces(CollectionId=collection, FaceIds=[face["FaceId"], MISSING])
    assert deleted["DeletedFaces"] == [face["FaceId"]]
    assert deleted["UnsuccessfulFaceDeletions"] == [{"FaceId": MISSING, "Reasons": ["FACE_NOT_FOUND"]}]
    assert rekognition.list_faces(CollectionId=collection)["Faces"] == []


def test_indexing_the_same_picture_again_stores_nothing_new(
    rekognition: Any, collection: str, picture: Picture
) -> None:
    first = index(rekognition, collection, picture("obama"), ExternalImageId="a")
    assert index(rekognition, collection, picture("obama"), ExternalImageId="a") == first
    assert rekognition.describe_collection(CollectionId=collection)["FaceCount"] == 1
    other = index(rekognition, collection, picture("obama"), ExternalImageId="b")
    assert other != first
    assert index(rekognition, collection, picture("obama"), ExternalImageId="b") == other
    assert rekognition.describe_collection(CollectionId=collection)["FaceCount"] == 2


def test_the_same_picture_has_the_same_face_id_in_every_collection(
    rekognition: Any, collection: str, picture: Picture
) -> None:
    second = f"{collection}-2"
    rekognition.create_collection(CollectionId=second)
    assert index(rekognition, collection, picture("obama")) == index(rekognition, second, picture("obama"))
    rekognition.delete_collection(CollectionId=second)


def test_detection_attributes_are_returned(rekognition: Any, collection: str, picture: Picture) -> None:
    response = rekognition.index_faces(CollectionId=collection, Image=picture("obama"), DetectionAttributes=["ALL"])
    detail = response["FaceRecords"][0]["FaceDetail"]
    assert len(detail["Landmarks"]) == 30
    assert "Emotions" in detail


def test_a_picture_without_faces_indexes_nothing(rekognition: Any, collection: str, faceless: bytes) -> None:
    response = rekognition.index_faces(CollectionId=collection, Image={"Bytes": faceless})
    assert (response["FaceRecords"], response["UnindexedFaces"]) == ([], [])


def test_max_faces_keeps_the_largest(rekognition: Any, collection: str, two_people: bytes) -> None:
    response = rekognition.index_faces(CollectionId=collection, Image={"Bytes": two_people}, MaxFaces=1)
    (record,) = response["FaceRecords"]
    (dropped,) = response["UnindexedFaces"]
    assert dropped["Reasons"] == ["EXCEEDS_MAX_FACES"]
    areas = [
        detail["BoundingBox"]["Width"] * detail["BoundingBox"]["Height"]
        for detail in (record["FaceDetail"], dropped["FaceDetail"])
    ]
    assert areas[0] > areas[1]
    every = rekognition.index_faces(CollectionId=collection, Image={"Bytes": two_people}, MaxFaces=500)
    assert len(every["FaceRecords"]) == 2


def test_poor_faces_are_left_out_with_reasons_unless_the_filter_is_off(
    rekognition: Any, collection: str, poor_face: bytes
) -> None:
    response = rekognition.index_faces(CollectionId=collection, Image={"Bytes": poor_face})
    assert response["FaceRecords"] == []
    (left_out,) = response["UnindexedFaces"]
    assert set(left_out["Reasons"]) & {
        "LOW_SHARPNESS",
        "LOW_BRIGHTNESS",
        "LOW_FACE_QUALITY",
        "LOW_CONFIDENCE",
    }
    kept = rekognition.index_faces(CollectionId=collection, Image={"Bytes": poor_face}, QualityFilter="NONE")
    assert len(kept["FaceRecords"]) == 1


def test_faces_are_listed_by_id_and_by_user_in_pages(rekognition: Any, collection: str, picture: Picture) -> None:
    names = ("obama", "obama2", "obama3", "biden")
    ids = [index(rekognition, collection, picture(name))[0] for name in names]
    rekognition.create_user(CollectionId=collection, UserId="barack")
    rekognition.associate_faces(CollectionId=collection, UserId="barack", FaceIds=ids[:2])
    paginator = rekognition.get_paginator("list_faces")
    pages = paginator.paginate(CollectionId=collection, PaginationConfig={"PageSize": 3})
    assert [face["FaceId"] for page in pages for face in page["Faces"]] == ids
    some = rekognition.list_faces(CollectionId=collection, FaceIds=[ids[3], ids[0], MISSING])["Faces"]
    assert [face["FaceId"] for face in some] == [ids[0], ids[3]]
    mine = rekognition.list_faces(CollectionId=collection, UserId="barack")["Faces"]
    assert [(face["FaceId"], face["UserId"]) for face in mine] == [(id_, "barack") for id_ in ids[:2]]
    assert "UserId" not in some[1]


# Searching


def test_search_by_image_finds_the_person_best_first(rekognition: Any, collection: str, picture: Picture) -> None:
    ids = {name: index(rekognition, collection, picture(name))[0] for name in ("obama", "obama2", "biden")}
    response = rekognition.search_faces_by_image(CollectionId=collection, Image=picture("obama"))
    assert set(response["SearchedFaceBoundingBox"]) == {"Width", "Height", "Left", "Top"}
    assert response["SearchedFaceConfidence"] > 99
    found = [match["Face"]["FaceId"] for match in response["FaceMatches"]]
    assert found == [ids["obama"], ids["obama2"]]
    similarities = [match["Similarity"] for match in response["FaceMatches"]]
    assert similarities == sorted(similarities, reverse=True)
    every = rekognition.search_faces_by_image(CollectionId=collection, Image=picture("obama"), FaceMatchThreshold=0)
    assert [match["Face"]["FaceId"] for match in every["FaceMatches"]] == [*found, ids["biden"]]
    one = rekognition.search_faces_by_image(CollectionId=collection, Image=picture("obama"), MaxFaces=1)
    assert [match["Face"]["FaceId"] for match in one["FaceMatches"]] == [ids["obama"]]


def test_search_by_face_leaves_out_the_face_itself(rekognition: Any, collection: str, picture: Picture) -> None:
    ids = {name: index(rekognition, collection, picture(name))[0] for name in ("obama", "obama2", "biden")}
    response = rekognition.search_faces(CollectionId=collection, FaceId=ids["obama"])
    assert response["SearchedFaceId"] == ids["obama"]
    assert [match["Face"]["FaceId"] for match in response["FaceMatches"]] == [ids["obama2"]]
    two = rekognition.search_faces(CollectionId=collection, FaceId=ids["obama"], FaceMatchThreshold=0, MaxFaces=2)
    assert [match["Face"]["FaceId"] for match in two["FaceMatches"]] == [ids["obama2"], ids["biden"]]


def test_a_deleted_face_is_not_found_any_more(rekognition: Any, collection: str, picture: Picture) -> None:
    (face_id,) = index(rekognition, collection, picture("obama"))
    search = {"CollectionId": collection, "Image": picture("obama")}
    assert rekognition.search_faces_by_image(**search)["FaceMatches"]
    rekognition.delete_faces(CollectionId=collection, FaceIds=[face_id])
    assert rekognition.search_faces_by_image(**search)["FaceMatches"] == []


def test_searching_errors(rekognition: Any, collection: str, faceless: bytes) -> None:
    invalid = rekognition.exceptions.InvalidParameterException
    with pytest.raises(invalid, match=re.escape("There are no faces in the image. Should be at least 1.")):
        rekognition.search_faces_by_image(CollectionId=collection, Image={"Bytes": faceless})
    with pytest.raises(invalid, match="faceId was not found in the collection"):
        rekognition.search_faces(CollectionId=collection, FaceId=MISSING)
    with pytest.raises(invalid):
        rekognition.search_users(CollectionId=collection)
    with pytest.raises(invalid):
        rekognition.search_users(CollectionId=collection, UserId="u", FaceId=MISSING)


# Users


def test_a_user_from_creation_to_deletion(rekognition: Any, collection: str, picture: Picture) -> None:
    ids = [index(rekognition, collection, picture(name))[0] for name in ("obama", "obama2", "biden")]
    rekognition.create_user(CollectionId=collection, UserId="barack")
    assert rekognition.list_users(CollectionId=collection)["Users"] == [{"UserId": "barack", "UserStatus": "CREATED"}]
    response = rekognition.associate_faces(CollectionId=collection, UserId="barack", FaceIds=ids[:2])
    assert response["AssociatedFaces"] == [{"FaceId": id_} for id_ in ids[:2]]
    assert response["UnsuccessfulFaceAssociations"] == []
    assert response["UserStatus"] == "ACTIVE"
    again = rekognition.associate_faces(CollectionId=collection, UserId="barack", FaceIds=[ids[0]])
    assert (again["AssociatedFaces"], again["UnsuccessfulFaceAssociations"]) == ([], [])
    unlike = rekognition.associate_faces(CollectionId=collection, UserId="barack", FaceIds=[ids[2], MISSING])
    assert unlike["AssociatedFaces"] == []
    low, missing = unlike["UnsuccessfulFaceAssociations"]
    assert (low["FaceId"], low["Reasons"]) == (ids[2], ["LOW_MATCH_CONFIDENCE"])
    assert low["Confidence"] < 75
    assert missing == {"FaceId": MISSING, "Reasons": ["FACE_NOT_FOUND"]}
    refused = rekognition.delete_faces(CollectionId=collection, FaceIds=[ids[0]])
    assert refused["UnsuccessfulFaceDeletions"] == [
        {"FaceId": ids[0], "UserId": "barack", "Reasons": ["ASSOCIATED_TO_AN_EXISTING_USER"]}
    ]
    rekognition.create_user(CollectionId=collection, UserId="joe")
    stolen = rekognition.associate_faces(CollectionId=collection, UserId="joe", FaceIds=[ids[0]], UserMatchThreshold=0)
    assert stolen["UnsuccessfulFaceAssociations"] == [
        {"FaceId": ids[0], "UserId": "barack", "Reasons": ["ASSOCIATED_TO_A_DIFFERENT_USER"]}
    ]
    freed = rekognition.disassociate_faces(
        CollectionId=collection, UserId="barack", FaceIds=[*ids[:2], ids[2], MISSING]
    )
    assert freed["DisassociatedFaces"] == [{"FaceId": id_} for id_ in ids[:2]]
    assert freed["UnsuccessfulFaceDisassociations"] == [{"FaceId": MISSING, "Reasons": ["FACE_NOT_FOUND"]}]
    assert freed["UserStatus"] == "CREATED"
    rekognition.delete_user(CollectionId=collection, UserId="barack")
    with pytest.raises(rekognition.exceptions.ResourceNotFoundException):
        rekognition.delete_user(CollectionId=collection, UserId="barack")
    assert rekognition.describe_collection(CollectionId=collection)["UserCount"] == 1


def test_users_are_searched_by_image_user_and_face(
    rekognition: Any, collection: str, picture: Picture, two_people: bytes, faceless: bytes
) -> None:
    ids = {name: index(rekognition, collection, picture(name))[0] for name in ("obama", "obama2", "biden")}
    for user, faces in (("barack", ["obama", "obama2"]), ("joe", ["biden"])):
        rekognition.create_user(CollectionId=collection, UserId=user)
        rekognition.associate_faces(CollectionId=collection, UserId=user, FaceIds=[ids[name] for name in faces])
    by_image = rekognition.search_users_by_image(CollectionId=collection, Image=picture("obama3"))
    (match,) = by_image["UserMatches"]
    assert match["User"] == {"UserId": "barack", "UserStatus": "ACTIVE"}
    assert by_image["UnsearchedFaces"] == []
    assert by_image["SearchedFace"]["FaceDetail"]["Confidence"] > 99
    both = rekognition.search_users_by_image(CollectionId=collection, Image={"Bytes": two_people})
    assert [face["Reasons"] for face in both["UnsearchedFaces"]] == [["FACE_NOT_LARGEST"]]
    nobody = rekognition.search_users_by_image(CollectionId=collection, Image={"Bytes": faceless})
    assert nobody["UserMatches"] == []
    assert "SearchedFace" not in nobody
    by_user = rekognition.search_users(CollectionId=collection, UserId="barack", UserMatchThreshold=0)
    assert by_user["SearchedUser"] == {"UserId": "barack"}
    assert [match["User"]["UserId"] for match in by_user["UserMatches"]] == ["joe"]
    by_face = rekognition.search_users(CollectionId=collection, FaceId=ids["biden"], MaxUsers=1)
    assert by_face["SearchedFace"] == {"FaceId": ids["biden"]}
    assert [match["User"]["UserId"] for match in by_face["UserMatches"]] == ["joe"]
    with pytest.raises(rekognition.exceptions.ResourceNotFoundException):
        rekognition.search_users(CollectionId=collection, UserId="nobody")


def test_an_existing_user_is_a_conflict(rekognition: Any, collection: str) -> None:
    rekognition.create_user(CollectionId=collection, UserId="u")
    with pytest.raises(rekognition.exceptions.ConflictException):
        rekognition.create_user(CollectionId=collection, UserId="u")


def test_a_request_token_makes_a_call_happen_once(rekognition: Any, collection: str) -> None:
    token = str(uuid.uuid4())
    call = {"CollectionId": collection, "UserId": "u", "ClientRequestToken": token}
    rekognition.create_user(**call)
    rekognition.create_user(**call)
    assert rekognition.describe_collection(CollectionId=collection)["UserCount"] == 1
    with pytest.raises(
        rekognition.exceptions.IdempotentParameterMismatchException,
        match=f"The ClientRequestToken: {token} you have supplied is already in use.",
    ):
        rekognition.create_user(**call | {"UserId": "v"})


def test_users_are_listed_in_pages(rekognition: Any, collection: str) -> None:
    names = [f"user-{number}" for number in range(5)]
    for name in names:
        rekognition.create_user(CollectionId=collection, UserId=name)
    pages = rekognition.get_paginator("list_users").paginate(CollectionId=collection, PaginationConfig={"PageSize": 2})
    assert [user["UserId"] for page in pages for user in page["Users"]] == names


def test_a_user_has_at_most_a_hundred_faces(
    rekognition: Any, collection: str, picture: Picture, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [index(rekognition, collection, picture("obama"), ExternalImageId=f"n{n}")[0] for n in range(101)]
    rekognition.create_user(CollectionId=collection, UserId="u")
    full = rekognition.associate_faces(CollectionId=collection, UserId="u", FaceIds=ids[:100])
    assert len(full["AssociatedFaces"]) == 100
    with pytest.raises(rekognition.exceptions.ServiceQuotaExceededException):
        rekognition.associate_faces(CollectionId=collection, UserId="u", FaceIds=ids[100:])


# Tags


def test_tags_are_set_changed_listed_and_removed(rekognition: Any, collection: str) -> None:
    arn = rekognition.describe_collection(CollectionId=collection)["CollectionARN"]
    rekognition.tag_resource(ResourceArn=arn, Tags={"a": "1", "b": "2"})
    rekognition.tag_resource(ResourceArn=arn.removeprefix("arn:"), Tags={"b": "3", "c": ""})
    assert rekognition.list_tags_for_resource(ResourceArn=arn)["Tags"] == {"a": "1", "b": "3", "c": ""}
    rekognition.untag_resource(ResourceArn=arn, TagKeys=["a", "nothing"])
    assert rekognition.list_tags_for_resource(ResourceArn=arn)["Tags"] == {"b": "3", "c": ""}


def test_tag_limits(rekognition: Any, collection: str) -> None:
    arn = rekognition.describe_collection(CollectionId=collection)["CollectionARN"]
    rekognition.tag_resource(ResourceArn=arn, Tags={f"k{number}": "v" for number in range(200)})
    with pytest.raises(rekognition.exceptions.ServiceQuotaExceededException):
        rekognition.tag_resource(ResourceArn=arn, Tags={"one": "more"})
    with pytest.raises(rekognition.exceptions.InvalidParameterException, match="aws:"):
        rekognition.tag_resource(ResourceArn=arn, Tags={"aws:x": "v"})
    with pytest.raises(rekognition.exceptions.InvalidParameterException, match="length"):
        rekognition.tag_resource(ResourceArn=arn, Tags={"k" * 129: "v"})


@pytest.mark.parametrize(
    "arn",
    [
        "arn:aws:rekognition:us-east-1:000000000000:collection/nowhere",
        "arn:aws:rekognition:eu-west-1:{account}:collection/{name}",
        "arn:aws:s3:::a-bucket-of-somebody",
        "arn:aws:rekognition:us-east-1:{account}:collection/with\0nothing",
    ],
)
def test_tags_of_what_is_not_ours(rekognition: Any, collection: str, arn: str) -> None:
    mine = rekognition.describe_collection(CollectionId=collection)["CollectionARN"].split(":")
    resource = arn.format(account=mine[4], name=collection)
    with pytest.raises(rekognition.exceptions.ResourceNotFoundException):
        rekognition.tag_resource(ResourceArn=resource, Tags={"a": "b"})
    with pytest.raises(rekognition.exceptions.ResourceNotFoundException):
        rekognition.list_tags_for_resource(ResourceArn=resource)
    with pytest.raises(rekognition.exceptions.ResourceNotFoundException):
        rekognition.untag_resource(ResourceArn=resource, TagKeys=["a"])
