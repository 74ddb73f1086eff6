"""Consent: in a collection whose basis it is, nobody is enrolled without, and nobody is found whose consent has ended.

A collection's basis is its tag `use:basis`; with `consent`, each face must name its person by ExternalImageId, as
`<subject>` or `<subject>:<consent-id>`, or by the UserId that it is associated with. A consent counts for the purpose
of the access key that calls.
"""

import hashlib
import re
import secrets
from collections.abc import Collection as AnyOf
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy.engine import Connection

from regard.store import collections, consents, subjects
from regard.store.consents import Consent
from regard.store.subjects import Person
from regard.use.chain import Call
from regard.use.decisions import WITHHELD_HEADER, deny
from regard.use.enforcement import BASIS_TAG, PURPOSE_TAG
from regard.use.tagged import tags_of
from regard.wire.errors import AccessDeniedException

CONSENT = "consent"
RULE = "consent"
CAUSE = f'tag "{BASIS_TAG}={CONSENT}"'

_NAME = re.compile(r"[a-zA-Z0-9_.\-]+")  # what an ExternalImageId may have, less the colon
_MAX_NAME = 126  # two of them and the colon are an ExternalImageId of 255 characters


class ConsentError(Exception):
    """A consent cannot be kept; the text tells the operator why."""


@dataclass(frozen=True, slots=True)
class Basis:
    """On what a collection rests: whether consent is needed, and for which purposes it is kept (none: not said)."""

    consent: bool
    purposes: frozenset[str]


def basis(collection_tags: Mapping[str, str]) -> Basis:
    return Basis(
        collection_tags.get(BASIS_TAG) == CONSENT,
        frozenset(collection_tags.get(PURPOSE_TAG, "").split()),
    )


def grant(
    subject: str,
    purposes: Iterable[str],
    notice: str,
    term: str,
    release: bytes,
    expires_at: datetime,
    *,
    consent_id: str | None = None,
    now: datetime,
) -> Consent:
    """A consent as it is to be kept; of the signed release only its SHA-256. Raises `ConsentError`."""
    consent_id = consent_id or secrets.token_hex(6)
    for name, value in (("subject", subject), ("consent id", consent_id)):
        if not _NAME.fullmatch(value) or len(value) > _MAX_NAME:
            raise ConsentError(f"the {name} must be 1 to {_MAX_NAME} letters, digits, '_', '.' and '-', not {value!r}")
    listed = tuple(dict.fromkeys(purposes))
    if not listed or not all(listed):
        raise ConsentError("a consent names the purposes that it is given for")
    if not notice.strip() or not term.strip():
        raise ConsentError("a consent says what the person was told: the purpose and the term, in writing")
    if not release:
        raise ConsentError("the release is empty: a consent is shown by what the person signed")
    if expires_at <= now:
        raise ConsentError(f"it would have ended on {expires_at:%Y-%m-%d} already")
    return Consent(consent_id, subject, listed, notice, term, hashlib.sha256(release).digest(), now, expires_at)


def subject_of(external_image_id: str) -> str:
    """The person whom an ExternalImageId names."""
    return external_image_id.partition(":")[0]


def permits_enrolment(known: Iterable[Consent], external_image_id: str, purposes: AnyOf[str], now: datetime) -> bool:
    """Whether somebody may be enrolled under an ExternalImageId; one that names a consent needs that consent."""
    subject, _, consent_id = external_image_id.partition(":")
    return any(
        consent.subject == subject and consent_id in ("", consent.consent_id) and _covers(consent, purposes, now)
        for consent in known
    )


def uncovered(known: Iterable[Consent], people: Iterable[Person], purposes: AnyOf[str], now: datetime) -> list[Person]:
    """Those without a consent in force, by ExternalImageId or UserId. One that replaces an older one counts."""
    consenting = {consent.subject for consent in known if _covers(consent, purposes, now)}
    return [person for person in people if consenting.isdisjoint(names_of(person))]


def names_of(person: Person) -> set[str]:
    """The subjects as whom a face is known."""
    return {subject_of(name) for name in (person.external_image_id, person.user_id) if name is not None}


def _covers(consent: Consent, purposes: AnyOf[str], now: datetime) -> bool:
    return consent.holds(None, now) and (not purposes or not set(purposes).isdisjoint(consent.purposes))


@dataclass(frozen=True, slots=True)
class _Scope:
    """The collection of a call that needs consent, and the purposes that the consents must have one of."""

    collection_key: int
    purposes: frozenset[str]


