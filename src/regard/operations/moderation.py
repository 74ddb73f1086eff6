"""DetectModerationLabels: what in a picture some audiences should not see, and the request that people look too."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sqlalchemy.engine import Connection

from regard.operations import conditions, human_review, pictures, shapes
from regard.operations.context import Context, Request, Response
from regard.operations.human_review import Question
from regard.operations.pictures import Limits, Picture
from regard.store import human_loops, reviews
from regard.vision import moderation
from regard.vision.moderation import Finding
from regard.wire.errors import InvalidParameterException, ResourceNotFoundException

DEFAULT_MIN_CONFIDENCE = 50.0
_NO_CONDITIONS = '{"Conditions": []}'
# Amazon Augmented AI's names: arn:aws:sagemaker:us-east-1:123456789012:flow-definition/my-flow, 63 characters at most.
_FLOW = re.compile(
    r"arn:aws[a-z\-]*:sagemaker:[a-z0-9\-]+:\d{12}:flow-definition/(?=.{1,63}\Z)([a-z0-9](?:-*[a-z0-9])*)"
)


def detect_moderation_labels(context: Context, request: Request) -> Response:
    adapter, loop = request.get("ProjectVersion"), request.get("HumanLoopConfig")
    if adapter is not None:
        raise ResourceNotFoundException(f"The project version {adapter} does not exist")
    flow = "" if loop is None else _flow(loop)
    # People who are asked see the picture as it is.
    limits = Limits(enough=moderation.ENOUGH if loop is None else None)
    picture = pictures.load(context, request["Image"], limits)
    minimum = request.get("MinConfidence", DEFAULT_MIN_CONFIDENCE)
    labels = moderation_labels(context.services.vision.moderation.moderate(picture.pixels), minimum)
    return {
        "ModerationLabels": labels,
        "ModerationModelVersion": moderation.VERSION,
        "HumanLoopActivationOutput": None if loop is None else _ask_people(context, loop, flow, picture, labels),
        "ContentTypes": [],
    }


def moderation_labels(findings: Sequence[Finding], minimum: float) -> list[dict[str, Any]]:
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


def _flow(loop: Mapping[str, Any]) -> str:
    """The name of the flow definition that a request's `HumanLoopConfig` asks for."""
    flow = _FLOW.fullmatch(loop["FlowDefinitionArn"])
    if flow is None:
        raise InvalidParameterException(f"The flow definition ARN: {loop['FlowDefinitionArn']} is not valid")
    return flow[1]


def _ask_people(
    context: Context, loop: Mapping[str, Any], name: str, picture: Picture, labels: list[dict[str, Any]]
) -> dict[str, Any]:
    """Begins a human loop where the flow's conditions hold; HumanLoopActivationOutput.

    A flow that the operator has not defined has no conditions, and begins with every picture. The ARN of a loop names
    the flow as well, since Regard's loops are unique within a flow.
    """
    with context.services.database.begin() as connection:
        flow = reviews.flow(connection, context.principal.account_id, name) or reviews.Flow(name, _NO_CONDITIONS, 1)
        begins, evaluated = conditions.read(flow.conditions).evaluate(labels, name.encode() + picture.digest)
        output = {"HumanLoopActivationConditionsEvaluationResults": evaluated}
        if not begins:
            return output
        _begin(context, connection, loop, flow, picture, labels)
    arn = context.arn(f"human-loop/{name}/{loop['HumanLoopName']}").replace(":rekognition:", ":sagemaker:", 1)
    return {"HumanLoopArn": arn, "HumanLoopActivationReasons": ["ConditionsEvaluation"], **output}


def _begin(
    context: Context,
    connection: Connection,
    loop: Mapping[str, Any],
    flow: reviews.Flow,
    picture: Picture,
    labels: list[dict[str, Any]],
) -> None:
    arn, loop_name = loop["FlowDefinitionArn"], loop["HumanLoopName"]
    try:
        human_loops.start(
            connection,
            context.principal.account_id,
            arn,
            loop_name,
            picture.digest,
            loop.get("DataAttributes", {}).get("ContentClassifiers", []),
            labels,
        )
    except human_loops.NameTaken:
        raise InvalidParameterException(f"The human loop name: {loop_name} is in use for another image.") from None
    digest = human_loops.review_digest(arn, loop_name)
    candidates = [{"id": label["Name"], **label} for label in labels]
    question = Question(
        "moderation",
        "DetectModerationLabels",
        arn,
        loop_name,
        "mark",
        flow.quorum,
        digest,
        candidates,
    )
    human_review.begin(context, connection, question, picture.pixels)
