"""Many callers at once: nobody sees anything but AWS's errors, and what is left afterwards is consistent."""

import threading
import uuid
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from botocore.exceptions import ClientError

THREADS = 8
NOT_FOUND = "ResourceNotFoundException"


def at_once(*calls: Callable[[], Any]) -> list[Any]:
    """The results of calls that start together."""
    barrier = threading.Barrier(len(calls))

    def run(call: Callable[[], Any]) -> Any:
        barrier.wait()
        return call()

    with ThreadPoolExecutor(len(calls)) as threads:
        return [future.result() for future in [threads.submit(run, call) for call in calls]]


def code_of(call: Callable[..., Any], **parameters: Any) -> str:
    """The code of the error that a call ends with; "" for none."""
    try:
        call(**parameters)
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    return ""


def index(rekognition: Any, collection: str, image: bytes, external: str) -> str:
    response = rekognition.index_faces(
        CollectionId=collection, Image={"Bytes": image}, ExternalImageId=external, MaxFaces=1
    )
    return str(response["FaceRecords"][0]["Face"]["FaceId"])


def listed(rekognition: Any, collection: str) -> list[str]:
    """The faces of a collection, whose count and whose search must agree with the list."""
    ids = [face["FaceId"] for face in rekognition.list_faces(CollectionId=collection)["Faces"]]
    assert rekognition.describe_collection(CollectionId=collection)["FaceCount"] == len(ids) == len(set(ids))
    return ids


def found(rekognition: Any, collection: str, image: bytes) -> set[str]:
    response = rekognition.search_faces_by_image(
        CollectionId=collection, Image={"Bytes": image}, FaceMatchThreshold=0.0
    )
    return {match["Face"]["FaceId"] for match in response["FaceMatches"]}


def test_the_same_picture_indexed_many_times_at_once_is_stored_once(
    rekognition: Any, collection: str, face: bytes
) -> None:
    ids = at_once(*[lambda: index(rekognition, collection, face, "one")] * THREADS)
    assert set(ids) == set(listed(rekognition, collection))
    assert len(set(ids)) == 1


def test_faces_indexed_at_once_are_all_stored_and_found(rekognition: Any, collection: str, face: bytes) -> None:
    ids = at_once(
        *[
            lambda thread=thread: [index(rekognition, collection, face, f"{thread}-{number}") for number in range(3)]
            for thread in range(THREADS)
        ]
    )
    expected = {id_ for some in ids for id_ in some}
    assert len(expected) == 3 * THREADS
    assert set(listed(rekognition, collection)) == found(rekognition, collection, face) == expected


def test_a_collection_is_created_and_deleted_by_many_at_once(rekognition: Any) -> None:
    name = f"contested-{uuid.uuid4()}"

    def fight() -> Counter[tuple[str, str]]:
        return Counter(
            (method, code_of(getattr(rekognition, method), CollectionId=name))
            for _ in range(10)
            for method in ("create_collection", "delete_collection")
        )

    outcomes: Counter[tuple[str, str]] = sum(at_once(*[fight] * THREADS), Counter())
    assert {code for _, code in outcomes} <= {"", "ResourceAlreadyExistsException", NOT_FOUND}
    assert outcomes["create_collection", ""] >= 1
    left = outcomes["create_collection", ""] - outcomes["delete_collection", ""]
    assert left == rekognition.list_collections(MaxResults=4096)["CollectionIds"].count(name)
    assert (code_of(rekognition.delete_collection, CollectionId=name) == "") == bool(left)


def test_who_searches_never_finds_what_has_been_deleted(rekognition: Any, collection: str, face: bytes) -> None:
    gone: set[str] = set()
    done = threading.Event()

    def change() -> None:
        for number in range(12):
            id_ = index(rekognition, collection, face, f"n{number}")
            if number % 2:
                rekognition.delete_faces(CollectionId=collection, FaceIds=[id_])
                gone.add(id_)
        done.set()

    def search() -> int:
        searches = 0
        while not done.is_set():
            before = frozenset(gone)
            assert not before & found(rekognition, collection, face)
            searches += 1
        return searches

    assert sum(at_once(change, search, search, search)[1:]) >= 3
    assert set(listed(rekognition, collection)) == found(rekognition, collection, face)
    assert len(listed(rekognition, collection)) == 6


