"""Retention: how long faces are kept, the clock that says so, and the sweep that lets them go.

The clock of a person runs from enrolment and starts anew when they are recognised: when they are the best match of a
search, or a face of theirs is associated with a user. Their faces go when it has run for as many days as the
collection's tag `use:retention-days` says, at most `REGARD_RETENTION_CAP_DAYS`; in a collection whose basis is consent
also as soon as there is none in force. A legal hold keeps what would go, and refuses deletion by clients, too.
"""

import atexit
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy.engine import Connection
from sqlalchemy.exc import SQLAlchemyError

from regard.store import collections, consents, keys, subjects, tags
from regard.store.collections import Collection
from regard.store.consents import LegalHold
from regard.store.database import Database, raw
from regard.store.subjects import Person
from regard.use import receipts
from regard.use.audit import AuditLog
from regard.use.chain import Call
from regard.use.consent import Basis, basis, names_of, uncovered
from regard.use.decisions import deny
from regard.use.enforcement import RETENTION_TAG as DAYS_TAG
from regard.use.receipts import Receipt
from regard.use.tagged import whole_days
from regard.wire.errors import InvalidParameterException

BIPA_CAP_DAYS = 1095  # 740 ILCS 14/15(a): within 3 years of the individual's last interaction

EXPIRED = "retention: nobody has met them for as long as they may be kept"
UNCONSENTED = "consent: withdrawn, expired, or never given"

_BATCH = 1000  # faces that one transaction deletes, which keeps other writers of the collection waiting
_FLUSH_S = 30.0

log = structlog.get_logger("regard")


def days(collection_tags: Mapping[str, str], cap_days: int | None) -> int | None:
    """For how many days people of a collection may be kept; None: without end. What is no number counts as the cap."""
    wanted = whole_days(collection_tags.get(DAYS_TAG, ""))
    return min((limit for limit in (wanted, cap_days or None) if limit is not None), default=None)


@dataclass(frozen=True, slots=True)
class Due:
    """What of a collection is to go, by reason, and what legal holds keep of that."""

    collection_id: str
    faces: Mapping[str, list[int]]
    held: int


@dataclass(frozen=True, slots=True)
class Account:
    """What holds for all collections of an account."""

    account_id: str
    region: str
    consents: list[consents.Consent]
    holds: list[LegalHold]


def arn(region: str, account_id: str, collection_id: str) -> str:
    return f"arn:aws:rekognition:{region}:{account_id}:collection/{collection_id}"


def _account(connection: Connection, account_id: str, region: str) -> Account:
    return Account(
        account_id,
        region,
        consents.every(connection, account_id),
        consents.holds(connection, account_id),
    )


def due(connection: Connection, account: Account, collection: Collection, cap_days: int | None, now: datetime) -> Due:
    """Whose time is up in a collection."""
    collection_tags = tags.get(connection, arn(account.region, account.account_id, collection.collection_id))
    limit, needed = days(collection_tags, cap_days), basis(collection_tags)
    chosen: dict[int, str] = {}
    if needed.consent:
        people = subjects.of_collection(connection, collection.key)
        chosen |= dict.fromkeys((p.key for p in uncovered(account.consents, people, needed.purposes, now)), UNCONSENTED)
    if limit is not None:
        stale = subjects.stale(connection, collection.key, now.date() - timedelta(days=limit))
        chosen = dict.fromkeys(stale, EXPIRED) | chosen
    kept = _held(connection, account.holds, collection, chosen)
    by_reason: dict[str, list[int]] = {}
    for key, reason in sorted(chosen.items()):
        if key not in kept:
            by_reason.setdefault(reason, []).append(key)
    return Due(collection.collection_id, by_reason, len(kept))


def _held(
    connection: Connection, holds: list[LegalHold], collection: Collection, chosen: Mapping[int, str]
) -> set[int]:
    """Those of the chosen faces that a legal hold keeps."""
    if not chosen or not holds:
        return set()
    people = [person for person in subjects.of_collection(connection, collection.key) if person.key in chosen]
    return {person.key for person in people if is_held(holds, collection.collection_id, person)}


def is_held(holds: list[LegalHold], collection_id: str, person: Person) -> bool:
    """Whether a legal hold keeps a person's face in a collection."""
    names = names_of(person) | {person.external_image_id, person.user_id, str(person.face_id)}
    return any(hold.collection_id == collection_id if hold.subject is None else hold.subject in names for hold in holds)


