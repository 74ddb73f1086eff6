"""What the audit log says of a request: facts from its parameters, its response and the stages that it passed.

Parameters are taken by name, never as a whole, so that nothing of a person slips in: identifiers become pseudonyms,
pictures keyed digests, free text is left out.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from regard.operations.context import Context, Handler, Request, Response
from regard.use.audit.log import INTENT, OUTCOME, REQUEST, AuditLog
from regard.use.audit.records import MAX_TEXT
from regard.use.chain import Call
from regard.use.decisions import resource
from regard.wire.errors import ServiceError

MAX_NAMED = 256  # pseudonyms in one record; `result.count` says how many there were

_THRESHOLDS = ("SimilarityThreshold", "FaceMatchThreshold", "UserMatchThreshold", "MinConfidence")
_LIMITS = ("MaxFaces", "MaxUsers", "MaxLabels", "MaxResults")
_ATTRIBUTES = ("Attributes", "DetectionAttributes", "FaceAttributes", "Features")
_IMAGES = ("Image", "SourceImage", "TargetImage")
# What a response lists; the first that is there is counted.
_LISTS = (
    "FaceMatches",
    "UserMatches",
    "FaceRecords",
    "CelebrityFaces",
    "FaceDetails",
    "AssociatedFaces",
    "DisassociatedFaces",
    "DeletedFaces",
    "ModerationLabels",
    "Labels",
    "TextDetections",
    "Persons",
    "Celebrities",
    "Segments",
    "Faces",
    "Users",
    "CollectionIds",
)


@contextmanager
def recording(log: AuditLog, call: Call, answered: Callable[[Exception], ServiceError]) -> Iterator[None]:
    """On record before anybody hears of it: the request in the block, with what is `answered` if it raises.

    Raises AuditError where that cannot be written, for what goes unrecorded must not be answered.
    """
    with log.expected():
        try:
            yield
        except Exception as error:
            conclude(log, call, answered(error).code)
            raise
        conclude(log, call)


def announced(log: AuditLog, call: Call, handler: Handler) -> Handler:
    """The handler of an operation that changes something: it runs once its intent is on disk."""

    def run(context: Context, request: Request) -> Response:
        call.facts["intent"] = log.record(INTENT, facts(log, call))
        return handler(context, request)

    return run


def conclude(log: AuditLog, call: Call, error: str | None = None) -> None:
    """Write how a request ended."""
    log.record(OUTCOME if "intent" in call.facts else REQUEST, facts(log, call, error))


def facts(log: AuditLog, call: Call, error: str | None = None) -> dict[str, Any]:
    """What a record says of a call so far. Members that are None are left out."""
    request, response, said = call.request, call.response or {}, call.facts
    call.digests = call.digests or _digests(log, request)
    principal = call.context.principal
    names = _subjects(request, response)
    result = _result(response, said.get("result", {}))
    faces = result.pop("face_ids", [])
    pseudonyms = _pseudonyms(log, call, [*names, *(f"face:{face}" for face in faces)])
    subjects = [pseudonyms[name] for name in names]
    if faces:
        result["face_ids"] = [pseudonyms[f"face:{face}"] for face in faces]
    return {
        "request_id": call.request_id,
        "account": principal.account_id,
        "principal": principal.access_key_id,
        "purpose": said.get("purpose", principal.purpose),
        "op": call.operation,
        "resource": _short(said.get("resource") or resource(call)),
        "policies": said.get("policies") or None,
        "models": _models(response) or None,
        "requested": said.get("requested") or _requested(request) or None,
        "effective": said.get("effective") or None,
        "input_digest": call.digests or None,
        "result": result or None,
        "subjects": subjects or None,
        "decision": said.get("decision"),
        "withheld": said.get("withheld") or None,
        "review": said.get("review"),
        "authorisation": said.get("authorisation_id"),
        "client": {"ip": call.client_ip, "ua": call.user_agent[:MAX_TEXT]},
        "error": error,
        "details": said.get("details") or _job(request, response),
        **({"intent": said["intent"]} if "intent" in said else {}),
    }


def _pseudonyms(log: AuditLog, call: Call, names: list[str]) -> dict[str, str]:
    """The pseudonyms of a call's people, by name."""
    if new := [name for name in names if name not in call.pseudonyms]:
        found = log.pseudonym(call.context.principal.account_id, *new)
        call.pseudonyms.update(zip(new, found, strict=True))
    return call.pseudonyms


def _requested(request: Mapping[str, Any]) -> dict[str, Any]:
    """Threshold, maximum and attributes that were asked for."""
    found = {"threshold": _first(request, _THRESHOLDS), "max": _first(request, _LIMITS)}
    found["attributes"] = _first(request, _ATTRIBUTES)
    return {name: value for name, value in found.items() if value is not None}


def _first(members: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    return next((members[name] for name in names if name in members), None)


def _models(response: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in response.items() if name.endswith("ModelVersion") and value}


def _digests(log: AuditLog, request: Mapping[str, Any]) -> dict[str, str]:
    """What stands for each picture: a digest of its bytes, or of where it lies if it came from a bucket."""
    digests = {}
    for name in _IMAGES:
        image = request.get(name)
        if isinstance(image, Mapping):
            if "Bytes" in image:
                digests[name] = log.digest(bytes(image["Bytes"]))
            elif "S3Object" in image:
                digests[f"{name}.S3Object"] = log.digest(repr(sorted(image["S3Object"].items())).encode())
    return digests


def _result(response: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """How many were found, how similar the best was, and the faces that matched; `given` by a stage counts more."""
    name = next((name for name in _LISTS if isinstance(response.get(name), list)), None)
    if name is None:
        return dict(given)
    found = response[name]
    similarities = [match["Similarity"] for match in found if isinstance(match, Mapping) and "Similarity" in match]
    result: dict[str, Any] = {"count": len(found)}
    if similarities:
        result["top_similarity"] = max(similarities)
    if name == "FaceMatches":
        matched = (match.get("Face", {}).get("FaceId") for match in found[:MAX_NAMED])
        result["face_ids"] = [face for face in matched if face]
    merged = {**result, **given}
    merged["face_ids"] = list(merged.get("face_ids", ()))[:MAX_NAMED]
    return merged if merged["face_ids"] else {key: value for key, value in merged.items() if key != "face_ids"}


def _subjects(request: Mapping[str, Any], response: Mapping[str, Any]) -> list[str]:
    """The identifiers of people that a request names, or that were given to them by it."""
    names = [f"external:{request['ExternalImageId']}"] if request.get("ExternalImageId") else []
    names += [f"user:{request['UserId']}"] if request.get("UserId") else []
    faces = [request["FaceId"]] if isinstance(request.get("FaceId"), str) else []
    faces += request.get("FaceIds") or []
    faces += [record["Face"]["FaceId"] for record in response.get("FaceRecords") or ()]
    names += [f"face:{face}" for face in faces]
    for match in response.get("UserMatches") or ():
        names.append(f"user:{match['User']['UserId']}")
    return list(dict.fromkeys(names))[:MAX_NAMED]


def _job(request: Mapping[str, Any], response: Mapping[str, Any]) -> dict[str, str] | None:
    job = response.get("JobId") or request.get("JobId")
    return {"job": str(job)} if job else None


def _short(text: str) -> str:
    return text[:MAX_TEXT]
