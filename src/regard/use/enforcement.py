"""The stages that hold a request against permissions and use policies, and its response against them again.

What a rule can refuse by the request alone is refused here, before anything is decoded. What needs faces goes on in
`use.guard`, within the operation. On the way back no attribute and no match leaves that a rule withholds, whatever
the operation did.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Protocol

from regard.operations.shapes import MEMBERS
from regard.store import authorisations
from regard.use import asked
from regard.use.book import Book, Held, Rules, Shelf
from regard.use.chain import Call
from regard.use.decisions import (
    ADVISED_HEADER,
    THRESHOLD_HEADER,
    deny,
    resource,
    role_statement,
    use_policy,
)
from regard.use.guard import PolicyGuard, cited, floor_of
from regard.use.keys import Principal
from regard.use.matches import MATCHES, holders
from regard.use.optouts import OptOuts
from regard.use.permissions import Values
from regard.use.policy import (
    Authorisation,
    Forbidden,
    Streams,
    TaggedCollection,
    Threshold,
    WithheldAttributes,
)
from regard.use.tagged import tags_of, whole_days
from regard.wire.errors import InvalidParameterException

PURPOSE_TAG, BASIS_TAG, RETENTION_TAG = "use:purpose", "use:basis", "use:retention-days"


BookOf = Callable[[Call], Book]


class Records(Protocol):
    """What the rules look up about a call."""

    def tags(self, call: Call, collection_id: str) -> Mapping[str, str]: ...

    def authorisation(self, call: Call, collection_id: str | None, grace: timedelta) -> str | None: ...


class Stored:
    """The records in the database."""

    def tags(self, call: Call, collection_id: str) -> Mapping[str, str]:
        return tags_of(call.context, collection_id)

    def authorisation(self, call: Call, collection_id: str | None, grace: timedelta) -> str | None:
        account_id = call.context.principal.account_id
        with call.context.services.database.read() as connection:
            return authorisations.covering(connection, account_id, call.operation, collection_id, grace)


def book_on(shelf: Shelf) -> BookOf:
    """The book in force when the caller's key was looked up, or a later one."""
    return lambda call: shelf.at(call.context.services.database, call.context.principal.epoch)


class Permission:
    """Whether the key's role allows the operation on the resource."""

    def __init__(self, book_of: BookOf) -> None:
        self._book_of = book_of

    def before(self, call: Call) -> None:
        role = call.context.principal.role
        document = self._book_of(call).roles.get(role)
        if document is None:
            raise deny(call, f'role "{role}"', "there are no permissions of that name")
        found = document.verdict(f"rekognition:{call.operation}", resource(call), _values(call))
        if not found.allowed:
            name = f"{document.name}@{document.version}"
            reason = "it denies that" if found.statement else "no statement allows that"
            raise deny(call, role_statement(name, found.statement), reason)

    def after(self, call: Call) -> None:
        pass


def _values(call: Call) -> Values:
    """What conditions may ask about."""
    request = call.request
    values = {
        **of_caller(call.context.principal, call.client_ip, call.user_agent),
        "aws:TagKeys": asked.tag_keys(request),
        "regard:Attributes": asked.attributes(call.operation, request) or None,
        "regard:CollectionId": call.collection_id,
        "regard:FromS3": asked.from_s3(request),
        "regard:MaxResults": asked.count(request),
        "regard:Threshold": asked.threshold(call.operation, request),
    }
    return {key: value for key, value in values.items() if value is not None}


def of_caller(principal: Principal, client_ip: str, user_agent: str | None) -> Values:
    """The same, as far as it does not depend on what is asked for."""
    values = {
        "aws:CurrentTime": datetime.now(UTC),
        "aws:PrincipalAccount": principal.account_id,
        "aws:SourceIp": client_ip or None,
        "aws:UserAgent": user_agent or None,
        "regard:Purpose": principal.purpose,
    }
    return {key: value for key, value in values.items() if value is not None}


