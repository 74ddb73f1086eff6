"""People look over what the software found: matches that are withheld or marked, verdicts, and who gives them.

A match becomes one when `quorum` reviewers, none of whom asked for it, have each picked it without knowing what the
others said or how alike the software found the faces. Some reviews have a face of somebody else among their
candidates; who picks it has failed a control. The same request, repeated, finds its review and its outcome.
"""

import base64
import hashlib
import hmac
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray
from sqlalchemy.engine import Connection

from regard.operations import pictures
from regard.operations.human_review import Question, begin, picture_context
from regard.store import collections, faces, reviews
from regard.store.database import raw
from regard.store.reviews import Review, Verdict
from regard.use import asked
from regard.use.book import Held
from regard.use.chain import Call
from regard.use.matches import MATCHES, holders
from regard.use.policy import Review as ReviewRule
from regard.use.seal import Sealer

REVIEW_HEADER = "x-regard-review-id"
STATE_HEADER = "x-regard-review-state"
OPEN, DECIDED = "open", "decided"
MAX_NOTE = 2000
_HEADED = 10  # of the reviews of a page of a video's matches, those that the header names

Match = dict[str, Any]


class ReviewError(Exception):
    """A verdict that cannot be taken; the text says why."""


@dataclass(frozen=True, slots=True)
class Reviewing:
    """The rules that ask for a call's review, the strictest of each: what withholds goes before what marks."""

    held: Held
    rule: ReviewRule
    quorum: int

    @classmethod
    def of(cls, call: Call) -> "Reviewing | None":
        if call.rules is None:
            return None
        found = call.rules.of(ReviewRule, asked.ASKED_BY.get(call.operation, call.operation))
        if not found:
            return None
        held, rule = max(found, key=lambda pair: (pair[1].mode == "withhold", pair[1].quorum))
        return cls(held, rule, max(rule.quorum for _, rule in found))


class ReviewedMatches:
    """The stage that withholds matches until people have verified them."""

    def before(self, call: Call) -> None:
        pass

    def after(self, call: Call) -> None:
        reviewing = Reviewing.of(call)
        if reviewing is None:
            return
        groups = list(_groups(call))
        if not groups:
            return
        begun = [_review(call, reviewing, group) for group in groups]
        if reviewing.rule.mode == "withhold":
            confirmed = {identity for review in begun for identity in review.confirmed or ()}
            for holder in holders(call.response or {}):
                _keep(holder, confirmed)
        state = DECIDED if all(review.decided_at for review in begun) else OPEN
        call.headers[REVIEW_HEADER] = ",".join(review.review_id for review in begun[:_HEADED])
        call.headers[STATE_HEADER] = state
        call.facts["review"] = {
            "ids": [review.review_id for review in begun],
            "rule": f"{reviewing.held.name} {reviewing.rule.id}",
            "mode": reviewing.rule.mode,
            "state": state,
        }


def _keep(holder: dict[str, Any], confirmed: set[str]) -> None:
    for name in MATCHES:
        if holder.get(name):
            holder[name] = [match for match in holder[name] if _identity(match) in confirmed]


def _identity(match: Match) -> str:
    """The FaceId or UserId of a match."""
    return str(match["Face"]["FaceId"] if "Face" in match else match["User"]["UserId"])


def _groups(call: Call) -> Iterator[Sequence[Match]]:
    """The matches that are one question: all those of a picture, but of a video each face for itself, because what
    stands on a page is the client's choice."""
    response = call.response or {}
    seen: dict[str, Match] = {}
    for person in response.get("Persons") or ():
        for match in person.get("FaceMatches") or ():
            seen.setdefault(_identity(match), match)
    yield from ([match] for match in seen.values())
    of_picture = [match for name in MATCHES for match in response.get(name) or ()]
    if of_picture:
        yield of_picture


def _review(call: Call, reviewing: Reviewing, group: Sequence[Match]) -> Review:
    services = call.context.services
    digest = _digest(call, [_identity(match) for match in group])
    with services.database.begin() as connection:
        kept = reviews.of_request(connection, call.context.principal.account_id, digest)
        if kept is not None:
            return kept
        candidates = [_candidate(match) for match in group]
        if random.uniform(0, 100) < reviewing.rule.controls:  # noqa: S311 - nobody gains by guessing
            candidates += _control(call, connection, candidates)
        question = Question(
            "matches",
            call.operation,
            str(call.facts.get("resource", "*")),
            f"{reviewing.held.name} {reviewing.rule.id}",
            reviewing.rule.mode,
            reviewing.quorum,
            digest,
            candidates,
        )
        beginner = None if call.begun is None else call.begun.principal.access_key_id
        return begin(call.context, connection, question, _pixels(call), asked_by=beginner)


def _candidate(match: Match) -> dict[str, Any]:
    shown = match.get("Face") or match["User"]
    named = {name: shown[name] for name in ("FaceId", "ExternalImageId", "UserId") if shown.get(name)}
    return {"id": _identity(match), "Similarity": match["Similarity"], **named}


