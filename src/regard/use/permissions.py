"""Permissions: who may call which operation on which resource, in a subset of AWS's IAM JSON.

A document is attached to access keys as their role. Within it an explicit Deny wins over every Allow, and what is
not allowed is denied, as in "Policy evaluation logic" of the IAM user guide. Elements, operators and keys that are
not known here are refused when the document is read: a condition that is ignored would be a permission given away.
"""

import hashlib
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import translate
from ipaddress import ip_address, ip_network
from typing import Annotated, Any, Literal

import orjson
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from regard.use.policy import Name, PolicyError
from regard.wire.service import operation_names

CONTROL_ACTIONS = (
    "regard:AddConsent",
    "regard:ApproveAuthorisation",
    "regard:EraseSubject",
    "regard:ExportSubject",
    "regard:ListConsents",
    "regard:ReadAudit",
    "regard:Review",
    "regard:TestPolicy",
    "regard:WithdrawConsent",
)
"""What the control plane under `/-/` asks for."""

KEYS: Mapping[str, type] = {
    "aws:CurrentTime": datetime,
    "aws:PrincipalAccount": str,
    "aws:SourceIp": str,
    "aws:TagKeys": list,
    "aws:UserAgent": str,
    "regard:Attributes": list,
    "regard:CollectionId": str,
    "regard:FromS3": bool,
    "regard:MaxResults": float,
    "regard:Purpose": str,
    "regard:Threshold": float,
}
"""The condition keys, and what a value is. `regard:Threshold` is the request's, or the operation's default;
`regard:FromS3` says whether a picture or video is read from a bucket."""

Values = Mapping[str, Any]
"""What a call has under the condition keys; keys that it has nothing for are absent."""

_ACTIONS = (*(f"rekognition:{name}" for name in operation_names()), *CONTROL_ACTIONS)


def _many(value: Any) -> Any:
    return [value] if isinstance(value, str | int | float | bool) else value


Strings = Annotated[tuple[str, ...], BeforeValidator(_many), Field(min_length=1)]
Conditions = dict[str, dict[str, Annotated[tuple[str | int | float | bool, ...], BeforeValidator(_many)]]]


class Statement(BaseModel):
    """A statement as AWS writes it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    Sid: str = ""
    Effect: Literal["Allow", "Deny"]
    Action: Strings | None = None
    NotAction: Strings | None = None
    Resource: Strings = ("*",)
    Condition: Conditions = {}

    @model_validator(mode="after")
    def _checked(self) -> "Statement":
        if (self.Action is None) == (self.NotAction is None):
            raise ValueError("exactly one of Action and NotAction must be given")
        for pattern in self.Action or self.NotAction or ():
            if not any(_like(pattern, action, ignore_case=True) for action in _ACTIONS):
                raise ValueError(f"no action matches {pattern!r}")
        for name, operands in self.Condition.items():
            for key, values in operands.items():
                _test(name, key, values)
        return self


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    Version: Literal["2012-10-17"]
    Id: Name
    Statement: Annotated[tuple[Statement, ...], BeforeValidator(lambda v: [v] if isinstance(v, dict) else v)]


Test = Callable[[Values], bool]


@dataclass(frozen=True, slots=True)
class _Compiled:
    sid: str
    resource: re.Pattern[str]
    tests: tuple[Test, ...]

    def applies(self, resource: str, values: Values) -> bool:
        return bool(self.resource.match(resource)) and all(test(values) for test in self.tests)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a document allows a call; if not, the statement that denies it, "" if none allows it."""

    allowed: bool
    statement: str = ""


@dataclass(frozen=True, slots=True)
class Document:
    """Permissions, compiled: by action the statements that are about it."""

    name: str
    version: int  # 0 for those that came with Regard
    digest: str
    _denials: Mapping[str, tuple[_Compiled, ...]]
    _grants: Mapping[str, tuple[_Compiled, ...]]

    def verdict(self, action: str, resource: str, values: Values) -> Verdict:
        """Whether `rekognition:SearchFaces`, say, is allowed on the resource of that ARN or "*"."""
        for statement in self._denials.get(action, ()):
            if statement.applies(resource, values):
                return Verdict(False, statement.sid)
        return Verdict(any(statement.applies(resource, values) for statement in self._grants.get(action, ())))


def read(text: str, version: int = 0) -> Document:
    """The permissions that a JSON text states. Raises `PolicyError` with every mistake on a line of its own."""
    try:
        document = _Document.model_validate(orjson.loads(text))
    except orjson.JSONDecodeError as error:
        raise PolicyError(f"no JSON: {error}") from error
    except ValidationError as error:
        raise PolicyError(
            "\n".join(
                f"{'.'.join(str(part) for part in item['loc']) or 'document'}: "
                f"{str(item['msg']).removeprefix('Value error, ')}"
                for item in error.errors()
            )
        ) from error
    digest = hashlib.sha256(text.encode()).hexdigest()
    return Document(
        document.Id, version, digest, _by_action(document.Statement, "Deny"), _by_action(document.Statement, "Allow")
    )