class UsePolicy:
    """The rules of the use policies that hold for the caller, the purpose and the collection."""

    def __init__(self, book_of: BookOf, records: Records | None = None) -> None:
        self._book_of = book_of
        self._records = records or Stored()
        self._opt_outs = OptOuts()

    def before(self, call: Call) -> None:
        principal = call.context.principal
        allowed = principal.account_purposes
        if allowed is not None and principal.purpose is not None and principal.purpose not in allowed:
            raise deny(call, "the account", f'it may not be used for purpose "{principal.purpose}"')
        _check_tags(call)
        beginner = None if call.begun is None else call.begun.principal
        rules = call.rules = self._book_of(call).rules(principal, call.collection_id, beginner)
        call.facts |= {
            "purpose": rules.purpose,
            "resource": resource(call),
            "policies": {held.name: held.digest for held in rules.held},
            "requested": _wishes(call),
        }
        self._refuse(call, rules)
        floor = _raised(call, rules)
        call.facts["effective"] = _wishes(call)
        withheld = frozenset(
            name for _, rule in rules.of(WithheldAttributes, _asking(call)) for name in rule.attributes
        )
        guard = PolicyGuard(call, rules, withheld, floor, self._opt_outs)
        call.context = call.context.guarded(guard)

    def after(self, call: Call) -> None:
        response, guard = call.response or {}, call.context.guard
        gone = frozenset(MEMBERS[name] for name in guard.withheld)
        if gone:
            _strip(response, gone)
        matches = [match for holder in holders(response) for match in _clamp(holder, guard.floor)]
        if matches or call.operation.startswith(asked.MATCHING):
            similarities = [match["Similarity"] for match in matches]
            call.facts["result"] = {
                "count": len(matches),
                "top_similarity": max(similarities, default=None),
                "face_ids": [match["Face"]["FaceId"] for match in matches if "FaceId" in match.get("Face", {})],
            }

    def _refuse(self, call: Call, rules: Rules) -> None:
        for held, forbidden in rules.of(Forbidden, call.operation):
            raise _denied(call, held, forbidden, forbidden.because)
        for held, streams in rules.of(Streams):
            if call.operation == "CreateStreamProcessor" and "FaceSearch" in call.request.get("Settings", {}):
                raise _denied(call, held, streams, streams.because)
        for held, attributes in rules.of(WithheldAttributes, call.operation):
            wanted = {*asked.attributes(call.operation, call.request)} & {*attributes.attributes, "ALL"}
            if attributes.mode == "deny" and wanted:
                raise _denied(call, held, attributes, f"{_asks(wanted, attributes)}, and {attributes.because}")
        about_tags = rules.of(TaggedCollection, call.operation)
        collection_id = call.collection_id
        if about_tags and collection_id is not None:
            found = self._records.tags(call, collection_id)
            for held, collection in about_tags:
                _check_collection(call, held, collection, rules.purpose, found)
        for held, threshold in rules.of(Threshold, call.operation):
            _check_threshold(call, held, threshold, rules.purpose)
        for held, authorisation in rules.of(Authorisation, call.operation):
            self._check_authorisation(call, held, authorisation)

    def _check_authorisation(self, call: Call, held: Held, rule: Authorisation) -> None:
        grace = timedelta(hours=rule.grace_hours)
        found = self._records.authorisation(call, call.collection_id, grace)
        if found is None:
            raise _denied(call, held, rule, f"no authorisation covers it, and {rule.because}")
        call.facts["authorisation_id"] = found


def _denied(call: Call, held: Held, rule: Any, reason: str) -> Exception:
    return deny(call, use_policy(held.name, rule.id), reason, **cited(held, rule))


def _asks(wanted: set[str], rule: WithheldAttributes) -> str:
    named = sorted(wanted - {"ALL"})
    return f"{', '.join(named)} asked for" if named else f"ALL asks for {', '.join(rule.attributes)}, too"