def sweep(
    audit: AuditLog, region: str, cap_days: int | None, now: datetime, *, dry_run: bool = False
) -> tuple[list[Due], list[Receipt]]:
    """Let everyone go whose time is up: what was found, by collection, and a receipt for each batch that went.

    Killed anywhere, it is done by running it again.
    """
    found, given, database = [], [], audit.database
    with database.read() as connection:
        accounts = [_account(connection, account.account_id, region) for account in keys.every_account(connection)]
        listed = [(account, held) for account in accounts for held in collections.every(connection, account.account_id)]
    for account, collection in listed:
        with database.read() as connection:
            time_up = due(connection, account, collection, cap_days, now)
        found.append(time_up)
        if dry_run:
            continue
        for reason, face_keys in time_up.faces.items():
            for start in range(0, len(face_keys), _BATCH):
                batch = face_keys[start : start + _BATCH]
                receipt = let_go(audit, account.account_id, collection, batch, reason, now)
                given += [] if receipt is None else [receipt]
    return [time_up for time_up in found if time_up.faces or time_up.held], given


def let_go(
    audit: AuditLog,
    account_id: str,
    known: Collection,
    face_keys: list[int],
    reason: str,
    now: datetime,
    operation: str = "Sweep",
) -> Receipt | None:
    """Delete faces and give the receipt; None if the collection or they are gone already."""
    with audit.database.begin() as connection:
        collection = collections.lock(connection, account_id, known.collection_id)
        if collection is None or collection.key != known.key:
            return None
        face_ids, user_ids = subjects.delete_faces(connection, collection, face_keys)
        if not face_ids:
            return None
        names = [str(face_id) for face_id in face_ids]
        subjects.forget_tokens(connection, account_id, [*names, *user_ids])
        subjects.forget_in_jobs(connection, account_id, names)
        subjects.forget_reviews(connection, account_id, [*names, *user_ids])
        audit.shred(connection, account_id, *(f"face:{face_id}" for face_id in face_ids))
        receipt = receipts.give(
            connection,
            audit.sealer,
            account_id,
            reason,
            collections=[collection.collection_id],
            face_ids=face_ids,
            users=len(user_ids),
            now=now,
        )
        note(connection, audit, account_id, "retention", operation, receipt)
        return receipt


def note(
    connection: Connection, audit: AuditLog, account_id: str, principal: str, operation: str, receipt: Receipt
) -> None:
    """Put a deletion on record, in its own transaction; the last statement of it, since others wait."""
    document = receipt.document
    audit.write(
        connection,
        "deletion",
        account=account_id,
        principal=principal,
        op=operation,
        result={"count": document["Faces"]},
        details={"receipt": document["ReceiptId"], "reason": document["Reason"]},
    )


class Retention:
    """Refuses terms above the cap, and deletion of what a legal hold keeps."""

    def __init__(self, cap_days: int | None) -> None:
        self._cap_days = cap_days or None

    def before(self, call: Call) -> None:
        if call.operation in ("CreateCollection", "TagResource"):
            self._check_days(call.request.get("Tags", {}))
        elif call.operation in ("DeleteCollection", "DeleteFaces", "DeleteUser"):
            with call.context.services.database.read() as connection:
                _check_holds(connection, call)

    def after(self, call: Call) -> None:
        pass

    def _check_days(self, new: Mapping[str, str]) -> None:
        wanted = whole_days(new.get(DAYS_TAG, ""))  # whether it is a number, stage `UsePolicy` has looked
        if wanted is not None and self._cap_days is not None and wanted > self._cap_days:
            raise InvalidParameterException(f"The tag {DAYS_TAG} is at most {self._cap_days} here, not {wanted}")


def _check_holds(connection: Connection, call: Call) -> None:
    account_id, request = call.context.principal.account_id, call.request
    holds = consents.holds(connection, account_id)
    collection = collections.find(raw(connection), account_id, request["CollectionId"]) if holds else None
    if collection is None:
        return
    if call.operation == "DeleteCollection":
        people = subjects.of_collection(connection, collection.key)
    else:
        people = subjects.persons(
            connection,
            collection.key,
            face_ids=[UUID(face_id) for face_id in request.get("FaceIds", ())],
            user_ids=[request["UserId"]] if "UserId" in request else [],
        )
    if any(is_held(holds, collection.collection_id, person) for person in people):
        raise deny(call, "a legal hold", "somebody whom it is about must be kept")


