"""Faces of a collection: enrolled from pictures, listed, deleted."""

import uuid
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regard.operations import pictures, shapes
from regard.operations.context import Context, Request, Response
from regard.operations.paging import paginate
from regard.operations.pictures import Picture
from regard.store import faces, users
from regard.store.collections import Collection
from regard.store.database import raw
from regard.use import receipts
from regard.vision.faces import Face
from regard.wire.errors import ResourceNotFoundException, ServiceQuotaExceededException

MAX_FACES_PER_IMAGE = 100
MAX_FACES_PER_COLLECTION = 20_000_000  # AWS's hard maximum


def index_faces(context: Context, request: Request) -> Response:
    collection = context.comparable(context.collection(request["CollectionId"]))
    picture = pictures.load(context, request["Image"])
    guard = context.guard
    attributes, landmarks = shapes.wanted(request.get("DetectionAttributes"), guard.withheld)
    found = pictures.faces_of(context, picture, attributes | guard.needed)
    passed, failed = pictures.sort_out(picture, found, request.get("QualityFilter", "AUTO"))
    limit = min(request.get("MaxFaces", MAX_FACES_PER_IMAGE), MAX_FACES_PER_IMAGE)
    chosen, surplus = passed[:limit], passed[limit:]  # faces come largest first
    embeddings = context.services.vision.faces.embed(picture.pixels, chosen)
    allowed = guard.enrol(chosen, embeddings)
    kept = [face for face, may in zip(chosen, allowed, strict=True) if may]
    # AWS has no reason for a face that a rule keeps out.
    refused = [(face, ()) for face, may in zip(chosen, allowed, strict=True) if not may]
    unindexed = [*failed, *refused, *((face, ("EXCEEDS_MAX_FACES",)) for face in surplus)]
    rows = _enrol(context, collection, picture, kept, embeddings[allowed], request.get("ExternalImageId"))
    unasked = guard.needed - attributes
    return {
        "FaceRecords": [
            {
                "Face": shapes.face(row) | {"UserId": None},
                "FaceDetail": shapes.face_detail(shapes.without(face, unasked), picture.size, landmarks),
            }
            for row, face in zip(rows, kept, strict=True)
        ],
        "FaceModelVersion": context.services.vision.faces.model_version,
        "UnindexedFaces": [
            {
                "Reasons": list(reasons),
                "FaceDetail": shapes.face_detail(shapes.without(face, unasked), picture.size, landmarks),
            }
            for face, reasons in unindexed
        ],
    }


def _enrol(
    context: Context,
    found: Collection,
    picture: Picture,
    kept: list[Face],
    embeddings: NDArray[np.float32],
    external: str | None,
) -> list[faces.Face]:
    if not kept:
        return []
    new = new_faces(context.services.vision.faces.model_version, picture, kept, embeddings, external)
    database = context.services.database
    with database.read() as connection:
        rows = faces.add_if_new(connection, found.key, new, MAX_FACES_PER_COLLECTION)
    if rows is not None:
        return rows
    with database.begin() as connection:
        collection = context.locked(connection, found.collection_id)
        context.comparable(collection)  # it may have been deleted and made anew since
        if collection.face_count + len(new) > MAX_FACES_PER_COLLECTION:
            raise ServiceQuotaExceededException(
                f"A collection holds at most {MAX_FACES_PER_COLLECTION} faces: {collection.collection_id} is full."
            )
        return faces.add(connection, collection, new)


def new_faces(
    model_version: str, picture: Picture, kept: list[Face], embeddings: NDArray[np.float32], external: str | None
) -> list[faces.NewFace]:
    """What is to be stored of faces with embeddings [n, d]; the ids follow from picture, place and network, as
    AWS's do."""
    image_id = faces.image_id_of(picture.digest)
    new = []
    for face, embedding in zip(kept, embeddings, strict=True):
        box = face.detection.box
        place = f"{box.left:.0f},{box.top:.0f},{box.width:.0f},{box.height:.0f}"
        face_id = uuid.uuid5(image_id, f"{model_version} {place}")
        new.append(
            faces.NewFace(
                face_id,
                uuid.uuid5(face_id, external or ""),
                image_id,
                external,
                shapes.ratios(box, picture.size),
                face.detection.confidence,
                embedding,
            )
        )
    return new


def list_faces(context: Context, request: Request) -> Response:
    user_id, face_ids = request.get("UserId"), request.get("FaceIds")
    only = None if face_ids is None else {uuid.UUID(face_id) for face_id in face_ids}
    scope = ["ListFaces", request["CollectionId"], user_id or "", *sorted(face_ids or ())]
    collection = context.collection(request["CollectionId"])
    with context.services.database.read() as connection:
        if user_id is not None and users.find(connection, collection.key, user_id) is None:
            raise ResourceNotFoundException(f"The user id: {user_id} does not exist")
        rows, token = paginate(
            context,
            request,
            scope,
            lambda after, limit: faces.page(connection, collection.key, after, limit, user_id=user_id, face_ids=only),
        )
    version = collection.face_model_version
    return {
        "Faces": [shapes.face(row) | {"IndexFacesModelVersion": shapes.model_number(version)} for row in rows],
        "FaceModelVersion": version,
        "NextToken": token,
    }


def delete_faces(context: Context, request: Request) -> Response:
    face_ids = list(dict.fromkeys(request["FaceIds"]))
    deleted: list[str] = []
    unsuccessful: list[dict[str, Any]] = []
    with context.services.database.begin() as connection:
        collection = context.locked(connection, request["CollectionId"])
        rows = faces.by_face_ids(raw(connection), collection.key, [uuid.UUID(face_id) for face_id in face_ids])
        known = {str(row.face_id): row for row in rows}
        for face_id in face_ids:
            row = known.get(face_id)
            if row is None:
                unsuccessful.append({"FaceId": face_id, "Reasons": ["FACE_NOT_FOUND"]})
            elif row.user_id is not None:
                unsuccessful.append(
                    {"FaceId": face_id, "UserId": row.user_id, "Reasons": ["ASSOCIATED_TO_AN_EXISTING_USER"]}
                )
            else:
                deleted.append(face_id)
        faces.delete(connection, collection, [known[face_id].key for face_id in deleted])
        if deleted:
            receipts.give(
                connection,
                context.services.sealer,
                context.principal.account_id,
                receipts.BY_CLIENT,
                collections=[collection.collection_id],
                face_ids=[known[face_id].face_id for face_id in deleted],
            )
    return {"DeletedFaces": deleted, "UnsuccessfulFaceDeletions": unsuccessful}
