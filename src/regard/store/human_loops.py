"""Queries about human loops: results that people are to look over, without their pictures."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.engine import Connection

from regard.store.tables import human_loops


def review_digest(flow_definition_arn: str, name: str) -> bytes:
    """The digest by which the review of a loop is found."""
    return hashlib.sha256(f"{flow_definition_arn}\0{name}".encode()).digest()


class NameTaken(Exception):
    """The flow has a loop of that name for another picture."""


def start(
    connection: Connection,
    account_id: str,
    flow_definition_arn: str,
    name: str,
    image_digest: bytes,
    content_classifiers: Sequence[str],
    labels: Sequence[Mapping[str, Any]],
) -> None:
    """Keep a loop, with the result as it was sent; the first stays if the same picture comes again.

    A second transaction with the same name waits here until the first has ended. Raises `NameTaken`.
    """
    place = {"account_id": account_id, "flow_definition_arn": flow_definition_arn, "name": name}
    connection.execute(
        insert(human_loops)
        .values(**place, image_digest=image_digest, content_classifiers=list(content_classifiers), labels=list(labels))
        .on_conflict_do_nothing()
    )
    kept = connection.execute(sa.select(human_loops.c.image_digest).filter_by(**place)).scalar_one()
    if bytes(kept) != image_digest:
        raise NameTaken
