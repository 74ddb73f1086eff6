"""Tags of resources. Collections are the resources that exist so far."""

import re
from collections.abc import Mapping

from sqlalchemy.engine import Connection

from regard.operations.context import Context, Request, Response
from regard.store import collections, tags
from regard.wire.errors import (
    InvalidParameterException,
    ResourceNotFoundException,
    ServiceQuotaExceededException,
)

MAX_TAGS = 200
_RESERVED_PREFIX = "aws:"


def checked(new: Mapping[str, str]) -> Mapping[str, str]:
    """The tags, none of which uses AWS's reserved prefix."""
    for key in new:
        if key.lower().startswith(_RESERVED_PREFIX):
            raise InvalidParameterException(f"Tag keys must not start with {_RESERVED_PREFIX}: {key}")
    return new


def _resource(context: Context, connection: Connection, arn: str, *, lock: bool = False) -> str:
    """The ARN, of a resource of the caller that exists.

    CreateCollection answers with an ARN that lacks its `arn:`; both spellings are taken here.
    """
    prefix = re.escape(context.arn("collection/").removeprefix("arn:"))
    match = re.fullmatch(rf"(?:arn:)?{prefix}([a-zA-Z0-9_.\-]+)", arn)
    found = match and collections.find(connection, context.principal.account_id, match[1], lock=lock)
    if not found:
        raise ResourceNotFoundException(f"The resource with ARN: {arn} does not exist")
    return context.arn(f"collection/{found.collection_id}")


def tag_resource(context: Context, request: Request) -> Response:
    new = checked(request["Tags"])
    with context.services.database.begin() as connection:
        arn = _resource(context, connection, request["ResourceArn"], lock=True)
        if len(tags.get(connection, arn).keys() | new.keys()) > MAX_TAGS:
            raise ServiceQuotaExceededException(f"A resource has at most {MAX_TAGS} tags.")
        tags.put(connection, arn, new)
    return {}


def untag_resource(context: Context, request: Request) -> Response:
    with context.services.database.begin() as connection:
        arn = _resource(context, connection, request["ResourceArn"])
        tags.remove(connection, arn, request["TagKeys"])
    return {}


def list_tags_for_resource(context: Context, request: Request) -> Response:
    with context.services.database.read() as connection:
        arn = _resource(context, connection, request["ResourceArn"])
        return {"Tags": tags.get(connection, arn)}
