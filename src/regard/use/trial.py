"""Decisions without doing: what permissions and use policies would say to a request, for who writes them.

A case states a caller and a request, and may state what is expected of it. Of the request only what rules look at is
needed: no picture. Limits that count (budgets, repeated searches) and what hangs on faces (minors, opt-outs) are not
asked, because nothing is searched.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any, Literal

import orjson
from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from regard.operations.context import Context, Services
from regard.use.book import Book
from regard.use.chain import Call
from regard.use.decisions import ADVISED_HEADER, THRESHOLD_HEADER
from regard.use.enforcement import Permission, UsePolicy
from regard.use.keys import DEFAULT_ROLE, Principal
from regard.use.policy import PolicyError
from regard.wire.errors import ServiceError
from regard.wire.service import operation_names

_ACCOUNT, _KEY = "000000000000", "AKIAEXAMPLE"


def _known(name: str) -> str:
    if name not in operation_names():
        raise ValueError(f"there is no operation {name!r}")
    return name


class Case(BaseModel):
    """A caller and a request. `tags` are the collection's; `authorised` says whether an authorisation covers it."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    operation: Annotated[str, AfterValidator(_known)]
    request: dict[str, Any] = {}
    purpose: str | None = None
    role: str = DEFAULT_ROLE
    account: str = _ACCOUNT
    access_key: str = _KEY
    client_ip: str = ""
    tags: dict[str, str] = {}
    authorised: bool = False


class Expectation(Case):
    """A case, and what is to come of it; `rule` as POLICY/RULE, `threshold` and `advised` as the headers say."""

    decision: Literal["allow", "deny"]
    rule: str | None = None
    threshold: float | None = None
    advised: float | None = None
    withheld: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Decision:
    """What came of a case. `message` is the error's, "" if it is allowed."""

    decision: Literal["allow", "deny"]
    message: str
    rule: str | None
    cites: list[str]
    threshold: float | None
    advised: float | None
    withheld: list[str]
    policies: list[str]

    def differences(self, expected: Expectation) -> list[str]:
        """What is not as expected, a clause each."""
        pairs = (
            ("decision", expected.decision, self.decision),
            ("rule", expected.rule, self.rule),
            ("threshold", expected.threshold, self.threshold),
            ("advised", expected.advised, self.advised),
            ("withheld", list(expected.withheld), self.withheld),
        )
        return [f"{name} is {found}, not {wanted}" for name, wanted, found in pairs if wanted != found]


class _Stated:
    """The records that a case states."""

    def __init__(self, case: Case) -> None:
        self._case = case

    def tags(self, _call: Call, _collection_id: str) -> Mapping[str, str]:
        return self._case.tags

    def authorisation(self, _call: Call, _collection_id: str | None, _grace: timedelta) -> str | None:
        return "a-stated" if self._case.authorised else None


def read_cases(text: str) -> list[Expectation]:
    """The `[[cases]]` of a TOML text. Raises `PolicyError` with the place of each mistake."""
    try:
        cases = tomllib.loads(text).get("cases", [])
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise PolicyError(f"no TOML: {error}") from error
    if not isinstance(cases, list):
        raise PolicyError("cases are written as [[cases]]")
    found, wrong = [], []
    for number, case in enumerate(cases, 1):
        try:
            found.append(Expectation.model_validate_json(orjson.dumps(case)))
        except ValidationError as error:
            wrong += [f"case {number} {'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()]
        except TypeError as error:  # a number of more than 64 bits, which JSON has no room for
            wrong.append(f"case {number}: {error}")
    if wrong or not found:
        raise PolicyError("\n".join(wrong) or "there are no [[cases]]")
    return found


def decide(services: Services, book: Book, case: Case) -> Decision:
    """What the policies of a book say to a case."""
    principal = Principal(case.access_key, case.account, "", case.purpose, case.role)
    request = orjson.loads(orjson.dumps(case.request))  # which a raised threshold changes
    call = Call("", case.operation, Context(principal, services), request=request, client_ip=case.client_ip)
    message = ""
    try:
        for stage in (Permission(lambda _: book), UsePolicy(lambda _: book, _Stated(case))):
            stage.before(call)
    except ServiceError as error:
        message = error.message
    decision = call.facts.get("decision", {})
    rules = call.rules or book.rules(principal, None)
    return Decision(
        "deny" if message else "allow",
        message,
        f"{decision['policy'].partition('@')[0]}/{decision['rule']}" if "rule" in decision else None,
        decision.get("cites", []),
        _number(call.headers.get(THRESHOLD_HEADER)),
        _number(call.headers.get(ADVISED_HEADER)),
        sorted(call.context.guard.withheld),
        [held.name for held in rules.held],
    )


def _number(text: str | None) -> float | None:
    return None if text is None else float(text)
