"""DetectFaces and CompareFaces: faces in pictures, nothing kept."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from regard.operations import pictures, shapes
from regard.operations.context import Context, Request, Response
from regard.wire.errors import InvalidParameterException

DEFAULT_SIMILARITY_THRESHOLD = 80.0
NO_FACES = "Request has invalid parameters"  # AWS's whole text for a picture without a face


def detect_faces(context: Context, request: Request) -> Response:
    picture = pictures.load(context, request["Image"])
    attributes, landmarks = shapes.wanted(request.get("Attributes"), context.guard.withheld)
    faces = pictures.faces_of(context, picture, attributes)
    return {"FaceDetails": [shapes.face_detail(face, picture.size, landmarks) for face in faces]}


def compare_faces(context: Context, request: Request) -> Response:
    threshold = max(request.get("SimilarityThreshold", DEFAULT_SIMILARITY_THRESHOLD), context.guard.floor)
    quality = request.get("QualityFilter", "NONE")
    source_face, probe = _source(context, request["SourceImage"], quality)
    target = pictures.load(context, request["TargetImage"])
    targets, _ = pictures.sort_out(target, pictures.faces_of(context, target), quality)
    if not targets:
        raise InvalidParameterException(NO_FACES)
    engine = context.services.vision.faces
    (scores,) = engine.compare(probe[None], engine.embed(target.pixels, targets))
    similarities = engine.similarity.similarity(scores)
    compared = sorted(zip(shapes.as_sent(similarities), targets, strict=True), key=lambda pair: -pair[0])
    return {
        "SourceImageFace": source_face,
        "FaceMatches": [
            {"Similarity": similarity, "Face": shapes.face_detail(face, target.size)}
            for similarity, face in compared
            if similarity >= threshold
        ],
        "UnmatchedFaces": [
            shapes.face_detail(face, target.size) for similarity, face in compared if similarity < threshold
        ],
    }


def _source(context: Context, image: dict[str, Any], quality: str) -> tuple[dict[str, Any], NDArray[np.float32]]:
    """The largest face of the source, as the response shows it, and its embedding.

    The picture is let go before the target is read: two large ones at once could wait for each other's memory.
    """
    picture = pictures.load(context, image)
    found, _ = pictures.sort_out(picture, pictures.faces_of(context, picture, limit=1), quality)
    if not found:
        raise InvalidParameterException(NO_FACES)
    (probe,) = context.services.vision.faces.embed(picture.pixels, found)
    detection = found[0].detection
    box = shapes.bounding_box(shapes.ratios(detection.box, picture.size))
    return {"BoundingBox": box, "Confidence": detection.confidence}, probe
