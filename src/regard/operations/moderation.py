"""DetectModerationLabels: what in a picture some audiences should not see, and the request that people look too."""

import json
import re
from typing import Any

import numpy as np

from regard.operations import pictures, shapes
from regard.operations.context import Context, Request, Response
from regard.operations.pictures import Picture
from regard.store import human_loops
from regard.vision import moderation
from regard.vision.moderation import Finding
from regard.wire.errors import InvalidParameterException, ResourceNotFoundException

DEFAULT_MIN_CONFIDENCE = 50.0
# Amazon Augmented AI's names: arn:aws:sagemaker:us-east-1:123456789012:flow-definition/my-flow, 63 characters at most.
_FLOW = re.compile(
    r"arn:aws[a-z\-]*:sagemaker:[a-z0-9\-]+:\d{12}:flow-definition/(?=.{1,63}\Z)([a-z0-9](?:-*[a-z0-9])*)"
)
# Regard knows no conditions under which a picture needs no review: whoever asks for one gets it.
_ACTIVATED = {
    "HumanLoopActivationReasons": ["ConditionsEvaluation"],
    "HumanLoopActivationConditionsEvaluationResults": json.dumps({"Conditions": []}),
}


def detect_moderation_labels(context: Context, request: Request) -> Response:
    adapter, loop = request.get("ProjectVersion"), request.get("HumanLoopConfig")
    if adapter is not None:
        raise ResourceNotFoundException(f"The project version {adapter} does not exist")
    arn = None if loop is None else _loop_arn(context, loop)
    picture = pictures.load(context, request["Image"])
    minimum = request.get("MinConfidence", DEFAULT_MIN_CONFIDENCE)
    labels = _labels(context.services.vision.moderation.moderate(picture.pixels), minimum)
    if loop is not None:
        _start(context, loop, picture, labels)
    return {
        "ModerationLabels": labels,
        "ModerationModelVersion": moderation.VERSION,
        "HumanLoopActivationOutput": None if arn is None else {"HumanLoopArn": arn} | _ACTIVATED,
        "ContentTypes": [],
    }


def _labels(findings: list[Finding], minimum: float) -> list[dict[str, Any]]:
    """The findings that clients get: those of at least `minimum` percent, held against it as they are sent."""
    confidences = shapes.as_sent(np.array([finding.confidence for finding in findings]))
    return [
        {
            "Confidence": confidence,
            "Name": finding.label.name,
            "ParentName": finding.label.parent,
            "TaxonomyLevel": finding.label.level,
        }
        for finding, confidence in zip(findings, confidences, strict=True)
        if confidence >= minimum
    ]


def _loop_arn(context: Context, loop: dict[str, Any]) -> str:
    """The ARN of the loop that a request's `HumanLoopConfig` asks for.

    It names the flow as well, since Regard's loops are unique within a flow.
    """
    flow = _FLOW.fullmatch(loop["FlowDefinitionArn"])
    if flow is None:
        raise InvalidParameterException(f"The flow definition ARN: {loop['FlowDefinitionArn']} is not valid")
    return context.arn(f"human-loop/{flow[1]}/{loop['HumanLoopName']}").replace(":rekognition:", ":sagemaker:", 1)


def _start(context: Context, loop: dict[str, Any], picture: Picture, labels: list[dict[str, Any]]) -> None:
    with context.services.database.begin() as connection:
        try:
            human_loops.start(
                connection,
                context.principal.account_id,
                loop["FlowDefinitionArn"],
                loop["HumanLoopName"],
                picture.digest,
                loop.get("DataAttributes", {}).get("ContentClassifiers", []),
                labels,
            )
        except human_loops.NameTaken:
            raise InvalidParameterException(
                f"The human loop name: {loop['HumanLoopName']} is in use for another image."
            ) from None
