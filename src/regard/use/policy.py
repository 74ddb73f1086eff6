"""Use policies: TOML files that say what a purpose may do, rule by rule, each rule with an id and its reasons.

A policy states where it holds (`[holds]`: purposes, accounts, access keys, collections; what is left out holds for
all) and a list of rules of the kinds below. A file that says anything else is refused, with the place named:
a misspelt rule must not be a rule that silently does nothing. docs/use-policy.md explains each kind.
"""

import difflib
import tomllib
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from typing import Annotated, Any, ClassVar, Literal

import orjson
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from regard.operations.shapes import ATTRIBUTES
from regard.use.asked import ASKED_BY
from regard.wire.service import operation_names

IDENTIFYING = (
    "Search*",
    "IndexFaces",
    "CreateUser",
    "AssociateFaces",
    "RecognizeCelebrities",
    "StartFaceSearch",
    "GetFaceSearch",
    "StartCelebrityRecognition",
    "GetCelebrityRecognition",
    "CreateStreamProcessor",
    "StartStreamProcessor",
)
"""Operations that say who somebody is, or enrol somebody so that it can be said."""

ONE_TO_MANY = ("Search*", "StartFaceSearch", "RecognizeCelebrities", "StartCelebrityRecognition")
"""Operations that look for somebody among many."""

THRESHOLDS = ("Search*", "CompareFaces", "AssociateFaces", "StartFaceSearch", "CreateStreamProcessor")
"""Operations that hold a Similarity against a threshold."""

REVIEWED = ("Search*", "StartFaceSearch")
"""Operations whose matches people can look over."""

# A Similarity of 99 stands for one in a million; what is rarer, no calibration can tell.
LEAST_FMR, MOST_FMR = 1e-6, 1e-2
_ADULT = 18
_OPERATIONS = operation_names()


class PolicyError(Exception):
    """A policy that cannot be put into force; the text says where it is wrong."""


def matching(patterns: Iterable[str]) -> frozenset[str]:
    """The operations that match any of the patterns, `*` and `?` as in IAM."""
    return frozenset(name for name in _OPERATIONS for pattern in patterns if fnmatchcase(name, pattern))


def _operations(patterns: tuple[str, ...]) -> tuple[str, ...]:
    for pattern in patterns:
        if not matching((pattern,)):
            near = difflib.get_close_matches(pattern.replace("*", ""), _OPERATIONS, 1)
            raise ValueError(f"no operation matches {pattern!r}" + (f"; is it {near[0]}?" if near else ""))
    return patterns


