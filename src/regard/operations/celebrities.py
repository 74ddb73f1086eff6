"""RecognizeCelebrities and GetCelebrityInfo, over the people whom the operator has imported.

Regard ships no celebrities. Who is imported, and who must not be named, is the operator's to say, see
`regard.celebrities`.
"""

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regard.operations import pictures, searching, shapes
from regard.operations.context import Context, Request, Response
from regard.store import celebrities
from regard.store.celebrities import Celebrity
from regard.store.collections import Collection
from regard.vision.similarity import at_rate
from regard.wire.errors import ResourceNotFoundException

MAX_FACES = 64
FACE_ATTRIBUTES = frozenset({"EMOTIONS", "SMILE"})  # a ComparedFace's beyond the default ones
# Of strangers, how many may be taken for one of the celebrities, however many there are.
FALSE_POSITIVE_IDENTIFICATION_RATE = 0.01


def recognize_celebrities(context: Context, request: Request) -> Response:
    picture = pictures.load(context, request["Image"])
    found = pictures.faces_of(context, picture, FACE_ATTRIBUTES - context.guard.withheld, limit=MAX_FACES)
    embeddings = context.services.vision.faces.embed(picture.pixels, found)
    recognised, unrecognised = [], []
    for face, match in zip(found, recognise(context, embeddings), strict=True):
        detail = shapes.face_detail(face, picture.size)
        if match is None:
            unrecognised.append(detail)
        else:
            celebrity, similarity = match
            recognised.append(info(celebrity) | {"Id": celebrity.celebrity_id, "Face": detail})
            recognised[-1]["MatchConfidence"] = similarity
    return {"CelebrityFaces": recognised, "UnrecognizedFaces": unrecognised}


def get_celebrity_info(context: Context, request: Request) -> Response:
    with context.services.database.read() as connection:
        found = celebrities.by_ids(connection, [request["Id"]])
    if not found:
        raise ResourceNotFoundException(f"The celebrity id: {request['Id']} does not exist")
    return info(found[request["Id"]])


def info(celebrity: Celebrity) -> dict[str, Any]:
    """What every structure about a celebrity has: Name, Urls and KnownGender."""
    return {
        "Name": celebrity.name,
        "Urls": list(celebrity.urls),
        "KnownGender": {"Type": celebrity.known_gender},
    }


def recognise(context: Context, embeddings: NDArray[np.float32]) -> list[tuple[Celebrity, float] | None]:
    """Who each face is, and the Similarity; None for strangers."""
    collection = comparable(context)
    if collection is None:
        return [None] * len(embeddings)
    threshold = similarity_needed(collection)
    best = []
    for embedding in embeddings:
        search = partial(context.services.gallery.search_users, collection, embedding)
        best.append(next(iter(searching.matches(context, search, threshold, 1)), None))
    with context.services.database.read() as connection:
        known = celebrities.by_ids(connection, {user.user_id for user, _ in filter(None, best)})
    # Who was removed between the two queries is nobody any more.
    return [(known[match[0].user_id], match[1]) if match and match[0].user_id in known else None for match in best]


def comparable(context: Context) -> Collection | None:
    """The collection of their faces, once there is one, if the network that runs now made it."""
    with context.services.database.at_hand() as connection:
        collection = celebrities.gallery(connection)
    return None if collection is None else context.comparable(collection)


def similarity_needed(collection: Collection) -> float:
    """The Similarity from which a face is a celebrity of the collection.

    It stands for a false match rate that leaves `FALSE_POSITIVE_IDENTIFICATION_RATE` to the whole of them,
    so it rises with their number: FPIR ≈ N × FMR (ISO/IEC 19795-1).
    """
    return float(at_rate(FALSE_POSITIVE_IDENTIFICATION_RATE / max(collection.user_count, 1)))
