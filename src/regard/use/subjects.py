"""The rights of people: what is held about one is found, handed out, and erased (GDPR Articles 15, 17 and 20)."""

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.engine import Connection

from regard.gallery.gallery import Gallery
from regard.media import images
from regard.operations import shapes
from regard.operations.searching import ROUNDING
from regard.store import celebrities, collections, consents, subjects, users
from regard.store.collections import Collection
from regard.store.consents import Consent
from regard.store.database import raw
from regard.store.scrub import Scrubbed, traces
from regard.store.subjects import HeldFace, HeldUser, Person
from regard.use import receipts
from regard.use.audit import AuditLog
from regard.use.consent import subject_of
from regard.use.receipts import Receipt
from regard.use.retention import is_held, note
from regard.use.seal import Sealer
from regard.vision.faces import FaceEngine

BY_PHOTO_SIMILARITY = 80.0  # one stranger in ten thousand: a person looks at what is found
MAX_BY_PHOTO = 20  # per collection
_STEPS = 3  # names lead to faces, and faces to further names


class SubjectError(Exception):
    """A request about a person cannot be met; the text says why."""


@dataclass(frozen=True, slots=True)
class Holding:
    """Everything that is held about a person."""

    ref: str
    faces: list[HeldFace] = field(default_factory=list)
    users: list[HeldUser] = field(default_factory=list)
    consents: list[Consent] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.faces or self.users or self.consents)

    @property
    def counts(self) -> str:
        return f"{len(self.faces)} faces, {len(self.users)} users, {len(self.consents)} consents"

    @property
    def places(self) -> dict[int, str]:
        """The collections where faces or users of the person are: CollectionIds by key."""
        faces = {held.collection_key: held.collection_id for held in self.faces}
        return faces | {held.collection_key: held.collection_id for held in self.users}

    @property
    def pseudonymised(self) -> list[str]:
        """The same as the audit log has them, for their pseudonyms to be destroyed."""
        names = {f"face:{held.face.face_id}" for held in self.faces} | {f"user:{h.user.user_id}" for h in self.users}
        external = {held.face.external_image_id for held in self.faces} | {self.ref}
        return sorted(names | {f"external:{name}" for name in external if name is not None})

    @property
    def identifiers(self) -> list[str]:
        """All ids by which records may speak of the person."""
        found = {self.ref} | {str(held.face.face_id) for held in self.faces}
        found |= {held.face.external_image_id for held in self.faces if held.face.external_image_id is not None}
        return sorted(found | {held.user.user_id for held in self.users})


def find(connection: Connection, account_id: str, ref: str) -> Holding:
    """What an account holds about a person: by subject, ExternalImageId or UserId, or the one face of a FaceId.

    The faces of a user are one person's, and so are those of a subject who consented: the names that they lead to are
    followed.
    """
    by_key: dict[int, HeldFace] = {}
    asked: set[str] = set()
    agreed: dict[str, Consent] = {}
    names = {ref}
    for _ in range(1 if _is_face_id(ref) else _STEPS):
        for name in sorted(names - asked):
            by_key |= {held.face.key: held for held in subjects.faces_of(connection, account_id, name)}
        asked |= names
        if not _is_face_id(ref):
            leads = asked | {subject_of(name) for name in _names(by_key.values())}
            agreed |= {c.consent_id: c for c in consents.of_subjects(connection, account_id, leads)}
            names = {consent.subject for consent in agreed.values() if consent.subject is not None}
    found = [by_key[key] for key in sorted(by_key)]
    named = subjects.users_of(connection, account_id, ref, [] if _is_face_id(ref) else list(by_key))
    return Holding(ref, found, named, list(agreed.values()))


def _is_face_id(ref: str) -> bool:
    try:
        return str(uuid.UUID(ref)) == ref.lower()
    except ValueError:
        return False


def _names(held: Iterable[HeldFace]) -> set[str]:
    faces = [one.face for one in held]
    return {name for face in faces for name in (face.external_image_id, face.user_id) if name is not None}


@dataclass(frozen=True, slots=True)
class Resemblance:
    """A face that looks like the one in a photo."""

    held: HeldFace
    similarity: float