def _attributes(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if name not in ATTRIBUTES:
            raise ValueError(f"{name!r} is none of {', '.join(sorted(ATTRIBUTES))}")
    return names


Words = Annotated[str, Field(min_length=1, max_length=400, pattern=r"^[^\n]*[^\n.]$")]
Name = Annotated[str, Field(pattern=r"^[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?$")]
Cite = Annotated[str, Field(pattern=r"^[a-z0-9-]+(?:/[A-Za-z0-9.-]+)*$")]
Operations = Annotated[tuple[str, ...], Field(min_length=1), AfterValidator(_operations)]
Attributes = Annotated[tuple[str, ...], Field(min_length=1), AfterValidator(_attributes)]
Fmr = Annotated[float, Field(ge=LEAST_FMR, le=MOST_FMR)]
Period = Literal["hour", "day"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class _Rule(_Strict):
    acts_on: ClassVar[frozenset[str]] = frozenset(_OPERATIONS)
    """The operations that rules of the kind can do something about."""

    id: Name
    because: Words
    cites: tuple[Cite, ...] = ()

    @property
    def about(self) -> frozenset[str]:
        """The operations that the rule is about, as far as it names any."""
        return matching(getattr(self, "operations", ())) & self.acts_on


class Forbidden(_Rule):
    """Operations that are refused."""

    kind: Literal["operations"]
    operations: Operations


class WithheldAttributes(_Rule):
    """Attributes of faces that may not be inferred: asking is denied, or they are left out of the answer."""

    acts_on = frozenset(_OPERATIONS) - ASKED_BY.keys()
    kind: Literal["attributes"]
    attributes: Attributes
    mode: Literal["deny", "withhold"] = "deny"
    operations: Operations = ("*",)


class Threshold(_Rule):
    """The least Similarity, as the false match rate that it must stand for."""

    acts_on = matching(THRESHOLDS)
    kind: Literal["threshold"]
    max_fmr: Fmr
    mode: Literal["deny", "raise", "annotate"] = "deny"
    operations: Operations = THRESHOLDS


class TaggedCollection(_Rule):
    """What the `use:*` tags of a collection must say before faces in it are enrolled or searched."""

    kind: Literal["collection"]
    operations: Operations = IDENTIFYING
    untagged: Literal["allow", "deny"] = "deny"  # without a tag use:purpose
    bases: tuple[Name, ...] = ()  # use:basis must be one of these
    max_retention_days: Annotated[int, Field(ge=1)] | None = None  # use:retention-days must be there and at most this


class Budget(_Rule):
    """How often a key may use operations per hour or day."""

    kind: Literal["budget"]
    operations: Operations = ONE_TO_MANY
    max: Annotated[int, Field(ge=1)]
    per: Period


class RepeatedProbe(_Rule):
    """How often an account may search for the same person per hour or day."""

    kind: Literal["repeated-probe"]
    operations: Operations = ("SearchFaces", "SearchFacesByImage", "SearchUsers", "SearchUsersByImage")
    max: Annotated[int, Field(ge=1)]
    per: Period


class OptOut(_Rule):
    """People of the opt-out gallery are neither enrolled nor found."""

    kind: Literal["opt-out"]
    max_fmr: Fmr = 1e-4


class Minors(_Rule):
    """Faces that look younger are neither enrolled nor searched for."""

    kind: Literal["minors"]
    below: Annotated[int, Field(ge=1, le=_ADULT)]


class Authorisation(_Rule):
    """An authorisation by two people must cover the search, or be asked for at most `grace_hours` ago."""

    kind: Literal["authorisation"]
    operations: Operations = ONE_TO_MANY
    grace_hours: Annotated[int, Field(ge=0, le=48)] = 0


class Streams(_Rule):
    """Whether live video may be searched for faces."""

    kind: Literal["streams"]
    face_search: Literal[False]


class Review(_Rule):
    """Matches that people must confirm: `quorum` of them, none of whom asked for it. Until then they are withheld, or
    only marked. `controls` percent of the reviews have a face among them that is somebody else's."""

    acts_on = matching(REVIEWED)
    kind: Literal["review"]
    operations: Operations = REVIEWED
    mode: Literal["withhold", "mark"] = "withhold"
    quorum: Annotated[int, Field(ge=1, le=9)] = 2
    controls: Annotated[float, Field(ge=0, le=100)] = 20


class Suspension(_Rule):
    """How many denials by rules of use suspend a key."""

    kind: Literal["suspension"]
    violations: Annotated[int, Field(ge=1)]
    within_hours: Annotated[int, Field(ge=1)]


Rule = (
    Forbidden
    | WithheldAttributes
    | Threshold
    | TaggedCollection
    | Budget
    | RepeatedProbe
    | OptOut
    | Minors
    | Authorisation
    | Streams
    | Review
    | Suspension
)


class Holds(_Strict):
    """Where a policy holds: each list that is given must contain the caller's; none given: everywhere."""

    purposes: tuple[Name, ...] = ()
    accounts: tuple[Annotated[str, Field(pattern=r"^\d{12}$")], ...] = ()
    access_keys: tuple[str, ...] = ()
    collections: tuple[str, ...] = ()


class Policy(_Strict):
    """A use policy."""

    name: Name
    title: Words
    about: str = ""
    holds: Holds
    rules: tuple[Annotated[Rule, Field(discriminator="kind")], ...] = ()

    @model_validator(mode="after")
    def _distinct(self) -> "Policy":
        seen: set[str] = set()
        for rule in self.rules:
            if rule.id in seen:
                raise ValueError(f"two rules have the id {rule.id!r}")
            seen.add(rule.id)
        return self


def read(text: str, *, new: bool = True) -> Policy:
    """The policy that a TOML text states. Raises `PolicyError` with every mistake on a line of its own.

    In a `new` one it is a mistake to name operations that a rule does nothing about; others may be in force from before
    that was one.
    """
    try:
        data = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise PolicyError(f"no TOML: {error}") from error
    try:
        policy = Policy.model_validate_json(orjson.dumps(data))
    except (ValidationError, TypeError) as error:
        raise PolicyError(_explained(error, data)) from error
    if new and (idle := [line for rule in policy.rules for line in _idle(rule)]):
        raise PolicyError("\n".join(idle))
    return policy


def _idle(rule: Rule) -> Iterator[str]:
    """What a rule says in vain."""
    for pattern in getattr(rule, "operations", ()):
        named = matching((pattern,))
        if not named & rule.acts_on:
            began = ", ".join(sorted(ASKED_BY[name] for name in named & ASKED_BY.keys()))
            hint = f", whose results are those of {began}" if began else ""
            yield f'rule "{rule.id}" operations: such a rule does nothing about {pattern!r}{hint}'


def _explained(error: ValidationError | TypeError, data: dict[str, Any]) -> str:
    if isinstance(error, TypeError):  # dates and the like, which no policy has
        return str(error)
    return "\n".join(f"{_place(item['loc'], data)}: {_said(item)}" for item in error.errors())


def _place(location: tuple[int | str, ...], data: dict[str, Any]) -> str:
    """Where a mistake is, with a rule by its id rather than by its number."""
    match location:
        case ("rules", int(number), *rest):
            rule = data["rules"][number]
            name = rule.get("id") if isinstance(rule, dict) else None
            inner = [str(part) for part in rest if part != (rule.get("kind") if isinstance(rule, dict) else None)]
            return " ".join([f'rule "{name}"' if name else f"rule {number + 1}", ".".join(inner)]).strip()
        case ():
            return "policy"
        case _:
            return ".".join(map(str, location))


def _said(item: Any) -> str:
    match item["type"]:
        case "extra_forbidden":
            return "there is no such field"
        case "missing":
            return "is missing"
        case "union_tag_not_found":
            return "kind is missing"
        case "union_tag_invalid":
            return f"there is no kind '{item['ctx']['tag']}', only {item['ctx']['expected_tags']}"
        case _:
            return str(item["msg"]).removeprefix("Value error, ")
