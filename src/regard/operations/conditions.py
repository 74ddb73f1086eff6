"""When people look at what DetectModerationLabels found: the activation conditions of Amazon Augmented AI.

A flow definition carries a JSON object, `{"Conditions": [...]}`; a human loop begins if any of its members holds.
A member is a check of the confidence of labels, a sample, or either of both joined by And or Or, to two levels.
The result of sampling hangs on the picture, so that asking again gives no second chance, as A2I has it.
https://docs.aws.amazon.com/sagemaker/latest/dg/a2i-human-fallback-conditions-json-schema.html
"""

import hashlib
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal, Self

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

MAX_DEPTH = 2
_COMPARISONS: Mapping[str, Callable[[float, float], bool]] = {
    "ConfidenceEquals": operator.eq,
    "ConfidenceLessThan": operator.lt,
    "ConfidenceLessThanEquals": operator.le,
    "ConfidenceGreaterThan": operator.gt,
    "ConfidenceGreaterThanEquals": operator.ge,
}
_ANY_LABEL = "*"
_PERCENT = Annotated[float, Field(ge=0, le=100)]

Labels = Sequence[Mapping[str, Any]]
"""`ModerationLabels` of a response."""


class ConditionsError(Exception):
    """Conditions that A2I would not take; the text says where."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Confidence(_Strict):
    ModerationLabelName: str
    ConfidenceEquals: _PERCENT | None = None
    ConfidenceLessThan: _PERCENT | None = None
    ConfidenceLessThanEquals: _PERCENT | None = None
    ConfidenceGreaterThan: _PERCENT | None = None
    ConfidenceGreaterThanEquals: _PERCENT | None = None

    @model_validator(mode="after")
    def _compares(self) -> Self:
        if all(getattr(self, name) is None for name in _COMPARISONS):
            raise ValueError(f"one of {', '.join(_COMPARISONS)} must be given")
        return self

    def holds(self, labels: Labels) -> bool:
        """Whether a label of the name compares as is said, in all that is said."""
        bounds = [(compare, getattr(self, name)) for name, compare in _COMPARISONS.items()]
        return any(
            all(bound is None or compare(label["Confidence"], bound) for compare, bound in bounds)
            for label in labels
            if self.ModerationLabelName in (_ANY_LABEL, label["Name"])
        )


class _Share(_Strict):
    RandomSamplingPercentage: Annotated[float, Field(gt=0, le=100)]


class ConfidenceCheck(_Strict):
    """Whether a label was found with such a confidence."""

    ConditionType: Literal["ModerationLabelConfidenceCheck"]
    ConditionParameters: _Confidence

    def evaluate(self, labels: Labels, place: float) -> dict[str, Any]:  # noqa: ARG002 - as the other conditions
        """The condition with its `EvaluationResult`; `place` 0–1 is where the picture stands among all."""
        return self.model_dump(exclude_none=True) | {"EvaluationResult": self.ConditionParameters.holds(labels)}


class Sampling(_Strict):
    """Whether a picture is of the share that is looked at."""

    ConditionType: Literal["Sampling"]
    ConditionParameters: _Share

    def evaluate(self, labels: Labels, place: float) -> dict[str, Any]:  # noqa: ARG002 - as the other conditions
        held = place * 100 < self.ConditionParameters.RandomSamplingPercentage
        return self.model_dump() | {"EvaluationResult": held}


class And(_Strict):
    """All of its members."""

    And: Annotated[tuple["Condition", ...], Field(min_length=1)]

    def evaluate(self, labels: Labels, place: float) -> dict[str, Any]:
        members = [member.evaluate(labels, place) for member in self.And]
        return {"And": members, "EvaluationResult": all(member["EvaluationResult"] for member in members)}


class Or(_Strict):
    """Any of its members."""

    Or: Annotated[tuple["Condition", ...], Field(min_length=1)]

    def evaluate(self, labels: Labels, place: float) -> dict[str, Any]:
        members = [member.evaluate(labels, place) for member in self.Or]
        return {"Or": members, "EvaluationResult": any(member["EvaluationResult"] for member in members)}


Condition = ConfidenceCheck | Sampling | And | Or


class Conditions(_Strict):
    """What a flow definition's HumanLoopActivationConditions say."""

    Conditions: tuple[Condition, ...]

    @model_validator(mode="after")
    def _shallow(self) -> Self:
        if any(_depth(condition) > MAX_DEPTH for condition in self.Conditions):
            raise ValueError(f"conditions may be joined to {MAX_DEPTH} levels")
        return self

    def evaluate(self, labels: Labels, sample: bytes) -> tuple[bool, str]:
        """Whether a human loop begins, and A2I's HumanLoopActivationConditionsEvaluationResults.

        `sample` stands for the picture and the flow: the same bytes are always sampled, or never. Without any
        condition every picture is looked at.
        """
        place = int.from_bytes(hashlib.sha256(sample).digest()[:8]) / 2**64
        members = [condition.evaluate(labels, place) for condition in self.Conditions]
        begins = not members or any(member["EvaluationResult"] for member in members)
        return begins, orjson.dumps({"Conditions": members}).decode()


def read(text: str | bytes) -> Conditions:
    """The conditions that JSON states. Raises ConditionsError with every mistake."""
    try:
        return Conditions.model_validate_json(text)
    except ValidationError as error:
        mistakes = [f"{'.'.join(map(str, item['loc'])) or 'conditions'}: {item['msg']}" for item in error.errors()]
        raise ConditionsError("\n".join(mistakes)) from error


def _depth(condition: Condition) -> int:
    match condition:
        case And(And=members) | Or(Or=members):
            return 1 + max(_depth(member) for member in members)
        case _:
            return 0
