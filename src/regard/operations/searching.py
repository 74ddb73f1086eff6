"""Searches in a collection: faces and users, by a kept face, a kept user or a picture."""

import uuid
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from regard.gallery.gallery import Match
from regard.operations import pictures, shapes
from regard.operations.context import Context, Request, Response
from regard.operations.users import status
from regard.store import faces, users
from regard.store.collections import Collection
from regard.vision.cohort import Comparison
from regard.vision.faces import Face
from regard.wire.errors import InvalidParameterException, ResourceNotFoundException

DEFAULT_THRESHOLD = 80.0
# A score is kept to nine decimals; the Similarity that is sent, a float32, decides in the end.
ROUNDING = 1e-6
MAX_FACES = 4096
MAX_USERS = 500

RowT = TypeVar("RowT", faces.Face, users.User)


def search_faces(context: Context, request: Request) -> Response:
    collection = context.comparable(context.collection(request["CollectionId"]))
    searched = _kept(context, collection, request["FaceId"])
    return {
        "SearchedFaceId": request["FaceId"],
        "FaceMatches": face_matches(context, collection, request, searched.embedding, except_key=searched.key),
        "FaceModelVersion": collection.face_model_version,
    }


def search_faces_by_image(context: Context, request: Request) -> Response:
    collection = context.comparable(context.collection(request["CollectionId"]))
    picture = pictures.load(context, request["Image"])
    found = pictures.faces_of(context, picture, context.guard.needed, limit=1)
    largest, _ = pictures.sort_out(picture, found, request.get("QualityFilter", "NONE"))
    if not largest:
        raise InvalidParameterException("There are no faces in the image. Should be at least 1.")
    (probe,) = context.services.vision.faces.embed(picture.pixels, largest)
    detection = largest[0].detection
    return {
        "SearchedFaceBoundingBox": shapes.bounding_box(shapes.ratios(detection.box, picture.size)),
        "SearchedFaceConfidence": detection.confidence,
        "FaceMatches": face_matches(context, collection, request, probe, largest[0]),
        "FaceModelVersion": collection.face_model_version,
    }


def search_users(context: Context, request: Request) -> Response:
    user_id, face_id = request.get("UserId"), request.get("FaceId")
    if (user_id is None) == (face_id is None):
        raise InvalidParameterException("Exactly one of UserId and FaceId must be given.")
    collection = context.comparable(context.collection(request["CollectionId"]))
    if user_id is not None:
        with context.services.database.read() as connection:
            user = users.find(connection, collection.key, user_id)
        if user is None:
            raise ResourceNotFoundException(f"The user id: {user_id} does not exist")
        searched: dict[str, Any] = {"SearchedUser": {"UserId": user_id}}
        probe, except_key = user.embedding, user.key
    else:
        searched = {"SearchedFace": {"FaceId": face_id}}
        probe, except_key = _kept(context, collection, request["FaceId"]).embedding, None
    matches = (
        []  # a user without faces resembles nobody
        if probe is None
        else _user_matches(context, collection, request, probe, except_key=except_key)
    )
    return searched | {"UserMatches": matches, "FaceModelVersion": collection.face_model_version}


def search_users_by_image(context: Context, request: Request) -> Response:
    collection = context.comparable(context.collection(request["CollectionId"]))
    picture = pictures.load(context, request["Image"])
    found = pictures.faces_of(context, picture, context.guard.needed)
    passed, failed = pictures.sort_out(picture, found[:1], request.get("QualityFilter", "NONE"))
    unsearched = [*failed, *((face, ("FACE_NOT_LARGEST",)) for face in found[1:])]
    response: Response = {
        "UserMatches": [],
        "FaceModelVersion": collection.face_model_version,
        "UnsearchedFaces": [
            {
                "FaceDetails": shapes.face_detail(shapes.without(face, context.guard.needed), picture.size),
                "Reasons": list(reasons),
            }
            for face, reasons in unsearched
        ],
    }
    if passed:
        (probe,) = context.services.vision.faces.embed(picture.pixels, passed)
        searched = shapes.without(passed[0], context.guard.needed)
        response["SearchedFace"] = {"FaceDetail": shapes.face_detail(searched, picture.size)}
        response["UserMatches"] = _user_matches(context, collection, request, probe, passed[0])
    return response


def _kept(context: Context, collection: Collection, face_id: str) -> faces.Face:
    """The face of that id in the collection."""
    with context.services.database.at_hand() as connection:
        found = faces.by_face_ids(connection, collection.key, [uuid.UUID(face_id)])
    if not found:
        raise InvalidParameterException("faceId was not found in the collection")
    return found[0]


def face_matches(
    context: Context,
    collection: Collection,
    request: Request,
    probe: NDArray[np.float32],
    face: Face | None = None,
    except_key: int | None = None,
) -> list[dict[str, Any]]:
    """The FaceMatches of a face, by the request's FaceMatchThreshold and MaxFaces."""
    if not context.guard.admit(face, probe):
        return []
    search = partial(context.services.gallery.search_faces, collection, probe)
    threshold, limit = request.get("FaceMatchThreshold", DEFAULT_THRESHOLD), request.get("MaxFaces", MAX_FACES)
    version = shapes.model_number(collection.face_model_version)
    return [
        {"Similarity": similarity, "Face": shapes.face(row) | {"IndexFacesModelVersion": version}}
        for row, similarity in matches(context, search, threshold, limit, except_key)
    ]


def _user_matches(
    context: Context,
    collection: Collection,
    request: Request,
    probe: NDArray[np.float32],
    face: Face | None = None,
    except_key: int | None = None,
) -> list[dict[str, Any]]:
    if not context.guard.admit(face, probe):
        return []
    search = partial(context.services.gallery.search_users, collection, probe)
    threshold, limit = request.get("UserMatchThreshold", DEFAULT_THRESHOLD), request.get("MaxUsers", MAX_USERS)
    return [
        {"Similarity": similarity, "User": {"UserId": row.user_id, "UserStatus": status(row)}}
        for row, similarity in matches(context, search, threshold, limit, except_key)
    ]


def matches(
    context: Context,
    search: Callable[[int, float, Comparison], list[Match[RowT]]],
    threshold: float,
    limit: int,
    except_key: int | None = None,
) -> list[tuple[RowT, float]]:
    """The best matches with their Similarity, without the one that was searched with and those to be withheld."""
    engine = context.services.vision.faces
    threshold = max(threshold, context.guard.floor)
    floor = engine.similarity.score_at(threshold) - ROUNDING
    found = search(limit + (except_key is not None), floor, engine.comparison)
    similarities = shapes.as_sent(engine.similarity.similarity(np.array([match.score for match in found])))
    reached = [
        (match.row, similarity)
        for match, similarity in zip(found, similarities, strict=True)
        if match.row.key != except_key and similarity >= threshold
    ][:limit]
    if not reached:
        return []
    embeddings = np.stack([row.embedding for row, _ in reached if row.embedding is not None])
    return [match for match, may in zip(reached, context.guard.reveal(embeddings), strict=True) if may]