def find_by_photo(
    audit: AuditLog, engine: FaceEngine, gallery: Gallery, account_id: str, photo: Path, principal: str
) -> list[Resemblance]:
    """Faces of all collections of an account that resemble the largest one of a photo, best first.

    They are candidates for a person to look at, no proof of identity. It is on record that `principal` searched.
    Raises `SubjectError` if there is no face in the photo.
    """
    database = audit.database
    try:
        data = photo.read_bytes()
        pixels = images.decode(data)
    except (OSError, images.ImageError) as error:
        raise SubjectError(f"{photo}: {error}") from error
    detected = engine.describe(pixels, engine.detect(pixels)[:1], frozenset())
    if not detected:
        raise SubjectError(f"{photo}: there is no face")
    (probe,) = engine.embed(pixels, detected)
    floor = engine.similarity.score_at(BY_PHOTO_SIMILARITY) - ROUNDING
    with database.read() as connection:
        listed = collections.every(connection, account_id)
    scores: dict[int, float] = {}
    for collection in listed:
        if collection.face_model_version == engine.model_version:
            found = gallery.search_faces(collection, probe, MAX_BY_PHOTO, floor, engine.comparison)
            scores |= {match.row.key: match.score for match in found}
    with database.read() as connection:
        rows = subjects.held(connection, account_id, list(scores))
    similarities = shapes.as_sent(engine.similarity.similarity(np.array([scores[row.face.key] for row in rows])))
    audit.record(
        "command",
        account=account_id,
        principal=principal,
        op="FindSubjectByPhoto",
        input_digest={"Image": audit.digest(data)},
        result={"count": len(rows)},
    )
    resembling = [Resemblance(row, similarity) for row, similarity in zip(rows, similarities, strict=True)]
    return sorted((one for one in resembling if one.similarity >= BY_PHOTO_SIMILARITY), key=lambda one: -one.similarity)


def export(holding: Holding, account_id: str, now: datetime, *, embeddings: bool = False) -> dict[str, Any]:
    """All that is held about a person, for the person: JSON that says what each thing is."""
    return {
        "Subject": holding.ref,
        "AccountId": account_id,
        "ExportedAt": now.isoformat(timespec="seconds"),
        "About": "Of pictures of faces numerical descriptions (embeddings) are kept, not the pictures. An embedding is "
        "of use to the network that made it (FaceModelVersion) alone; it is included where it was asked for.",
        "Faces": [_face(held, embeddings=embeddings) for held in holding.faces],
        "Users": [_user(held, embeddings=embeddings) for held in holding.users],
        "Consents": [consent_json(consent) for consent in holding.consents],
    }


def _face(held: HeldFace, *, embeddings: bool) -> dict[str, Any]:
    face = held.face
    return {
        "CollectionId": held.collection_id,
        **shapes.face(face),
        "FaceModelVersion": held.face_model_version,
        "EnrolledAt": held.created_at.isoformat(timespec="seconds"),
        "LastInteraction": held.last_interaction.isoformat(),
    } | ({"Embedding": face.embedding.tolist()} if embeddings else {})


def _user(held: HeldUser, *, embeddings: bool) -> dict[str, Any]:
    vector = held.user.embedding
    return {
        "CollectionId": held.collection_id,
        "UserId": held.user.user_id,
        "CreatedAt": held.created_at.isoformat(timespec="seconds"),
    } | ({"Embedding": None if vector is None else vector.tolist()} if embeddings else {})


def consent_json(consent: Consent) -> dict[str, Any]:
    """A consent for people and programs to read."""
    times = (
        ("GrantedAt", consent.granted_at),
        ("ExpiresAt", consent.expires_at),
        ("WithdrawnAt", consent.withdrawn_at),
        ("ErasedAt", consent.erased_at),
    )
    return {
        "ConsentId": consent.consent_id,
        "Subject": consent.subject,
        "Purposes": list(consent.purposes),
        "Notice": consent.notice,
        "Term": consent.term,
        "EvidenceSHA256": consent.evidence.hex(),
    } | {name: None if at is None else at.astimezone(UTC).isoformat(timespec="seconds") for name, at in times}


@dataclass(frozen=True, slots=True)
class Erasure:
    """What was erased, with its receipt, and the vectors whose bytes must not be found on the disk any more."""

    holding: Holding
    receipt: Receipt
    vectors: list[NDArray[np.float32]]


