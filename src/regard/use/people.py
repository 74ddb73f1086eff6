"""The control plane of people: `/-/consents` and `/-/subjects/{ref}`, for officers and their programs.

What is erased here leaves the disk with the next nightly scrub; `regard subject erase` scrubs at once.
"""

import base64
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel, ConfigDict
from starlette.routing import Route

from regard.store import consents
from regard.use import subjects
from regard.use.consent import ConsentError, grant
from regard.use.control import Asked, Door, NothingThere, Work, endpoint
from regard.use.subjects import SubjectError


class NewConsent(BaseModel):
    """The body of `POST /-/consents`; `Release` is what the person signed, in base64, of which the SHA-256 is kept."""

    model_config = ConfigDict(extra="forbid")

    Subject: str
    Purposes: list[str]
    Notice: str
    Term: str
    Release: str
    ExpiresAt: datetime
    ConsentId: str | None = None


class Erase(BaseModel):
    """The body of `DELETE /-/subjects/{ref}`."""

    model_config = ConfigDict(extra="forbid")

    Reason: str


def routes(door: Door) -> list[Route]:
    """The addresses of this control plane."""

    def route(path: str, method: str, action: str, work: Work) -> Route:
        return Route(path, endpoint(door, action, work, ConsentError, SubjectError), methods=[method])

    return [
        route("/-/consents", "GET", "regard:ListConsents", _list),
        route("/-/consents", "POST", "regard:AddConsent", _add),
        route("/-/consents/{name}", "DELETE", "regard:WithdrawConsent", _withdraw),
        route("/-/subjects/{name}", "GET", "regard:ExportSubject", _export),
        route("/-/subjects/{name}", "DELETE", "regard:EraseSubject", _erase),
    ]


def _list(asked: Asked) -> Any:
    with asked.services.database.read() as connection:
        rows = consents.every(connection, asked.principal.account_id)
    return {"Consents": [subjects.consent_json(row) for row in rows]}


def _add(asked: Asked) -> Any:
    new = NewConsent.model_validate_json(asked.body)
    if new.ExpiresAt.tzinfo is None:
        raise ConsentError("ExpiresAt must say its time zone")
    try:
        release = base64.b64decode(new.Release, validate=True)
    except ValueError as error:
        raise ConsentError("Release is not base64") from error
    granted = grant(
        new.Subject,
        new.Purposes,
        new.Notice,
        new.Term,
        release,
        new.ExpiresAt,
        consent_id=new.ConsentId,
        now=datetime.now(UTC),
    )
    with asked.services.database.begin() as connection:
        if not consents.add(connection, asked.principal.account_id, granted):
            raise ConsentError(f"there is a consent {granted.consent_id} already")
        asked.note(connection)
    return subjects.consent_json(granted) | {"ExternalImageId": f"{granted.subject}:{granted.consent_id}"}


def _withdraw(asked: Asked) -> Any:
    name = asked.parameters["name"]
    with asked.services.database.begin() as connection:
        if not consents.withdraw(connection, asked.principal.account_id, name, datetime.now(UTC)):
            raise NothingThere(f"There is no consent {name} that has not been withdrawn.")
        asked.note(connection)
    return {"ConsentId": name}


def _export(asked: Asked) -> Any:
    name, account_id = asked.parameters["name"], asked.principal.account_id
    with asked.services.database.read() as connection:
        holding = subjects.find(connection, account_id, name)
    if not holding:
        raise NothingThere(f"Nothing is held about {name}.")
    return subjects.export(holding, account_id, datetime.now(UTC))


def _erase(asked: Asked) -> Any:
    name, principal, audit = asked.parameters["name"], asked.principal, asked.services.audit
    reason = Erase.model_validate_json(asked.body or b"{}").Reason
    erasure = subjects.erase(
        audit, principal.account_id, name, reason, datetime.now(UTC), principal=principal.access_key_id
    )
    if erasure is None:
        raise NothingThere(f"Nothing is held about {name}.")
    return {"Receipts": [erasure.receipt.to_json(asked.services.sealer)]}