def _asking(call: Call) -> str:
    """The operation whose rules hold for the results: that which started a job."""
    return asked.ASKED_BY.get(call.operation, call.operation)


def _wishes(call: Call) -> dict[str, Any]:
    wishes = {
        "threshold": asked.threshold(call.operation, call.request),
        "max": asked.count(call.request),
        "attributes": list(asked.attributes(call.operation, call.request)),
    }
    return {name: value for name, value in wishes.items() if value is not None and value != []}


def _check_collection(call: Call, held: Held, rule: TaggedCollection, purpose: str, found: Mapping[str, str]) -> None:
    purposes = found.get(PURPOSE_TAG)
    if purposes is None and rule.untagged == "deny":
        raise _denied(call, held, rule, f"the collection has no tag {PURPOSE_TAG}, and {rule.because}")
    if purposes is not None and purpose not in _words(purposes):
        raise _denied(call, held, rule, f'the collection is for "{purposes}", not for "{purpose}"')
    if rule.bases and found.get(BASIS_TAG) not in rule.bases:
        raise _denied(call, held, rule, f"the collection's tag {BASIS_TAG} must be {' or '.join(rule.bases)}")
    if rule.max_retention_days is not None:
        days = whole_days(found.get(RETENTION_TAG, ""))
        if days is None or days > rule.max_retention_days:
            reason = f"the collection's tag {RETENTION_TAG} must be at most {rule.max_retention_days}"
            raise _denied(call, held, rule, reason)


@lru_cache(maxsize=1024)
def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _check_threshold(call: Call, held: Held, rule: Threshold, purpose: str) -> None:
    wish, floor = asked.threshold(call.operation, call.request), floor_of(rule.max_fmr)
    if rule.mode == "deny" and wish is not None and wish < floor:
        name = asked.threshold_name(call.operation)
        raise _denied(call, held, rule, f'{name} {wish:g} is below the floor {floor:g} for purpose "{purpose}"')


def _raised(call: Call, rules: Rules) -> float:
    """The floor of the matches; a threshold below it is raised, and headers tell what is in effect and advised."""
    floors: dict[str, float] = {}
    for _, rule in rules.of(Threshold, _asking(call)):
        floors[rule.mode] = max(floors.get(rule.mode, 0.0), floor_of(rule.max_fmr))
    floor = max(floors.get("deny", 0.0), floors.get("raise", 0.0))
    wish = asked.threshold(call.operation, call.request)
    if wish is not None:
        if wish < floor:
            asked.set_threshold(call.operation, call.request, floor)
        if floors:
            call.headers[THRESHOLD_HEADER] = f"{max(wish, floor):g}"
        if floors.get("annotate", 0.0) > max(wish, floor):
            call.headers[ADVISED_HEADER] = f"{floors['annotate']:g}"
    return floor


def _check_tags(call: Call) -> None:
    """Tags that rules read must say something, or whoever set them would believe that they do."""
    days = (call.request.get("Tags") or {}).get(RETENTION_TAG)
    if days is not None and whole_days(days) is None:
        raise InvalidParameterException(f"The tag {RETENTION_TAG} must be a number of days, not {days}")


def _strip(value: Any, members: frozenset[str]) -> None:
    """Remove members of these names wherever they stand."""
    if isinstance(value, dict):
        for name in members & value.keys():
            del value[name]
        for inner in value.values():
            _strip(inner, members)
    elif isinstance(value, list):
        for inner in value:
            _strip(inner, members)


def _clamp(holder: dict[str, Any], floor: float) -> list[dict[str, Any]]:
    """Remove the matches below the floor; those that are left."""
    left: list[dict[str, Any]] = []
    for name in MATCHES:
        if holder.get(name):
            holder[name] = [match for match in holder[name] if match["Similarity"] >= floor]
            left += holder[name]
    return left