class ConsentStage:
    """Refuses enrolment without consent, and withholds matches with people whose consent has ended."""

    def before(self, call: Call) -> None:
        if call.operation not in ("IndexFaces", "AssociateFaces", "SearchFaces", "SearchUsers"):
            return
        scope = _scope(call, call.request["CollectionId"])
        if scope is None:
            return
        with call.context.services.database.read() as connection:
            if call.operation == "IndexFaces":
                _check_enrolment(connection, call, scope)
            else:
                _check_named(connection, call, scope)

    def after(self, call: Call) -> None:
        holders = [holder for holder in _holders(call) if holder.get("FaceMatches") or holder.get("UserMatches")]
        collection_id = call.collection_id
        scope = _scope(call, collection_id) if holders and collection_id is not None else None
        if scope is not None:
            with call.context.services.database.read() as connection:
                for holder in holders:
                    _withhold(connection, call, scope, holder)


def _holders(call: Call) -> list[dict[str, Any]]:
    """The structures of a response that may have matches with people of a collection."""
    response = call.response or {}
    if call.operation == "GetFaceSearch":
        return list(response.get("Persons") or ())
    return [response] if call.operation.startswith("Search") else []


def _scope(call: Call, collection_id: str) -> _Scope | None:
    """None where no consent is needed, or there is no such collection, which the operation will say."""
    found = basis(tags_of(call.context, collection_id))
    if not found.consent:
        return None
    with call.context.services.database.at_hand() as connection:
        collection = collections.find(connection, call.context.principal.account_id, collection_id)
    if collection is None:
        return None
    purpose = call.context.principal.purpose
    return _Scope(collection.key, frozenset({purpose}) if purpose else found.purposes)


def _refusal(call: Call, reason: str) -> AccessDeniedException:
    return deny(call, CAUSE, reason, policy=BASIS_TAG, rule=RULE)


def _check_enrolment(connection: Connection, call: Call, scope: _Scope) -> None:
    external = call.request.get("ExternalImageId")
    if external is None:
        raise _refusal(call, "an ExternalImageId must say whose consent there is")
    known = consents.of_subjects(connection, call.context.principal.account_id, [subject_of(external)])
    if not permits_enrolment(known, external, scope.purposes, datetime.now(UTC)):
        raise deny(
            call, CAUSE, f"the ExternalImageId names no consent in force{_for(scope)}", policy=BASIS_TAG, rule=RULE
        )


def _check_named(connection: Connection, call: Call, scope: _Scope) -> None:
    """Refuse if a face, or the user, that the request names has no consent."""
    request = call.request
    face_ids = [*request.get("FaceIds", ()), *([request["FaceId"]] if "FaceId" in request else ())]
    user_ids = [request["UserId"]] if "UserId" in request and not face_ids else []
    people = subjects.persons(
        connection, scope.collection_key, face_ids=[UUID(face_id) for face_id in face_ids], user_ids=user_ids
    )
    if call.operation == "AssociateFaces":  # the UserId that they are to have says whose they are, too
        people = [replace(person, user_id=request["UserId"]) for person in people]
    if _without_consent(connection, call, scope, people):
        raise deny(
            call, CAUSE, f"it is about a face without a consent in force{_for(scope)}", policy=BASIS_TAG, rule=RULE
        )


def _for(scope: _Scope) -> str:
    return f" for {' or '.join(sorted(scope.purposes))}" if scope.purposes else ""


def _without_consent(connection: Connection, call: Call, scope: _Scope, people: list[Person]) -> list[Person]:
    names = set().union(*map(names_of, people))
    known = consents.of_subjects(connection, call.context.principal.account_id, names)
    return uncovered(known, people, scope.purposes, datetime.now(UTC))


def _withhold(connection: Connection, call: Call, scope: _Scope, holder: dict[str, Any]) -> None:
    """Take out matches with faces without consent, or that are gone, and with users any of whose faces has none."""
    if holder.get("FaceMatches"):
        name, ids = "FaceMatches", [UUID(match["Face"]["FaceId"]) for match in holder["FaceMatches"]]
        people = subjects.persons(connection, scope.collection_key, face_ids=ids)
        covered = {str(person.face_id) for person in people} - {
            str(person.face_id) for person in _without_consent(connection, call, scope, people)
        }
        kept = [match for match in holder[name] if match["Face"]["FaceId"] in covered]
    else:
        name, names = "UserMatches", [match["User"]["UserId"] for match in holder.get("UserMatches") or ()]
        people = subjects.persons(connection, scope.collection_key, user_ids=names)
        refused = {str(person.user_id) for person in _without_consent(connection, call, scope, people)}
        kept = [match for match in holder.get(name) or () if match["User"]["UserId"] not in refused]
    if gone := len(holder.get(name) or ()) - len(kept):
        holder[name] = kept
        withheld = call.facts.setdefault("withheld", {})
        withheld[RULE] = withheld.get(RULE, 0) + gone
        call.headers[WITHHELD_HEADER] = ",".join(sorted(withheld))