def erase(
    audit: AuditLog,
    account_id: str,
    ref: str,
    reason: str,
    now: datetime,
    *,
    principal: str,
    celebrity_id: str | None = None,
) -> Erasure | None:
    """Erase a person from all collections of an account, in one transaction; None if nothing is held.

    The audit log keeps its records of the person under names that nobody can make again, and gets one that says that
    `principal` erased somebody. Raises `SubjectError` if a legal hold is in the way. The bytes leave the disk with the
    scrub that follows.
    """
    while True:
        with audit.database.read() as connection:
            known = find(connection, account_id, ref)
            celebrity = celebrity_id is not None and celebrities.gallery(raw(connection)) is not None
        if not known and not celebrity:
            return None
        with audit.database.begin() as connection:
            locked = _lock(connection, account_id, known)
            holding = find(connection, account_id, ref)
            if not locked.keys() >= holding.places.keys():
                continue  # somebody enrolled the person elsewhere meanwhile
            _check_holds(connection, account_id, holding)
            if celebrity_id is not None:
                _forget_celebrity(connection, celebrity_id)
            vectors = _forget(connection, account_id, holding, locked, now)
            audit.shred(connection, account_id, *holding.pseudonymised)
            receipt = receipts.give(
                connection,
                audit.sealer,
                account_id,
                reason,
                collections=list(holding.places.values()),
                face_ids=[held.face.face_id for held in holding.faces],
                users=len(holding.users),
                consents=len(holding.consents),
                now=now,
            )
            note(connection, audit, account_id, principal, "EraseSubject", receipt)
        return Erasure(holding, receipt, vectors)


def _lock(connection: Connection, account_id: str, known: Holding) -> dict[int, Collection]:
    """The collections where something of a person was found, locked in the order of their keys."""
    names = [name for _, name in sorted(known.places.items())]
    found = [collections.lock(connection, account_id, name) for name in names]
    return {collection.key: collection for collection in found if collection is not None}


def _check_holds(connection: Connection, account_id: str, holding: Holding) -> None:
    holds = consents.holds(connection, account_id)
    for held in holding.faces:
        person = Person(held.face.key, held.face.external_image_id, held.face.user_id, held.face.face_id)
        if is_held(holds, held.collection_id, person):
            raise SubjectError(
                f"a legal hold keeps faces of {holding.ref} in {held.collection_id}: `regard retention holds` lists it"
            )


def _forget_celebrity(connection: Connection, celebrity_id: str) -> None:
    gallery = celebrities.lock_gallery(connection)
    if gallery is not None:
        celebrities.remove(connection, gallery, celebrity_id)


def _forget(
    connection: Connection, account_id: str, holding: Holding, locked: Mapping[int, Collection], now: datetime
) -> list[NDArray[np.float32]]:
    """Delete what is held, in locked collections; the vectors that there were."""
    vectors = [held.face.embedding for held in holding.faces]
    vectors += [held.user.embedding for held in holding.users if held.user.embedding is not None]
    for key in holding.places:
        mine = [held.face.key for held in holding.faces if held.collection_key == key]
        subjects.delete_faces(connection, locked[key], mine)
    for held in holding.users:
        left = users.find(connection, held.collection_key, held.user.user_id)
        if left is not None and users.count_faces(connection, left) == 0:
            users.delete(connection, locked[held.collection_key], left)
    consents.disown(connection, account_id, [consent.consent_id for consent in holding.consents], now)
    subjects.forget_tokens(connection, account_id, holding.identifiers)
    face_ids = [str(held.face.face_id) for held in holding.faces]
    subjects.forget_in_jobs(connection, account_id, face_ids)
    subjects.forget_reviews(connection, account_id, [*face_ids, *(held.user.user_id for held in holding.users)])
    subjects.forget_loops(connection, account_id, {held.face.image_id for held in holding.faces})
    return vectors


def certify(sealer: Sealer, erasure: Erasure, scrubbed: Scrubbed, folder: Path | None, now: datetime) -> Receipt:
    """Sign for what became of the bytes: what was rewritten, and where pieces of the vectors were searched for.

    `folder` is the data folder; None if the database is elsewhere, and then nothing was searched.
    """
    secrets = [np.asarray(vector, "<f4").tobytes() for vector in erasure.vectors]
    found = None if folder is None else [str(file.relative_to(folder)) for file in traces(folder, secrets)]
    return receipts.sign(
        sealer,
        {
            "Kind": "scrub",
            "ReceiptId": erasure.receipt.document["ReceiptId"],
            "Time": now.isoformat(timespec="seconds"),
            "TablesRewritten": sorted(scrubbed.tables),
            "NotDone": list(scrubbed.left),
            "VectorsSearched": 0 if folder is None else len(secrets),
            "FilesWithTraces": found,
        },
    )