def _by_action(statements: tuple[Statement, ...], effect: str) -> dict[str, tuple[_Compiled, ...]]:
    found: dict[str, tuple[_Compiled, ...]] = {}
    for number, statement in enumerate(statements, 1):
        if statement.Effect != effect:
            continue
        compiled = _Compiled(
            statement.Sid or f"statement {number}",
            re.compile("|".join(_pattern(resource) for resource in statement.Resource)),
            tuple(
                _test(name, key, values)
                for name, operands in statement.Condition.items()
                for key, values in operands.items()
            ),
        )
        patterns, negated = statement.Action or statement.NotAction or (), statement.Action is None
        for action in _ACTIONS:
            if any(_like(pattern, action, ignore_case=True) for pattern in patterns) != negated:
                found[action] = (*found.get(action, ()), compiled)
    return found


def _pattern(text: str) -> str:
    """A regular expression for IAM's `*` and `?`; a `[` means itself."""
    return translate(text.replace("[", "[[]"))


def _like(pattern: str, value: str, *, ignore_case: bool = False) -> bool:
    return re.match(_pattern(pattern), value, re.IGNORECASE if ignore_case else 0) is not None


def _in_network(value: str, network: str) -> bool:
    try:
        return ip_address(value) in ip_network(network, strict=False)
    except ValueError:
        return False


def _time(value: Any) -> datetime:
    moment = datetime.fromisoformat(str(value))
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _boolean(value: Any) -> bool:
    if str(value).lower() not in ("true", "false"):
        raise ValueError(f"{value!r} is neither true nor false")
    return str(value).lower() == "true"


def _network(value: Any) -> str:
    ip_network(str(value), strict=False)
    return str(value)


@dataclass(frozen=True, slots=True)
class _Operator:
    """`matches(value of the call, value of the document)`; a `negated` one holds where no value matches."""

    of: type
    read: Callable[[Any], Any]
    matches: Callable[[Any, Any], bool]
    negated: bool = False


_OPERATORS: Mapping[str, _Operator] = {
    "StringEquals": _Operator(str, str, operator.eq),
    "StringNotEquals": _Operator(str, str, operator.eq, negated=True),
    "StringEqualsIgnoreCase": _Operator(str, str, lambda a, b: a.lower() == b.lower()),
    "StringNotEqualsIgnoreCase": _Operator(str, str, lambda a, b: a.lower() == b.lower(), negated=True),
    "StringLike": _Operator(str, str, lambda a, b: _like(b, a)),
    "StringNotLike": _Operator(str, str, lambda a, b: _like(b, a), negated=True),
    "NumericEquals": _Operator(float, float, operator.eq),
    "NumericNotEquals": _Operator(float, float, operator.eq, negated=True),
    "NumericLessThan": _Operator(float, float, operator.lt),
    "NumericLessThanEquals": _Operator(float, float, operator.le),
    "NumericGreaterThan": _Operator(float, float, operator.gt),
    "NumericGreaterThanEquals": _Operator(float, float, operator.ge),
    "DateEquals": _Operator(datetime, _time, operator.eq),
    "DateNotEquals": _Operator(datetime, _time, operator.eq, negated=True),
    "DateLessThan": _Operator(datetime, _time, operator.lt),
    "DateLessThanEquals": _Operator(datetime, _time, operator.le),
    "DateGreaterThan": _Operator(datetime, _time, operator.gt),
    "DateGreaterThanEquals": _Operator(datetime, _time, operator.ge),
    "Bool": _Operator(bool, _boolean, operator.eq),
    "IpAddress": _Operator(str, _network, _in_network),
    "NotIpAddress": _Operator(str, _network, _in_network, negated=True),
}


def _test(name: str, key: str, values: tuple[Any, ...]) -> Test:
    """The test of a condition. Raises `ValueError` for what is not known.

    As in IAM, a key that the call has nothing for fails a test, but not a negated one, nor one that ends in
    IfExists, nor ForAllValues.
    """
    kind = KEYS.get(key)
    if kind is None:
        raise ValueError(f"there is no condition key {key!r}, only {', '.join(KEYS)}")
    if name == "Null":
        absent = {_boolean(value) for value in values}
        return lambda call: (key not in call) in absent
    quantifier, _, rest = name.rpartition(":")
    found = _OPERATORS.get(rest.removesuffix("IfExists"))
    if found is None or quantifier not in ("", "ForAllValues", "ForAnyValue"):
        raise ValueError(f"there is no condition operator {name!r}, only Null, {', '.join(_OPERATORS)}")
    if (kind is list) != bool(quantifier):
        raise ValueError(f"{key} has {'several values and needs' if kind is list else 'one value and takes no'} "
                         "ForAllValues: or ForAnyValue:")  # fmt: skip
    if found.of is not (str if kind is list else kind):
        raise ValueError(f"{rest} does not fit {key}")
    wanted = tuple(found.read(value) for value in values)
    missing = found.negated or rest.endswith("IfExists") or quantifier == "ForAllValues"

    def one(value: Any) -> bool:
        return any(found.matches(value, each) for each in wanted) != found.negated

    def test(call: Values) -> bool:
        if key not in call:
            return missing
        if not quantifier:
            return one(call[key])
        return (all if quantifier == "ForAllValues" else any)(map(one, call[key]))

    return test