def test_a_collection_that_is_deleted_and_made_anew_while_it_is_used_holds_only_what_came_after(
    rekognition: Any, collection: str, face: bytes
) -> None:
    done = threading.Event()

    def renew() -> None:
        for _ in range(5):
            rekognition.delete_collection(CollectionId=collection)
            rekognition.create_collection(CollectionId=collection)
        done.set()

    def use(number: int) -> set[str]:
        codes = set()
        while not done.is_set():
            image = {"CollectionId": collection, "Image": {"Bytes": face}}
            codes.add(code_of(rekognition.index_faces, **image, ExternalImageId=f"n{number}"))
            codes.add(code_of(rekognition.search_faces_by_image, **image))
            codes.add(code_of(rekognition.create_user, CollectionId=collection, UserId=f"n{number}"))
        return codes

    outcomes = at_once(renew, *[lambda number=number: use(number) for number in range(4)])
    assert set().union(*outcomes[1:]) <= {"", NOT_FOUND, "ConflictException"}
    assert set(listed(rekognition, collection)) == found(rekognition, collection, face)
    rekognition.delete_collection(CollectionId=collection)
    rekognition.create_collection(CollectionId=collection)
    assert listed(rekognition, collection) == []
    assert found(rekognition, collection, face) == set()


def test_a_face_wanted_by_many_users_goes_to_one(rekognition: Any, collection: str, face: bytes) -> None:
    face_id = index(rekognition, collection, face, "wanted")
    names = [f"user-{number}" for number in range(THREADS)]
    for name in names:
        rekognition.create_user(CollectionId=collection, UserId=name)

    def take(name: str) -> list[Any]:
        response = rekognition.associate_faces(CollectionId=collection, UserId=name, FaceIds=[face_id])
        return list(response["AssociatedFaces"])

    taken = at_once(*[lambda name=name: take(name) for name in names])
    assert taken.count([{"FaceId": face_id}]) == 1
    (owner,) = (user for user in rekognition.list_users(CollectionId=collection)["Users"] if "ACTIVE" in user.values())
    (kept,) = rekognition.list_faces(CollectionId=collection)["Faces"]
    assert kept["UserId"] == owner["UserId"] == names[taken.index([{"FaceId": face_id}])]


def test_faces_given_to_one_user_at_once_all_arrive(rekognition: Any, collection: str, face: bytes) -> None:
    ids = [index(rekognition, collection, face, f"n{number}") for number in range(THREADS)]
    rekognition.create_user(CollectionId=collection, UserId="u")
    give = rekognition.associate_faces
    at_once(*[lambda id_=id_: give(CollectionId=collection, UserId="u", FaceIds=[id_]) for id_ in ids])
    mine = rekognition.list_faces(CollectionId=collection, UserId="u")["Faces"]
    assert {face["FaceId"] for face in mine} == set(ids)


def test_the_same_call_repeated_at_once_with_one_token_happens_once(rekognition: Any, collection: str) -> None:
    call = {"CollectionId": collection, "UserId": "u", "ClientRequestToken": str(uuid.uuid4())}
    assert at_once(*[lambda: code_of(rekognition.create_user, **call)] * THREADS) == [""] * THREADS
    assert rekognition.describe_collection(CollectionId=collection)["UserCount"] == 1


def test_one_user_made_by_many_at_once_is_a_conflict_for_all_but_one(rekognition: Any, collection: str) -> None:
    codes = at_once(*[lambda: code_of(rekognition.create_user, CollectionId=collection, UserId="u")] * THREADS)
    assert sorted(codes) == ["", *["ConflictException"] * (THREADS - 1)]


def test_tags_of_a_collection_that_is_deleted_meanwhile_do_not_outlive_it(rekognition: Any) -> None:
    for _ in range(10):
        name = f"tagged-{uuid.uuid4()}"
        rekognition.create_collection(CollectionId=name, Tags={"a": "b"})
        arn = rekognition.describe_collection(CollectionId=name)["CollectionARN"]
        codes = at_once(
            partial(code_of, rekognition.delete_collection, CollectionId=name),
            partial(code_of, rekognition.tag_resource, ResourceArn=arn, Tags={"c": "d"}),
        )
        assert codes[0] == ""
        assert codes[1] in ("", NOT_FOUND)
        rekognition.create_collection(CollectionId=name)
        assert rekognition.list_tags_for_resource(ResourceArn=arn)["Tags"] == {}
        rekognition.delete_collection(CollectionId=name)