def _control(call: Call, connection: Connection, candidates: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A face of the collection under another name than any candidate's; none where there is none."""
    collection_id = call.collection_id
    found = (
        None
        if collection_id is None
        else collections.find(raw(connection), call.context.principal.account_id, collection_id)
    )
    names = {str(candidate["ExternalImageId"]) for candidate in candidates if "ExternalImageId" in candidate}
    if found is None or not names:
        return []
    near = random.randint(1, faces.last_key(connection, found.key) or 1)  # noqa: S311
    face = faces.another(connection, found.key, near, names) or faces.another(connection, found.key, 0, names)
    if face is None:
        return []
    identity = str(face.face_id)
    return [{"id": identity, "FaceId": identity, "ExternalImageId": face.external_image_id, "control": True}]


def _pixels(call: Call) -> NDArray[np.uint8] | None:
    image = call.request.get("Image")
    return None if image is None else pictures.load(call.context, image).pixels


def _digest(call: Call, identities: Sequence[str]) -> bytes:
    """What is the same for the same question: the request with its picture's digest, and the candidates."""
    request = {name: value for name, value in call.request.items() if name not in ("MaxResults", "NextToken", "SortBy")}
    image = request.get("Image")
    if image is not None and "Bytes" in image:
        request["Image"] = hashlib.sha256(image["Bytes"]).hexdigest()
    elif image is not None:
        place = image["S3Object"]
        tag = call.context.services.objects.head(place["Bucket"], place["Name"], place.get("Version")).version_tag
        request["Image"] = {**place, "tag": tag}
    asked_for = orjson.dumps([call.operation, request, sorted(identities)], option=orjson.OPT_SORT_KEYS)
    return hmac.new(call.context.services.sealer.key("reviews"), asked_for, hashlib.sha256).digest()


def shown(review: Review, verdicts: Sequence[Verdict], reviewer: str) -> dict[str, Any]:
    """A review as a reviewer sees it: candidates in an order of his own, and what the software and others think only
    once he has said what he thinks."""
    mine = next((verdict for verdict in verdicts if verdict.reviewer == reviewer), None)
    independent = mine is None or mine.given_at is None
    order = random.Random(f"{review.review_id} {reviewer}")  # noqa: S311
    candidates = [
        {name: value for name, value in candidate.items() if name != "control" and not _told(name, independent)}
        for candidate in order.sample(list(review.candidates), len(review.candidates))
    ]
    said = [verdict for verdict in verdicts if verdict.given_at is not None]
    view: dict[str, Any] = {
        "ReviewId": review.review_id,
        "Kind": review.kind,
        "Operation": review.operation,
        "Resource": review.resource,
        "Rule": review.rule,
        "Quorum": review.quorum,
        "Verdicts": len(said),
        "Created": review.created_at.isoformat(),
        "Decided": review.decided_at.isoformat() if review.decided_at else None,
        "Candidates": candidates,
    }
    if not independent:
        view["Said"] = [
            {"Reviewer": verdict.reviewer, "Chosen": verdict.chosen, "Note": verdict.note} for verdict in said
        ]
        view["Confirmed"] = review.confirmed
    return view


def _told(name: str, independent: bool) -> bool:
    return independent and name in ("Similarity", "Confidence")


def judge(
    connection: Connection, account_id: str, review_id: str, reviewer: str, chosen: Sequence[str], note: str
) -> Review:
    """Take a reviewer's verdict: the ids of the candidates that he finds right, maybe none; the last one decides.

    Raises ReviewError for whoever asked, for a second verdict and for what is no candidate.
    """
    review = reviews.find(connection, account_id, review_id, lock=True)
    if review is None:
        raise ReviewError(f"there is no review {review_id}")
    if reviewer == review.access_key_id:
        raise ReviewError("whoever asked may not review")
    if review.decided_at is not None:
        raise ReviewError("the review has been decided")
    if unknown := set(chosen) - {candidate["id"] for candidate in review.candidates}:
        raise ReviewError(f"{', '.join(sorted(unknown))}: not among the candidates")
    if len(note) > MAX_NOTE:
        raise ReviewError(f"a note has at most {MAX_NOTE} characters")
    reviews.look(connection, review, reviewer)
    verdicts = reviews.given(connection, review)
    if any(verdict.reviewer == reviewer and verdict.given_at is not None for verdict in verdicts):
        raise ReviewError("you have given your verdict")
    controls = {candidate["id"] for candidate in review.candidates if candidate.get("control")}
    reviews.give(connection, review, reviewer, chosen, note, not controls & set(chosen) if controls else None)
    opinions = [set(verdict.chosen or ()) for verdict in verdicts if verdict.given_at is not None] + [set(chosen)]
    if len(opinions) >= review.quorum:
        reviews.decide(connection, review, set.intersection(*opinions) - controls)
    return reviews.find(connection, account_id, review_id) or review


def picture(connection: Connection, sealer: Sealer, review: Review) -> bytes | None:
    """The JPEG that is reviewed; None if there is none any more."""
    found = reviews.picture(connection, review)
    if found is None:
        return None
    sealed, digest = found
    return base64.b64decode(sealer.unseal(sealed, picture_context(review.account_id, digest)))
