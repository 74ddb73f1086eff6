"""Spans of the log, read and checked by several processes, because one alone cannot keep all cores busy.

A process checks what can be checked of a span by itself: contents, hashes, seals, and the links between its records.
What is all right it sums up; how spans follow from each other, and whatever is wrong, `verify` sees to.
"""

import hmac
import multiprocessing
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import orjson
import psycopg

from regard.store import audit as stored
from regard.store.audit import Connection
from regard.use.audit import merkle

RECORDS = 32 * merkle.FANOUT
"""In a span: enough that going from process to process costs little."""
_AHEAD = 2  # spans for each process that are made before they are asked for
_PREVIOUS = b'"prev_hash":"'
_HASH_DIGITS = 64
_TS_BYTES = len("2026-01-01T00:00:00.000000Z")

Row = tuple[int, bytes, bytes, bytes]


@dataclass(frozen=True, slots=True)
class Span:
    """Records `first` to `last`; a span begins where a block of the tree does.

    `previous`: the hash that the first says the one before it has (hexadecimal); `hashes`: of each record; `nodes`: of
    each full block; `since`, `until`: the times of the first and the last; `intents`: records that announce or
    conclude a change, with what they say. None of it where `sound` is false."""

    first: int
    last: int
    sound: bool
    previous: bytes = b""
    hashes: tuple[bytes, ...] = ()
    nodes: tuple[bytes, ...] = ()
    since: bytes = b""
    until: bytes = b""
    intents: tuple[tuple[int, dict[str, Any]], ...] = ()


def moment(content: bytes) -> bytes:
    """The time of a record, from its canonical JSON: the last member, but for a value that only looks like it."""
    at = content.rfind(b'"ts":"') + 6
    return content[at : at + _TS_BYTES]


def link(content: bytes) -> bytes:
    """The hash that a record says the one before it has, as hexadecimal text; found as quickly as `moment`."""
    at = content.find(_PREVIOUS) + len(_PREVIOUS)
    return content[at : at + _HASH_DIGITS]


def is_sound(row: Row, seals: hmac.HMAC, seq: int, previous: bytes) -> bool:
    """Whether a record is number `seq`, has its hash and its seal, and follows from the one with the hash `previous`
    (hexadecimal). `seals` is an HMAC with the key of the seals that has been given nothing yet.

    Records are canonical JSON and no member inside another has the name of one of the chain's, so what links a
    record to the one before it can be looked for in its bytes.
    """
    number, content, hashed, seal = row
    sealed = seals.copy()
    sealed.update(hashed)
    return (
        number == seq
        and sha256(content).digest() == hashed
        and sealed.digest() == seal
        and link(content) == previous
        and b'"seq":%d,' % seq in content
    )


def said_of_intent(content: bytes) -> dict[str, Any] | None:
    """What a record says, if it may announce or conclude a change."""
    if b'"intent"' not in content:
        return None
    said: dict[str, Any] = orjson.loads(content)
    return said


def span(connection: Connection, seal_key: bytes, first: int, last: int) -> Span:
    """The records `first` to `last`, checked by themselves."""
    hashes: list[bytes] = []
    intents: list[tuple[int, dict[str, Any]]] = []
    seals = hmac.new(seal_key, digestmod="sha256")
    previous, claimed, since, until = b"", b"", b"", b""
    rows = stored.raw_rows(connection, first, last)
    for seq, row in enumerate(rows, first):
        fields = stored.fields(row, seq)
        if fields is None:
            break
        content, hashed, seal = fields
        if seq == first:
            previous = claimed = link(content)
        now = moment(content)
        if not is_sound((seq, content, hashed, seal), seals, seq, previous) or now < until:
            break
        if (said := said_of_intent(content)) is not None:
            intents.append((seq, {name: said[name] for name in ("event", "intent") if name in said}))
        hashes.append(hashed)
        since, until, previous = since or now, now, hashed.hex().encode()
    deque(rows, maxlen=0)  # to leave off in the middle would break off the transaction
    if len(hashes) != last - first + 1:
        return Span(first, last, sound=False)
    blocks = range(0, len(hashes) - merkle.FANOUT + 1, merkle.FANOUT)
    nodes = tuple(merkle.fold([merkle.leaf(one) for one in hashes[at : at + merkle.FANOUT]]) for at in blocks)
    return Span(first, last, True, claimed, tuple(hashes), nodes, since, until, tuple(intents))


# Of a process that checks spans.
_mine: dict[str, Any] = {}


def _begin(conninfo: str, seal_key: bytes) -> None:
    _mine["connection"] = psycopg.connect(conninfo, autocommit=True)
    _mine["key"] = seal_key


def _check(first: int, last: int) -> Span:
    return span(_mine["connection"], _mine["key"], first, last)


@contextmanager
def shared(conninfo: str, seal_key: bytes, total: int, processes: int) -> Iterator[Iterator[Span]]:
    """The spans of the first `total` records in order, checked by so many processes; `conninfo` is the database's."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, context, _begin, (conninfo, seal_key)) as pool:

        def spans() -> Iterator[Span]:
            bounds = ((first, min(first + RECORDS - 1, total)) for first in range(1, total + 1, RECORDS))
            under_way = []
            for first, last in bounds:
                under_way.append(pool.submit(_check, first, last))
                if len(under_way) > _AHEAD * processes:
                    yield under_way.pop(0).result()
            while under_way:
                yield under_way.pop(0).result()

        yield spans()