class Interactions:
    """The clock of people: notes, in memory, who was recognised, and writes it down every half minute.

    A person costs one write a day. A process that is killed forgets the last half minute, which lets nobody be kept
    longer than allowed.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._guard = threading.Lock()
        self._met: dict[str, set[tuple[str, UUID | str]]] = {}  # by account, since the last flush
        self._noted: set[tuple[str, str, UUID | str]] = set()  # today
        self._day = date.min
        self._timer: threading.Timer | None = None
        atexit.register(self.flush)

    def before(self, call: Call) -> None:
        pass

    def after(self, call: Call) -> None:
        met = _met(call.operation, call.response or {})
        if met:
            self._note(call.context.principal.account_id, call.request["CollectionId"], met)

    def _note(self, account_id: str, collection_id: str, met: list[UUID | str]) -> None:
        today = datetime.now(UTC).date()
        with self._guard:
            if today != self._day:
                self._day, self._noted = today, set()
            new = {(account_id, collection_id, who) for who in met} - self._noted
            if not new:
                return
            self._noted |= new
            self._met.setdefault(account_id, set()).update((collection_id, who) for who in met)
            if self._timer is None:
                self._timer = threading.Timer(_FLUSH_S, self.flush)
                self._timer.daemon = True
                self._timer.start()

    def flush(self) -> None:
        """Write down who was met."""
        with self._guard:
            met, day = self._met, self._day
            self._met, self._timer = {}, None
        for account_id, met_faces in met.items():
            try:
                with self._database.begin() as connection:
                    subjects.met(connection, account_id, met_faces, day)
            except SQLAlchemyError as error:
                log.warning("interactions not noted", cause=type(error).__name__)


def _met(operation: str, response: Mapping[str, Any]) -> list[UUID | str]:
    """Whom a response recognises, by FaceId or UserId: the best match of a search, or what was associated."""
    if operation in ("SearchFaces", "SearchFacesByImage"):
        return [UUID(match["Face"]["FaceId"]) for match in response["FaceMatches"][:1]]
    if operation in ("SearchUsers", "SearchUsersByImage"):
        return [match["User"]["UserId"] for match in response["UserMatches"][:1]]
    if operation == "AssociateFaces":
        return [UUID(face["FaceId"]) for face in response["AssociatedFaces"]]
    return []


def schedule(listed: Sequence[tuple[str, Mapping[str, str]]], cap_days: int | None) -> str:
    """The public retention schedule that BIPA §15(a) asks for, of (CollectionId, tags), as Markdown."""
    lines = [_describe(collection_id, collection_tags, cap_days) for collection_id, collection_tags in listed]
    cap = (
        f"In no case are they kept for more than {cap_days} days after the person's last interaction with us."
        if cap_days
        else "No term holds for all collections."
    )
    return "\n".join(
        [
            "# Retention schedule for biometric identifiers",
            "",
            "We keep numerical descriptions of faces (face embeddings), no pictures. They are permanently destroyed",
            "when the purpose that they were collected for has been satisfied, when the person withdraws consent, or",
            f"when the term below has passed since the person's last interaction with us, whichever is first. {cap}",
            "",
            "| Collection | Purpose | Basis | Destroyed after |",
            "| --- | --- | --- | --- |",
            *lines,
            "",
            "Deleted descriptions leave the files of the database with the next nightly scrub. For each deletion we",
            "keep a signed receipt, which has no name in it. A legal hold may delay the destruction.",
            "",
        ]
    )


def _describe(collection_id: str, collection_tags: Mapping[str, str], cap_days: int | None) -> str:
    found: Basis = basis(collection_tags)
    limit = days(collection_tags, cap_days)
    purpose = ", ".join(sorted(found.purposes)) or "not stated"
    term = f"{limit} days without an interaction" if limit is not None else "no term"
    if found.consent:
        term += ", or the end of the consent"
    return f"| {collection_id} | {purpose} | {collection_tags.get('use:basis', 'not stated')} | {term} |"
