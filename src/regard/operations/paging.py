"""Pages of long lists: NextToken says, unforgeably and for a day, after which row the next page starts."""

import hashlib
import struct
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from cryptography.fernet import InvalidToken

from regard.operations.context import Context, Request
from regard.wire.errors import InvalidPaginationTokenException

TOKEN_LIFETIME_S = 24 * 3600  # as AWS documents for its video tokens
DEFAULT_PAGE = 1000
_FORMAT = struct.Struct(">q16s")  # key of the last row, digest of the list


class _Row(Protocol):
    @property
    def key(self) -> int: ...


RowT = TypeVar("RowT", bound=_Row)


def paginate(
    context: Context,
    request: Request,
    scope: Sequence[str],
    fetch: Callable[[int, int], Sequence[RowT]],
    default: int = DEFAULT_PAGE,
) -> tuple[Sequence[RowT], str | None]:
    """A page of rows and the NextToken, None on the last page.

    `fetch(after, limit)` gives rows in order of their keys; `scope` names the list, so that a token of
    another list is refused.
    """
    size = request.get("MaxResults") or default
    digest = hashlib.blake2b("\0".join([context.principal.account_id, *scope]).encode(), digest_size=16).digest()
    after = _after(context, request.get("NextToken"), digest)
    rows = fetch(after, size + 1)
    if len(rows) <= size:
        return rows, None
    payload = _FORMAT.pack(rows[size - 1].key, digest)
    return rows[:size], context.services.sealer.pages.encrypt(payload).decode()


def _after(context: Context, token: str | None, digest: bytes) -> int:
    if not token:  # official samples send an empty token for the first page
        return 0
    try:
        payload = context.services.sealer.pages.decrypt(token.encode(), ttl=TOKEN_LIFETIME_S)
    except InvalidToken:
        raise InvalidPaginationTokenException from None
    after, scope = _FORMAT.unpack(payload)
    if scope != digest:
        raise InvalidPaginationTokenException
    return int(after)
