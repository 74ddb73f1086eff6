"""What a record of the audit log is: facts about one event as canonical JSON, chained by hashes.

The canonical form is that of RFC 8785 for the values that occur here: UTF-8, keys sorted, no space between tokens,
no escape but the necessary ones. A number with a fraction would be written differently by different languages, so
there are none: it is text with up to four decimals ("99.87"). What is unknown is left out rather than null.

    hash of a record = SHA-256(content)      its content has the hash of the record before it as `prev_hash`
    seal of a record = HMAC-SHA256(key from the master key, hash)

Whoever can write to the database but does not hold the master key cannot write a record with a valid seal.
"""

import hmac
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from hashlib import sha256
from typing import Any

import orjson

from regard.store.audit import Head, Record

NO_HASH = bytes(32)  # what the first record has as the hash of the one before it
DECIMALS = 4
MAX_SAFE_INTEGER = 2**53 - 1
MAX_TEXT = 1024  # of a user agent, a reason, a resource: longer ones are cut

_CHAIN = frozenset(("seq", "ts", "prev_hash", "event"))

# Every member that a record may have beside seq, ts, prev_hash and event, and what it says.
MEMBERS: dict[str, str] = {
    "request_id": "the x-amzn-RequestId of the answer",
    "account": "the account of the caller",
    "principal": "the access key that signed, or who ran a command",
    "purpose": "the purpose of the access key",
    "op": "the operation, as AWS names it",
    "resource": "what it was carried out on, such as collection/staff",
    "policies": "the use policies that held, NAME@VERSION, with the SHA-256 of each",
    "models": "the versions of the networks that the operation used",
    "requested": "threshold, maximum, attributes as asked for",
    "effective": "the same as they were applied",
    "input_digest": "keyed digests of the pictures that came in, or of where they lay; never the pictures",
    "result": "how many matches or records, the highest similarity, pseudonyms of faces",
    "subjects": "pseudonyms of the external image ids, users and faces that it concerned",
    "decision": "effect, rule, policy and id of the decision",
    "withheld": "how many matches or faces each rule took out of the response",
    "review": "id, state and verdicts of a review by people",
    "authorisation": "the authorisation record under which it was allowed",
    "client": "address and user agent",
    "error": "the code of the error that was answered",
    "intent": "the seq of the intent that this concludes",
    "count": "how many like events this record stands for",
    "since": "when the first of them was",
    "details": "what else belongs to the event",
}


START = Head(0, NO_HASH, "")


def canonical(value: Any) -> bytes:
    """The one form in which a value is hashed. TypeError or ValueError for what has no such form."""
    return _written(_plain(value))


def _written(plain: Any) -> bytes:
    return orjson.dumps(plain, option=orjson.OPT_SORT_KEYS)  # whose escapes are those of RFC 8785


def _plain(value: Any, reserved: frozenset[str] = frozenset()) -> Any:
    """The value as JSON has it; no member, however deep, may have a `reserved` name."""
    if type(value) is str and value.isascii():  # as most are
        return value
    match value:
        case str():
            # A lone surrogate has no UTF-8.
            return value.encode("utf-8", "replace").decode()
        case None | bool():
            return value
        case int():
            if abs(value) > MAX_SAFE_INTEGER:
                raise ValueError("an integer that JSON readers may round")
            return value
        case float() | Decimal():
            return decimal(value)
        case datetime():
            return timestamp(value)
        case dict() | Mapping():  # a dictionary is told at once
            if reserved & value.keys():
                raise ValueError(f"no member may be called {', '.join(sorted(reserved))}")
            return {_key(key): _plain(member, reserved) for key, member in value.items() if member is not None}
        case list() | tuple():
            return [_plain(member, reserved) for member in value]
        case _:
            raise TypeError(f"{type(value).__name__} has no canonical form")


def _key(key: Any) -> str:
    if not isinstance(key, str) or not key.isascii():
        raise TypeError("a key that is not ASCII text")  # its place would depend on how text is compared
    return key


def decimal(number: float | Decimal) -> str:
    """A number as text: at most four decimals, no exponent, none of the zeros at the end."""
    if not math.isfinite(number):
        raise ValueError("not a number")
    text = f"{number:.{DECIMALS}f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def timestamp(moment: datetime) -> str:
    """A moment in UTC, microseconds always there, so that the order of texts is that of time."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def chained(head: Head, event: str, facts: Mapping[str, Any], ts: str, key: bytes) -> Record:
    """The record that follows `head`, of `checked` facts and a `timestamp`."""
    content = _written(
        {
            **facts,
            "seq": head.seq + 1,
            "ts": ts,
            "prev_hash": head.hash.hex(),
            "event": event,
        }
    )
    hashed = sha256(content).digest()
    return Record(head.seq + 1, content, hashed, hmac.digest(key, hashed, "sha256"))


def checked(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Facts as they are written; ValueError or TypeError for what cannot be, before others wait for the same
    transaction."""
    if unknown := facts.keys() - MEMBERS.keys():
        raise ValueError(f"records have no member {', '.join(sorted(unknown))}")
    plain: dict[str, Any] = _plain(facts, _CHAIN)
    return plain


def facts(content: bytes) -> dict[str, Any]:
    """What a record says."""
    said: dict[str, Any] = orjson.loads(content)
    return said
