"""Users of a collection: people, each with the faces that were associated with them."""

import hashlib
import uuid
from collections.abc import Callable
from functools import wraps
from typing import Any

import orjson
from sqlalchemy.engine import Connection

from regard.operations.context import Context, Handler, Request, Response
from regard.operations.paging import paginate
from regard.operations.shapes import as_sent
from regard.store import faces, tokens, users
from regard.store.collections import Collection
from regard.store.database import raw
from regard.store.users import User
from regard.wire.errors import (
    ConflictException,
    IdempotentParameterMismatchException,
    ResourceNotFoundException,
    ServiceQuotaExceededException,
)

DEFAULT_ASSOCIATION_THRESHOLD = 75.0
MAX_FACES_PER_USER = 100
MAX_USERS_PER_COLLECTION = 20_000_000
DEFAULT_USER_PAGE = 500

_Change = Callable[[Context, Connection, Collection, Request], Response]


def _once(change: _Change) -> Handler:
    """A change of a collection in one transaction, made once per ClientRequestToken."""
    operation = "".join(word.capitalize() for word in change.__name__.split("_"))

    @wraps(change)
    def handler(context: Context, request: Request) -> Response:
        account_id, token = context.principal.account_id, request.get("ClientRequestToken")
        with context.services.database.begin() as connection:
            collection = context.locked(connection, request["CollectionId"])
            if token is not None:
                try:
                    earlier = tokens.claim(connection, account_id, operation, token, _digest(collection, request))
                except tokens.TokenMismatch:
                    raise IdempotentParameterMismatchException(
                        f"The ClientRequestToken: {token} you have supplied is already in use."
                    ) from None
                if earlier is not None:
                    return earlier
            response = change(context, connection, collection, request)
            if token is not None:
                tokens.keep(connection, account_id, operation, token, response)
        return response

    return handler


def _digest(collection: Collection, request: Request) -> bytes:
    """What tells requests apart: all parameters, and which collection of that name it was."""
    parameters = {name: value for name, value in request.items() if name != "ClientRequestToken"}
    parameters["CollectionKey"] = collection.key
    return hashlib.sha256(orjson.dumps(parameters, option=orjson.OPT_SORT_KEYS)).digest()


def _user(connection: Connection, collection: Collection, user_id: str) -> User:
    found = users.find(connection, collection.key, user_id)
    if found is None:
        raise ResourceNotFoundException(f"The user id: {user_id} does not exist")
    return found


def status(user: User) -> str:
    """AWS's UserStatus: ours are never found half-way (CREATING, UPDATING)."""
    return "CREATED" if user.embedding is None else "ACTIVE"


@_once
def create_user(_: Context, connection: Connection, collection: Collection, request: Request) -> Response:
    if collection.user_count >= MAX_USERS_PER_COLLECTION:
        raise ServiceQuotaExceededException(f"A collection holds at most {MAX_USERS_PER_COLLECTION} users.")
    if not users.create(connection, collection, request["UserId"]):
        raise ConflictException(f"The user id: {request['UserId']} already exists")
    return {}


@_once
def delete_user(_: Context, connection: Connection, collection: Collection, request: Request) -> Response:
    users.delete(connection, collection, _user(connection, collection, request["UserId"]))
    return {}


def list_users(context: Context, request: Request) -> Response:
    collection = context.collection(request["CollectionId"])
    with context.services.database.read() as connection:
        rows, token = paginate(
            context,
            request,
            ["ListUsers", request["CollectionId"]],
            lambda after, limit: users.page(connection, collection.key, after, limit),
            DEFAULT_USER_PAGE,
        )
    return {"Users": [{"UserId": row.user_id, "UserStatus": status(row)} for row in rows], "NextToken": token}


@_once
def associate_faces(context: Context, connection: Connection, collection: Collection, request: Request) -> Response:
    context.comparable(collection)
    user = _user(connection, collection, request["UserId"])
    threshold = max(request.get("UserMatchThreshold", DEFAULT_ASSOCIATION_THRESHOLD), context.guard.floor)
    known = _faces(connection, collection, request)
    associated: list[faces.Face] = []
    unsuccessful: list[dict[str, Any]] = []
    for face_id, face in known.items():
        if face is None:
            unsuccessful.append({"FaceId": face_id, "Reasons": ["FACE_NOT_FOUND"]})
        elif face.user_id == user.user_id:
            continue
        elif face.user_id is not None:
            unsuccessful.append(
                {"FaceId": face_id, "UserId": face.user_id, "Reasons": ["ASSOCIATED_TO_A_DIFFERENT_USER"]}
            )
        elif (confidence := _resemblance(context, user, face)) < threshold:
            unsuccessful.append({"FaceId": face_id, "Confidence": confidence, "Reasons": ["LOW_MATCH_CONFIDENCE"]})
        else:
            associated.append(face)
    if associated and users.count_faces(connection, user) + len(associated) > MAX_FACES_PER_USER:
        raise ServiceQuotaExceededException(f"A user has at most {MAX_FACES_PER_USER} faces.")
    users.associate(connection, collection, user, [face.key for face in associated])
    return {
        "AssociatedFaces": [{"FaceId": str(face.face_id)} for face in associated],
        "UnsuccessfulFaceAssociations": unsuccessful,
        "UserStatus": status(_user(connection, collection, user.user_id)),
    }


@_once
def disassociate_faces(_: Context, connection: Connection, collection: Collection, request: Request) -> Response:
    user = _user(connection, collection, request["UserId"])
    disassociated: list[faces.Face] = []
    unsuccessful: list[dict[str, Any]] = []
    for face_id, face in _faces(connection, collection, request).items():
        if face is None:
            unsuccessful.append({"FaceId": face_id, "Reasons": ["FACE_NOT_FOUND"]})
        elif face.user_id is None:
            continue
        elif face.user_id != user.user_id:
            unsuccessful.append(
                {"FaceId": face_id, "UserId": face.user_id, "Reasons": ["ASSOCIATED_TO_A_DIFFERENT_USER"]}
            )
        else:
            disassociated.append(face)
    users.disassociate(connection, collection, user, [face.key for face in disassociated])
    return {
        "DisassociatedFaces": [{"FaceId": str(face.face_id)} for face in disassociated],
        "UnsuccessfulFaceDisassociations": unsuccessful,
        "UserStatus": status(_user(connection, collection, user.user_id)),
    }


def _faces(connection: Connection, collection: Collection, request: Request) -> dict[str, faces.Face | None]:
    """The faces that a request names, in its order, each once; None for those not in the collection."""
    face_ids = list(dict.fromkeys(request["FaceIds"]))
    rows = faces.by_face_ids(raw(connection), collection.key, [uuid.UUID(face_id) for face_id in face_ids])
    known = {str(row.face_id): row for row in rows}
    return {face_id: known.get(face_id) for face_id in face_ids}


def _resemblance(context: Context, user: User, face: faces.Face) -> float:
    """The Similarity of a face to a user's vector; the first face of a user is taken as it is."""
    if user.embedding is None:
        return 100.0
    engine = context.services.vision.faces
    (scores,) = engine.compare(user.embedding[None], face.embedding[None])
    return as_sent(engine.similarity.similarity(scores))[0]
