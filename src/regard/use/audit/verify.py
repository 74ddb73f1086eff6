"""Verifying the whole log: every record, every link, every kept hash, every checkpoint.

Who changes a record gives it away: its content no longer has its hash, or its hash not its seal, which takes the
master key. Who has the master key, too, can write a record anew, but then the next one follows from another; who
writes all that follow anew meets the checkpoints; and who signs those anew meets the copies that were pinned
elsewhere. What is cut off at the end is missed by a checkpoint that stands for more.
"""

import hmac
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import orjson

from regard.store import audit as stored
from regard.store.audit import Connection
from regard.use.audit import merkle
from regard.use.audit.checkpoints import Checkpoint, NoteError, Verifier, opened
from regard.use.audit.log import INTENT
from regard.use.audit.records import NO_HASH
from regard.use.audit.spans import RECORDS, Row, Span, is_sound, moment, said_of_intent

SHARED = 200_000  # records from which on it pays to start processes
MAX_FINDINGS = 100  # told one by one; a log that was overwritten has as many as records


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it was written. `seq`: the record, or None where no single one can be named."""

    seq: int | None
    text: str

    def __str__(self) -> str:
        return self.text if self.seq is None else f"record {self.seq} {self.text}"


@dataclass(slots=True)
class Verdict:
    """What verifying found. `covered`: how many records the largest good checkpoint stands for."""

    records: int = 0
    checkpoints: int = 0
    covered: int = 0
    pinned: int = 0
    unfinished: int = 0
    findings: list[Finding] = field(default_factory=list)

    @property
    def good(self) -> bool:
        return not self.findings

    def add(self, seq: int | None, text: str) -> None:
        named = seq is not None and any(finding.seq == seq for finding in self.findings)
        if not named and len(self.findings) < MAX_FINDINGS:
            self.findings.append(Finding(seq, text))


_KEPT = {merkle.FANOUT**level: level for level in range(1, 8)}

Share = Callable[[int], AbstractContextManager[Iterator[Span]]]
"""Gives the spans of so many records, checked by other processes: see `spans.shared`."""


def verify(
    connection: Connection,
    seal_key: bytes,
    verifier: Verifier,
    pins: Sequence[str] = (),
    passed: Callable[[int, int], None] = lambda _done, _total: None,
    share: Share | None = None,
) -> Verdict:
    """Read the log from end to end. `pins` are signed notes from outside.

    `passed` is told how many records have been gone through, of how many. `connection` should be a transaction that
    sees one state of the database. With `share`, processes help where the log is long.
    """
    verdict = Verdict()
    claims = _claims(connection, verifier, pins, verdict)
    total = stored.size(connection)
    walk = _Walk(verdict, seal_key, claims)
    with share(total) if share is not None and total >= SHARED else nullcontext(_whole(total)) as spans:
        for span in spans:
            if not walk.pass_span(span):
                for row in stored.stream(connection, span.first, span.last):
                    walk.pass_(row)
            passed(span.last, total)
    walk.end()
    verdict.records = walk.expected - 1
    _check_nodes(walk.nodes, stored.every_node(connection), verdict)
    for size in sorted(claims):
        if size > verdict.records:
            verdict.add(verdict.records + 1, f"and all up to {size} are missing: the log was cut off at its end")
            break
    pending = set(stored.pending_intents(connection))
    for seq in sorted(walk.intents - pending):
        verdict.add(seq, "announced a change, and no record says how that ended")
    verdict.unfinished = len(walk.intents & pending)
    if verdict.good:
        verdict.covered = max(claims, default=0)
    return verdict


def _whole(total: int) -> Iterator[Span]:
    """All records in spans that nobody has looked at."""
    for first in range(1, total + 1, RECORDS):
        yield Span(first, min(first + RECORDS - 1, total), sound=False)


def _claims(
    connection: Connection, verifier: Verifier, pins: Sequence[str], verdict: Verdict
) -> dict[int, list[Checkpoint]]:
    """What was signed about the log, by size."""
    claims: dict[int, list[Checkpoint]] = {}
    for kept in stored.checkpoints(connection):
        try:
            checkpoint = opened(kept.note, verifier)
        except NoteError as error:
            verdict.add(None, f"the checkpoint of {kept.size} records cannot be used: {error}")
            continue
        if checkpoint.size != kept.size:
            verdict.add(None, f"the checkpoint of {kept.size} records is one of {checkpoint.size}")
        claims.setdefault(checkpoint.size, []).append(checkpoint)
        verdict.checkpoints += 1
    for note in pins:
        checkpoint = opened(note, verifier)
        claims.setdefault(checkpoint.size, []).append(checkpoint)
        verdict.pinned = max(verdict.pinned, checkpoint.size)
    return claims


class _Walk:
    """Goes along the chain, record by record; what does not pass at a glance is read in full."""

    def __init__(self, verdict: Verdict, seal_key: bytes, claims: dict[int, list[Checkpoint]]) -> None:
        self.expected = 1
        self.intents: set[int] = set()
        self.nodes: dict[tuple[int, int], bytes] = {}
        self._verdict, self._seal_key, self._claims = verdict, seal_key, claims
        self._seals = hmac.new(seal_key, digestmod="sha256")
        self._claimed = {(size - 1) // merkle.FANOUT for size in claims}  # blocks that a checkpoint ends in
        self._previous, self._previous_good = NO_HASH, True
        self._ts = b""
        self._signed = 0  # how many records the last checkpoint on the way stands for
        self._suspect: int | None = None  # does not follow from the one before it: either of both was changed
        self._tree = merkle.Growing()
        self._block: list[bytes] = []

    def pass_(self, row: Row) -> None:
        seq, content, hashed, _ = row
        ts = moment(content)
        if self._undoubted and self._is_sound(row) and ts >= self._ts:
            if (said := said_of_intent(content)) is not None:
                self._follow_intent(seq, said)
            self._previous, self._ts, self.expected = hashed, ts, seq + 1
            self._grow(seq, hashed, merkle.leaf(hashed))
        else:
            self._scrutinise(row)

    def pass_span(self, span: Span) -> bool:
        """Whether a span is sound and follows from what came before; else its records are to be passed one by one."""
        follows = span.first == self.expected and span.previous == self._link and span.since >= self._ts
        if not (span.sound and follows and self._undoubted):
            return False
        for seq, said in span.intents:
            self._follow_intent(seq, said)
        for at in range(0, len(span.hashes), merkle.FANOUT):
            self._pass_block(span, at)
        self._previous, self._ts, self.expected = span.hashes[-1], span.until, span.last + 1
        return True

    def _pass_block(self, span: Span, at: int) -> None:
        """Let the tree grow by the records of a span from the place `at` on: by all at once where that will do."""
        seq, block = span.first + at, at // merkle.FANOUT
        if block < len(span.nodes) and not self._block and (seq - 1) // merkle.FANOUT not in self._claimed:
            self._fill(span.nodes[block])
            return
        for number, hashed in enumerate(span.hashes[at : at + merkle.FANOUT], seq):
            self._grow(number, hashed, merkle.leaf(hashed))

    def _is_sound(self, row: Row) -> bool:
        return is_sound(row, self._seals, self.expected, self._link)

    @property
    def _link(self) -> bytes:
        """What the next record must have as the hash of the one before it."""
        return self._previous.hex().encode()

    @property
    def _undoubted(self) -> bool:
        return self._previous_good and self._suspect is None

    def _follow_intent(self, seq: int, said: dict[str, Any]) -> None:
        if said.get("event") == INTENT:
            self.intents.add(seq)
        elif "intent" in said:
            self.intents.discard(said["intent"])

    def _scrutinise(self, row: Row) -> None:
        """What is wrong with a record that something is wrong with, or before it."""
        seq, content, hashed, seal = row
        said, wrong = self._read(seq, content, hashed, seal)
        if seq != self.expected:
            gap = f"and all up to {seq - 1} are" if seq - 1 > self.expected else "is"
            self._verdict.add(self.expected, f"{gap} missing")
            self._previous_good = False  # the next one follows from what is gone
        follows = said.get("prev_hash") == self._previous.hex()
        self._judge(seq, said, wrong, follows)
        self._previous, self._previous_good = hashed, not wrong
        self._ts = str(said.get("ts", "")).encode() or self._ts
        self._follow_intent(seq, said)
        self._grow(seq, hashed, merkle.leaf(hashed))
        self.expected = seq + 1

    def end(self) -> None:
        """What only the end of the log decides."""
        if self._suspect is not None:
            last = self.expected - 1
            signed = any(claim.head == self._previous for claim in self._claims.get(last, ()))
            self._verdict.add(
                *(
                    (last - 1, "was written anew: the next one follows from another")
                    if signed
                    else (last, "does not follow from the one before it: one of both was changed")
                )
            )

    def _read(self, seq: int, content: bytes, hashed: bytes, seal: bytes) -> tuple[dict[str, Any], str]:
        """What a record says, and what is wrong with it by itself."""
        if sha256(content).digest() != hashed:
            wrong = "was changed: its content does not have its hash"
        elif not hmac.compare_digest(hmac.digest(self._seal_key, hashed, "sha256"), seal):
            wrong = "was changed or put in: its seal was not made with this master key"
        else:
            wrong = ""
        try:
            said = orjson.loads(content)
            found = said["seq"]
        except (ValueError, KeyError, TypeError):
            return {}, wrong or "is not one"
        if not wrong and found != seq:
            wrong = f"was put in another's place: it is record {found}"
        return said, wrong

    def _judge(self, seq: int, said: dict[str, Any], wrong: str, follows: bool) -> None:
        if self._suspect is not None:
            # A record that the next one follows from is as it was written.
            if follows:
                self._verdict.add(self._suspect - 1, "was written anew: the next one follows from another")
            else:
                self._verdict.add(self._suspect, "was written anew: it does not follow from the one before it")
            self._suspect, self._previous_good = None, self._previous_good and follows
        if wrong:
            self._verdict.add(seq, wrong)
        elif not follows and seq == 1:
            self._verdict.add(seq, "was written anew: it follows from another, and is the first")
            self._previous_good = False
        elif not follows and self._previous_good:
            self._suspect = seq
        elif str(said.get("ts", "")).encode() < self._ts and self._previous_good:
            self._verdict.add(seq, "is older than the one before it")

    def _grow(self, seq: int, hashed: bytes, leaf: bytes) -> None:
        self._block.append(leaf)
        if self._tree.size + len(self._block) == seq and seq in self._claims:
            self._compare(seq, hashed)
        if len(self._block) == merkle.FANOUT:
            self._fill(merkle.fold(self._block))

    def _fill(self, node: bytes) -> None:
        """A block is full: its hash is kept in the database, and that of a larger one which it fills."""
        for leaves, hashed in self._tree.add(node, merkle.FANOUT):
            if leaves in _KEPT:
                self.nodes[_KEPT[leaves], self._tree.size // leaves - 1] = hashed
        self._block = []

    def _compare(self, seq: int, hashed: bytes) -> None:
        for claim in self._claims[seq]:
            if not self._verdict.good or self._suspect is not None:
                return  # the tree is another because of what was found already
            if claim.head != hashed:
                back = f" or one before it, back to {self._signed + 1}," if self._signed < seq - 1 else ""
                self._verdict.add(
                    seq, f"{back.lstrip()} was written anew: a checkpoint was signed over another".lstrip()
                )
            elif claim.root != self._tree.root(self._block):
                self._verdict.add(None, f"the first {seq} records are not those that a checkpoint was signed over")
        self._signed = seq


def _check_nodes(made: dict[tuple[int, int], bytes], found: dict[tuple[int, int], bytes], verdict: Verdict) -> None:
    if not verdict.good:
        return  # they are kept of the records as they were
    for level, index in sorted(made.keys() | found.keys()):
        if made.get((level, index)) != found.get((level, index)):
            width = merkle.FANOUT**level
            verdict.add(None, f"the kept hash of records {index * width + 1} to {(index + 1) * width} was changed")
