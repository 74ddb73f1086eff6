"""What the rules of use do within an operation: where faces have been found and nothing has been answered yet."""

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from regard.store import limits
from regard.use import probes
from regard.use.book import Held, Rules
from regard.use.chain import Call
from regard.use.decisions import WITHHELD_HEADER, deny, use_policy
from regard.use.optouts import OptOuts
from regard.use.policy import Minors, OptOut, RepeatedProbe
from regard.vision.faces import Face
from regard.vision.similarity import at_rate


@cache
def floor_of(max_fmr: float) -> float:
    """The Similarity that stands for a false match rate, by what the running network's calibration measured."""
    return round(float(at_rate(max_fmr)), 4)


def beginning(period: Literal["hour", "day"], now: datetime) -> datetime:
    """When the period began that `now` is in."""
    start = now.replace(minute=0, second=0, microsecond=0)
    return start if period == "hour" else start.replace(hour=0)


class PolicyGuard:
    """The guard of one call; see `operations.context.Guard`."""

    def __init__(self, call: Call, rules: Rules, withheld: frozenset[str], floor: float, opt_outs: OptOuts) -> None:
        self.withheld = withheld
        self.floor = floor
        self._call = call
        self._opt_outs = opt_outs
        self._minors = rules.of(Minors)
        self._opt_out_rules = rules.of(OptOut)
        self._repeated = rules.of(RepeatedProbe, call.operation)
        self.needed = frozenset({"AGE_RANGE"}) if self._minors else frozenset()

    def admit(self, face: Face | None, embedding: NDArray[np.float32]) -> bool:
        for held, rule in self._repeated:
            self._count(held, rule, embedding)
        return bool(self._allowed([face], embedding[None])[0])

    def enrol(self, faces: Sequence[Face], embeddings: NDArray[np.float32]) -> NDArray[np.bool_]:
        return self._allowed(faces, embeddings)

    def reveal(self, embeddings: NDArray[np.float32]) -> NDArray[np.bool_]:
        return self._allowed([None] * len(embeddings), embeddings)

    def _allowed(self, faces: Sequence[Face | None], embeddings: NDArray[np.float32]) -> NDArray[np.bool_]:
        services, epoch = self._call.context.services, self._call.context.principal.epoch
        allowed = np.ones(len(faces), bool)
        for _, minors in self._minors:
            allowed &= self._withhold(
                minors.id, np.array([_may_be_younger(face, minors.below) for face in faces], bool)
            )
        for _, opt_out in self._opt_out_rules:
            alike = self._opt_outs.alike(services, epoch, embeddings, floor_of(opt_out.max_fmr))
            allowed &= self._withhold(opt_out.id, alike)
        return allowed

    def _withhold(self, rule: str, which: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """What is not `which`; told in the facts and in a header."""
        if which.any():
            withheld = self._call.facts.setdefault("withheld", {})
            withheld[rule] = withheld.get(rule, 0) + int(which.sum())
            self._call.headers[WITHHELD_HEADER] = ",".join(sorted(withheld))
        return ~which

    def _count(self, held: Held, rule: RepeatedProbe, embedding: NDArray[np.float32]) -> None:
        services, account_id = self._call.context.services, self._call.context.principal.account_id
        period = beginning(rule.per, datetime.now(UTC))
        name = f"{held.policy.name}/{rule.id}"
        key = services.sealer.key(f"probes {account_id} {name} {period.isoformat()}")
        with services.database.begin() as connection:
            first = limits.probe(
                connection, account_id, name, period, probes.signature(embedding, key), probes.RADIUS, rule.max
            )
        if not first:
            reason = f"the same person was searched for {rule.max} times this {rule.per}"
            raise deny(self._call, use_policy(held.name, rule.id), reason, **cited(held, rule))


def cited(held: Held, rule: "RepeatedProbe | Minors | OptOut | object") -> dict[str, object]:
    """What a decision tells of the rule that made it."""
    return {"policy": held.name, "rule": getattr(rule, "id", ""), "cites": list(getattr(rule, "cites", ()))}


def _may_be_younger(face: Face | None, age: int) -> bool:
    """By the lower end of the estimate, so that an error is rather an adult kept out than a child let in."""
    return face is not None and face.age_range is not None and face.age_range[0] < age
