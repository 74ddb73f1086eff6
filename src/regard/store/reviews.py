"""Queries about human review: what is to be looked over, verdicts, and how reviewers do."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.engine import Connection

from regard.store.tables import flow_definitions, reviews, verdicts


@dataclass(frozen=True, slots=True)
class Flow:
    """A flow definition: when moderation asks people, and how many of them must agree."""

    name: str
    conditions: str
    quorum: int


@dataclass(frozen=True, slots=True)
class Review:
    """A row of `reviews`, without the picture."""

    key: int
    review_id: str
    account_id: str
    access_key_id: str
    kind: str
    operation: str
    resource: str
    rule: str
    mode: str
    quorum: int
    candidates: Sequence[Mapping[str, Any]]
    confirmed: Sequence[str] | None
    created_at: datetime
    decided_at: datetime | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a reviewer said; `given_at` and `chosen` are None while he looks at it."""

    reviewer: str
    begun_at: datetime
    given_at: datetime | None
    chosen: Sequence[str] | None
    note: str | None
    passed_control: bool | None


@dataclass(frozen=True, slots=True)
class Reviewer:
    """How a reviewer does. `agreed` counts reviews where everybody said the same, of the `joint` ones with more than
    one verdict."""

    reviewer: str
    verdicts: int
    controls: int
    controls_passed: int
    joint: int
    agreed: int
    median_seconds: float


_REVIEW = (
    reviews.c.key,
    reviews.c.review_id,
    reviews.c.account_id,
    reviews.c.access_key_id,
    reviews.c.kind,
    reviews.c.operation,
    reviews.c.resource,
    reviews.c.rule,
    reviews.c.mode,
    reviews.c.quorum,
    reviews.c.candidates,
    reviews.c.confirmed,
    reviews.c.created_at,
    reviews.c.decided_at,
)


def _review(row: "sa.Row[*tuple[Any, ...]]") -> Review:
    return Review(*row)


def put_flow(connection: Connection, account_id: str, flow: Flow) -> None:
    values = {"conditions": flow.conditions, "quorum": flow.quorum}
    connection.execute(
        insert(flow_definitions)
        .values(account_id=account_id, name=flow.name, **values)
        .on_conflict_do_update(index_elements=["account_id", "name"], set_=values)
    )


def remove_flow(connection: Connection, account_id: str, name: str) -> bool:
    return connection.execute(sa.delete(flow_definitions).filter_by(account_id=account_id, name=name)).rowcount == 1


def flows(connection: Connection, account_id: str) -> list[Flow]:
    statement = (
        sa.select(flow_definitions.c.name, flow_definitions.c.conditions, flow_definitions.c.quorum)
        .filter_by(account_id=account_id)
        .order_by(flow_definitions.c.name)
    )
    return [Flow(*row) for row in connection.execute(statement)]


def flow(connection: Connection, account_id: str, name: str) -> Flow | None:
    statement = sa.select(flow_definitions.c.name, flow_definitions.c.conditions, flow_definitions.c.quorum)
    row = connection.execute(statement.filter_by(account_id=account_id, name=name)).first()
    return None if row is None else Flow(*row)


def begin(connection: Connection, values: Mapping[str, Any], picture: bytes | None, kept: timedelta) -> Review:
    """A review of a request, or the one that there is of it. `values` are columns of `reviews`."""
    connection.execute(
        sa.update(reviews)
        .where(reviews.c.picture.is_not(None), reviews.c.picture_until < sa.func.now())
        .values(picture=None)
    )
    connection.execute(
        insert(reviews)
        .values(**values, picture=picture, picture_until=sa.func.now() + kept)
        .on_conflict_do_nothing(index_elements=["account_id", "request_digest"])
    )
    statement = sa.select(*_REVIEW).filter_by(account_id=values["account_id"], request_digest=values["request_digest"])
    return _review(connection.execute(statement).one())


def of_request(connection: Connection, account_id: str, request_digest: bytes) -> Review | None:
    statement = sa.select(*_REVIEW).filter_by(account_id=account_id, request_digest=request_digest)
    row = connection.execute(statement).first()
    return None if row is None else _review(row)


