"""Tags of resources. Collections are the resources that exist so far."""

import re
from collections.abc import Callable, Mapping
from functools import partial

from regard.operations.context import Context, Request, Response
from regard.store import collections, tags
from regard.store.collections import Collection
from regard.store.database import raw
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


def _resource(context: Context, find: Callable[[str, str], Collection | None], arn: str) -> str:
    """The ARN, of a resource of the caller that exists by what `find` says of an account's collection.

    CreateCollection answers with an ARN that lacks its `arn:`; both spellings are taken here.
    """
    prefix = re.escape(context.arn("collection/").removeprefix("arn:"))
    match = re.fullmatch(rf"(?:arn:)?{prefix}([a-zA-Z0-9_.\-]+)", arn)
    found = match and find(context.principal.account_id, match[1])
    if not found:
        raise ResourceNotFoundException(f"The resource with ARN: {arn} does not exist")
    return context.arn(f"collection/{found.collection_id}")


def tag_resource(context: Context, request: Request) -> Response:
    new = checked(request["Tags"])
    with context.services.database.begin() as connection:
        arn = _resource(context, partial(collections.lock, connection), request["ResourceArn"])
        if len(tags.get(connection, arn).keys() | new.keys()) > MAX_TAGS:
            raise ServiceQuotaExceededException(f"A resource has at most {MAX_TAGS} tags.")
        tags.put(connection, arn, new)
    return {}


def untag_resource(context: Context, request: Request) -> Response:
    with context.services.database.begin() as connection:
        arn = _resource(context, partial(collections.find, raw(connection)), request["ResourceArn"])
        tags.remove(connection, arn, request["TagKeys"])
    return {}


def list_tags_for_resource(context: Context, request: Request) -> Response:
    with context.services.database.read() as connection:
        arn = _resource(context, partial(collections.find, raw(connection)), request["ResourceArn"])
        return {"Tags": tags.get(connection, arn)}
