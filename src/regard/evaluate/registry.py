"""Every evaluation, by name. A module that measures something lists its own in `EVALUATIONS`."""

from regard.evaluate import (
    attributes,
    detection,
    equipment,
    fairness,
    identification,
    labels,
    moderation,
    normalisation,
    objects,
    quality,
    shots,
    tags,
    text,
    verification,
)
from regard.evaluate.result import Evaluation

_ALL: tuple[Evaluation, ...] = (
    *verification.EVALUATIONS,
    *identification.EVALUATIONS,
    *fairness.EVALUATIONS,
    *normalisation.EVALUATIONS,
    *detection.EVALUATIONS,
    *quality.EVALUATIONS,
    *attributes.EVALUATIONS,
    *objects.EVALUATIONS,
    *tags.EVALUATIONS,
    *labels.EVALUATIONS,
    *moderation.EVALUATIONS,
    *text.EVALUATIONS,
    *equipment.EVALUATIONS,
    *shots.EVALUATIONS,
)

EVALUATIONS: dict[str, Evaluation] = {evaluation.name: evaluation for evaluation in _ALL}