def find(connection: Connection, account_id: str, review_id: str, *, lock: bool = False) -> Review | None:
    statement = sa.select(*_REVIEW).filter_by(account_id=account_id, review_id=review_id)
    row = connection.execute(statement.with_for_update() if lock else statement).first()
    return None if row is None else _review(row)


def queue(connection: Connection, account_id: str, reviewer: str, limit: int) -> list[Review]:
    """The oldest open reviews of what others asked for, without those that the reviewer has a verdict on."""
    said = sa.exists().where(
        verdicts.c.review_key == reviews.c.key, verdicts.c.reviewer == reviewer, verdicts.c.given_at.is_not(None)
    )
    statement = (
        sa.select(*_REVIEW)
        .where(
            reviews.c.account_id == account_id,
            reviews.c.decided_at.is_(None),
            reviews.c.access_key_id != reviewer,
            ~said,
        )
        .order_by(reviews.c.key)
        .limit(limit)
    )
    return [_review(row) for row in connection.execute(statement)]


def picture(connection: Connection, review: Review) -> tuple[bytes, bytes] | None:
    """The sealed picture and the request's digest; None if there was none, or it is gone."""
    statement = sa.select(reviews.c.picture, reviews.c.request_digest).where(
        reviews.c.key == review.key, reviews.c.picture.is_not(None), reviews.c.picture_until > sa.func.now()
    )
    row = connection.execute(statement).first()
    return None if row is None else (bytes(row[0]), bytes(row[1]))


def look(connection: Connection, review: Review, reviewer: str) -> None:
    """Note that a reviewer has begun to look; the first time counts."""
    connection.execute(insert(verdicts).values(review_key=review.key, reviewer=reviewer).on_conflict_do_nothing())


def given(connection: Connection, review: Review) -> list[Verdict]:
    """The verdicts on a review, in order of time; those who are still looking come last."""
    columns = (
        verdicts.c.reviewer,
        verdicts.c.begun_at,
        verdicts.c.given_at,
        verdicts.c.chosen,
        verdicts.c.note,
        verdicts.c.passed_control,
    )
    statement = (
        sa.select(*columns).where(verdicts.c.review_key == review.key).order_by(verdicts.c.given_at.nulls_last())
    )
    return [Verdict(*row) for row in connection.execute(statement)]


def give(
    connection: Connection, review: Review, reviewer: str, chosen: Collection[str], note: str, passed: bool | None
) -> None:
    """Keep a verdict of a reviewer who has begun to look."""
    connection.execute(
        sa.update(verdicts)
        .where(verdicts.c.review_key == review.key, verdicts.c.reviewer == reviewer)
        .values(given_at=sa.func.now(), chosen=sorted(chosen), note=note, passed_control=passed)
    )


def decide(connection: Connection, review: Review, confirmed: Collection[str]) -> None:
    """Close a review; its picture has served."""
    connection.execute(
        sa.update(reviews)
        .where(reviews.c.key == review.key)
        .values(confirmed=sorted(confirmed), decided_at=sa.func.now(), picture=None)
    )


def reviewers(connection: Connection, account_id: str) -> list[Reviewer]:
    """How those who have given verdicts do."""
    said = (
        sa.select(verdicts, sa.func.count().over(partition_by=verdicts.c.review_key).label("size"))
        .join(reviews, reviews.c.key == verdicts.c.review_key)
        .where(reviews.c.account_id == account_id, verdicts.c.given_at.is_not(None))
        .subquery()
    )
    other = sa.alias(verdicts)
    same = ~sa.exists().where(
        other.c.review_key == said.c.review_key, other.c.given_at.is_not(None), other.c.chosen != said.c.chosen
    )
    seconds = sa.extract("epoch", said.c.given_at - said.c.begun_at)
    statement = (
        sa.select(
            said.c.reviewer,
            sa.func.count(),
            sa.func.count(said.c.passed_control),
            sa.func.count().filter(said.c.passed_control),
            sa.func.count().filter(said.c.size > 1),
            sa.func.count().filter(said.c.size > 1, same),
            sa.func.percentile_cont(0.5).within_group(seconds),
        )
        .group_by(said.c.reviewer)
        .order_by(said.c.reviewer)
    )
    return [
        Reviewer(row[0], row[1], row[2], row[3], row[4], row[5], float(row[6])) for row in connection.execute(statement)
    ]
