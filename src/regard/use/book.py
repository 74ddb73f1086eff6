"""The policies in force, compiled so that a thousand of them cost a request no more than the few that hold for it.

Those that came with Regard hold until one of the same name is put into force. A server keeps the book in memory
and reads it anew when a request's access key comes with a later epoch, which is read in the same query.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache
from importlib import resources
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from regard.store import policies
from regard.store.database import Database
from regard.store.policies import Version
from regard.use import permissions
from regard.use.epochs import ByEpoch
from regard.use.keys import Principal
from regard.use.permissions import Document
from regard.use.policy import Policy, Rule, read
from regard.use.standing import status

LOCKED_DOWN = "locked-down"
"""What holds for keys whose purpose was not declared, or is no policy's."""

PRESETS = resources.files("regard.use") / "presets"
ROLES = resources.files("regard.use") / "roles"

EVERY = ""
"""Where `Held.rules` has all rules."""

_CALLERS = 4096  # and their collections, for which a process keeps what it has looked up

RuleT = TypeVar("RuleT")


@dataclass(frozen=True, slots=True)
class Held:
    """A policy in force, and its rules by the operation that they are about; under `EVERY` all."""

    policy: Policy
    version: int  # 0 for those that came with Regard
    digest: str
    rules: Mapping[str, tuple[Rule, ...]]

    @property
    def name(self) -> str:
        """Name and version, as sentences have it."""
        return f"{self.policy.name}@{self.version}"


@dataclass(frozen=True, slots=True)
class Rules:
    """The policies that hold for a call."""

    held: Sequence[Held]
    purpose: str
    _found: dict[Any, Sequence[Any]] = field(default_factory=dict, repr=False, compare=False)

    def of(self, kind: type[RuleT], operation: str = EVERY) -> Sequence[tuple[Held, RuleT]]:
        """The rules of a kind: those about an operation, else all."""
        found = self._found.get((kind, operation))
        if found is None:
            found = self._found[kind, operation] = [
                (held, rule) for held in self.held for rule in held.rules.get(operation, ()) if isinstance(rule, kind)
            ]
        return found


class Book:
    """All policies and permissions of an epoch."""

    def __init__(self, epoch: int, held: Iterable[Held], roles: Iterable[Document]) -> None:
        self.epoch = epoch
        self.held = {one.policy.name: one for one in held}
        self.roles = {document.name: document for document in roles}
        self.purposes = frozenset(purpose for one in self.held.values() for purpose in one.policy.holds.purposes)
        self._index: dict[tuple[str, str], list[Held]] = {}
        for one in self.held.values():
            for place in _places(one.policy):
                self._index.setdefault(place, []).append(one)
        self._rules = lru_cache(maxsize=_CALLERS)(self._look_up)
        # Shared by all for whom the same hold: what `Rules` has found takes a hundred times the memory of a caller.
        self._shared = lru_cache(maxsize=_CALLERS)(self._of)

    def rules(self, principal: Principal, collection_id: str | None, beginner: Principal | None = None) -> Rules:
        """The rules for a caller and a collection: `locked-down` for who has no purpose or is restricted. Those for
        the beginner of a job hold for whoever asks for its results, too."""
        own = self._rules_of(principal, collection_id)
        if beginner is None:
            return own
        names = {one.policy.name for rules in (own, self._rules_of(beginner, collection_id)) for one in rules.held}
        return self._shared(tuple(sorted(names)), own.purpose)

    def _rules_of(self, principal: Principal, collection_id: str | None) -> Rules:
        purpose = principal.purpose
        if purpose not in self.purposes or status(principal) == "restricted":
            purpose = LOCKED_DOWN
        return self._rules(principal.access_key_id, principal.account_id, purpose or LOCKED_DOWN, collection_id)

    def _look_up(self, access_key_id: str, account_id: str, purpose: str, collection_id: str | None) -> Rules:
        caller = {"access_keys": access_key_id, "accounts": account_id, "purposes": purpose}
        if collection_id is not None:
            caller["collections"] = collection_id
        places = (("", ""), *caller.items())
        found = [one for place in places for one in self._index.get(place, ()) if _holds(one.policy, caller)]
        return self._shared(tuple(sorted(one.policy.name for one in found)), purpose)

    def _of(self, names: Sequence[str], purpose: str) -> Rules:
        return Rules([self.held[name] for name in names], purpose)


# What a policy is looked up by: the first of these that it names, the one that fewest policies share.
_SELECTIVE = ("access_keys", "collections", "accounts", "purposes")


def _places(policy: Policy) -> list[tuple[str, str]]:
    for kind in _SELECTIVE:
        if names := getattr(policy.holds, kind):
            return [(kind, name) for name in dict.fromkeys(names)]
    return [("", "")]


def _holds(policy: Policy, caller: Mapping[str, str | None]) -> bool:
    names = ((getattr(policy.holds, kind), caller.get(kind)) for kind in _SELECTIVE)
    return all(not wanted or mine in wanted for wanted, mine in names)


def digest_of(text: str) -> str:
    """The SHA-256 of a policy's text, in hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


def hold(text: str, version: int = 0) -> Held:
    """A policy's text, read and compiled. Raises `PolicyError`."""
    policy = read(text, new=version == 0)
    rules: dict[str, list[Rule]] = {EVERY: list(policy.rules)}
    for rule in policy.rules:
        for operation in rule.about:
            rules.setdefault(operation, []).append(rule)
    return Held(policy, version, digest_of(text), {name: tuple(listed) for name, listed in rules.items()})


@cache
def presets() -> Mapping[str, str]:
    """The texts of the policies that come with Regard, by name."""
    return {
        file.name.removesuffix(".toml"): file.read_text("utf-8")
        for file in sorted(PRESETS.iterdir(), key=lambda file: file.name)
        if file.name.endswith(".toml")
    }


@cache
def roles() -> Mapping[str, str]:
    """The permissions that come with Regard, by the name of the role."""
    return {
        file.name.removesuffix(".json"): file.read_text("utf-8")
        for file in sorted(ROLES.iterdir(), key=lambda file: file.name)
        if file.name.endswith(".json")
    }


def book_of(epoch: int, stored: Iterable[Version], extra: Iterable[Held | Document] = ()) -> Book:
    """What came with Regard, with the stored versions in place of those of their names, and `extra` before all."""
    texts = {name: (text, 0) for name, text in (*presets().items(), *roles().items())}
    texts |= {one.name: (one.document, one.version) for one in stored if one.document is not None}
    documents = [*(compiled(*text) for text in texts.values()), *extra]
    return Book(
        epoch,
        [one for one in documents if isinstance(one, Held)],
        [one for one in documents if isinstance(one, Document)],
    )


@lru_cache(maxsize=1 << 14)  # so that one change of many policies costs the reading of one
def compiled(text: str, version: int = 0) -> Held | Document:
    """A use policy, which is TOML, or permissions, which are JSON. Raises `PolicyError`."""
    return permissions.read(text, version) if text.lstrip().startswith("{") else hold(text, version)


def shelf_of(database: Database) -> "Shelf":
    """The shelf of a database: one in a process, whoever asks for it."""
    return _SHELVES.setdefault(database, Shelf())


class Shelf(ByEpoch[Book]):
    """The book of a process."""

    def __init__(self) -> None:
        super().__init__(_in_force)


def _in_force(database: Database) -> Book:
    with database.snapshot() as connection:
        epoch, stored = policies.epoch(connection), policies.in_force(connection)
    return book_of(epoch, stored)


_SHELVES: WeakKeyDictionary[Database, Shelf] = WeakKeyDictionary()
