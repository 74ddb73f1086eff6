"""Where reviewers work: the queue, a review with its picture, and their verdict, at `/-/reviews`."""

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict
from starlette.responses import Response
from starlette.routing import Route

from regard.store import reviews
from regard.store.reviews import Review
from regard.use import review as rules
from regard.use.control import Asked, Door, NothingThere, endpoint

QUEUE_PAGE = 100
ACTION = "regard:Review"
VERDICT = "verdict"  # the event of the audit log


class _Verdict(BaseModel):
    model_config = ConfigDict(extra="forbid")

    chosen: Sequence[str]
    note: str = ""


def routes(door: Door) -> list[Route]:
    """The addresses for reviewers."""
    return [
        Route("/-/reviews", endpoint(door, ACTION, _queue)),
        Route("/-/reviews/{review_id}", endpoint(door, ACTION, _look)),
        Route("/-/reviews/{review_id}/picture", endpoint(door, ACTION, _picture)),
        Route("/-/reviews/{review_id}/verdict", endpoint(door, ACTION, _judge, rules.ReviewError), methods=["POST"]),
    ]


def _queue(asked: Asked) -> Any:
    """The open reviews that the reviewer may take part in, the oldest first."""
    reviewer = asked.principal.access_key_id
    with asked.services.database.read() as connection:
        found = reviews.queue(connection, asked.principal.account_id, reviewer, QUEUE_PAGE)
    return {
        "Reviews": [
            {
                "ReviewId": review.review_id,
                "Kind": review.kind,
                "Operation": review.operation,
                "Resource": review.resource,
                "Rule": review.rule,
                "Created": review.created_at.isoformat(),
            }
            for review in found
        ]
    }


def _look(asked: Asked) -> Any:
    reviewer = asked.principal.access_key_id
    with asked.services.database.begin() as connection:
        review = _find(connection, asked)
        if review.decided_at is None and reviewer != review.access_key_id:
            reviews.look(connection, review, reviewer)
        return rules.shown(review, reviews.given(connection, review), reviewer)


def _picture(asked: Asked) -> Any:
    with asked.services.database.read() as connection:
        found = rules.picture(connection, asked.services.sealer, _find(connection, asked))
    if found is None:
        raise NothingThere("There is no picture to this review, or it is gone.")
    return Response(found, media_type="image/jpeg", headers={"Cache-Control": "no-store"})


def _judge(asked: Asked) -> Any:
    verdict = _Verdict.model_validate_json(asked.body)
    principal = asked.principal
    with asked.services.database.begin() as connection:
        _find(connection, asked)
        review = rules.judge(
            connection,
            principal.account_id,
            asked.parameters["review_id"],
            principal.access_key_id,
            verdict.chosen,
            verdict.note,
        )
        asked.services.audit.write(
            connection,
            VERDICT,
            account=principal.account_id,
            principal=principal.access_key_id,
            op=review.operation,
            review={
                "id": review.review_id,
                "verdict": "confirmed" if verdict.chosen else "rejected",
                "state": "decided" if review.decided_at else "open",
            },
        )
    with asked.services.database.read() as connection:
        return rules.shown(review, reviews.given(connection, review), principal.access_key_id)


def _find(connection: Any, asked: Asked) -> Review:
    review = reviews.find(connection, asked.principal.account_id, asked.parameters["review_id"])
    if review is None:
        raise NothingThere(f"There is no review {asked.parameters['review_id']}.")
    return review
