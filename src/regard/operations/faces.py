"""DetectFaces and CompareFaces: faces in pictures, nothing kept."""

from regard.gallery.gallery import cosine
from regard.operations import pictures, shapes
from regard.operations.context import Context, Request, Response
from regard.wire.errors import InvalidParameterException

DEFAULT_SIMILARITY_THRESHOLD = 80.0


def detect_faces(context: Context, request: Request) -> Response:
    picture = pictures.load(context, request["Image"])
    attributes, landmarks = shapes.wanted(request.get("Attributes"))
    faces = pictures.faces_of(context, picture, attributes)
    return {"FaceDetails": [shapes.face_detail(face, picture.size, landmarks) for face in faces]}


def compare_faces(context: Context, request: Request) -> Response:
    threshold = request.get("SimilarityThreshold", DEFAULT_SIMILARITY_THRESHOLD)
    quality = request.get("QualityFilter", "NONE")
    source, target = (pictures.load(context, request[name]) for name in ("SourceImage", "TargetImage"))
    sources, targets = (
        pictures.sort_out(picture, pictures.faces_of(context, picture), quality)[0] for picture in (source, target)
    )
    if not sources or not targets:
        raise InvalidParameterException("Request has invalid parameters")
    engine = context.services.faces
    (probe,) = engine.embed(source.pixels, sources[:1])
    similarities = engine.similarity.similarity(cosine(engine.embed(target.pixels, targets), probe))
    compared = sorted(zip(similarities.tolist(), targets, strict=True), key=lambda pair: -pair[0])
    return {
        "SourceImageFace": {
            "BoundingBox": shapes.bounding_box(shapes.ratios(sources[0].detection.box, source.size)),
            "Confidence": sources[0].detection.confidence,
        },
        "FaceMatches": [
            {"Similarity": similarity, "Face": shapes.face_detail(face, target.size)}
            for similarity, face in compared
            if similarity >= threshold
        ],
        "UnmatchedFaces": [
            shapes.face_detail(face, target.size) for similarity, face in compared if similarity < threshold
        ],
    }
