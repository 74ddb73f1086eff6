"""DetectModerationLabels through boto3, with and without a request for people to look."""

import json
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from regard.settings import Settings
from regard.store.database import Database
from regard.store.tables import human_loops

FLOW = "arn:aws:sagemaker:us-east-1:123456789012:flow-definition/second-look"
ADAPTER = "arn:aws:rekognition:us-east-1:123456789012:project/mine/version/first/1700000000000"


def loop(name: str, flow: str = FLOW, **attributes: Any) -> dict[str, Any]:
    return {"HumanLoopName": name, "FlowDefinitionArn": flow} | attributes


def test_a_portrait_has_no_label(rekognition: Any, picture: Any) -> None:
    response = rekognition.detect_moderation_labels(Image=picture("obama"))
    assert response["ModerationLabels"] == []
    assert response["ModerationModelVersion"] == "7.0"
    assert response["ContentTypes"] == []
    assert "HumanLoopActivationOutput" not in response
    assert "ProjectVersion" not in response


def test_labels_come_in_chains_with_parents_as_confident(rekognition: Any, picture: Any) -> None:
    labels = rekognition.detect_moderation_labels(Image=picture("obama"), MinConfidence=0)["ModerationLabels"]
    assert labels
    confidences = [label["Confidence"] for label in labels]
    assert confidences == sorted(confidences, reverse=True)
    sent = {label["Name"]: label for label in labels}
    assert len(sent) == len(labels)
    for label in labels:
        assert label["TaxonomyLevel"] in (1, 2, 3)
        if label["TaxonomyLevel"] == 1:
            assert label["ParentName"] == ""
        else:
            parent = sent[label["ParentName"]]
            assert parent["TaxonomyLevel"] == label["TaxonomyLevel"] - 1
            assert parent["Confidence"] >= label["Confidence"]
            assert labels.index(parent) < labels.index(label)


def test_min_confidence_is_inclusive_and_exact(rekognition: Any, picture: Any) -> None:
    def ask(least: float) -> list[dict[str, Any]]:
        labels: list[dict[str, Any]] = rekognition.detect_moderation_labels(
            Image=picture("obama"), MinConfidence=least
        )["ModerationLabels"]
        return labels

    every = ask(0)
    best = every[0]["Confidence"]
    assert ask(best) == [label for label in every if label["Confidence"] == best]
    assert ask(best + 0.01) == []


def test_a_weapon_is_seen(rekognition: Any, evaluation_data: Path) -> None:
    """One picture on which the network is sure; how often it is right is what `regard evaluate` measures."""
    (revolver,) = (evaluation_data / "imagenet").glob("*_revolver.*")
    labels = rekognition.detect_moderation_labels(Image={"Bytes": revolver.read_bytes()})["ModerationLabels"]
    assert [(label["Name"], label["ParentName"]) for label in labels] == [("Violence", ""), ("Weapons", "Violence")]


def test_no_adapter_exists_yet(rekognition: Any, picture: Any) -> None:
    with pytest.raises(rekognition.exceptions.ResourceNotFoundException, match="does not exist"):
        rekognition.detect_moderation_labels(Image=picture("obama"), ProjectVersion=ADAPTER)


@pytest.mark.parametrize("least", [-1, 101])
def test_a_confidence_that_is_none(unchecked: Any, picture: Any, least: float) -> None:
    with pytest.raises(unchecked.exceptions.InvalidParameterException, match="minConfidence"):
        unchecked.detect_moderation_labels(Image=picture("obama"), MinConfidence=least)


def test_what_is_no_picture(rekognition: Any) -> None:
    with pytest.raises(rekognition.exceptions.InvalidImageFormatException):
        rekognition.detect_moderation_labels(Image={"Bytes": b"GIF89a"})


def test_a_human_loop_is_kept_without_the_picture(server: Any, rekognition: Any, picture: Any, face: bytes) -> None:
    attributes = {"DataAttributes": {"ContentClassifiers": ["FreeOfAdultContent"]}}
    request = {"Image": {"Bytes": face}, "HumanLoopConfig": loop("kept", **attributes), "MinConfidence": 0}
    response = rekognition.detect_moderation_labels(**request)
    output = response["HumanLoopActivationOutput"]
    account = output["HumanLoopArn"].split(":")[4]
    assert output["HumanLoopArn"] == f"arn:aws:sagemaker:us-east-1:{account}:human-loop/second-look/kept"
    assert output["HumanLoopActivationReasons"] == ["ConditionsEvaluation"]
    assert json.loads(output["HumanLoopActivationConditionsEvaluationResults"]) == {"Conditions": []}
    assert rekognition.detect_moderation_labels(**request)["HumanLoopActivationOutput"] == output

    database = Database.open(Settings(home=server.deployment.home))
    with database.read() as connection:
        (row,) = connection.execute(sa.select(human_loops).filter_by(name="kept"))
    database.close()
    assert row.account_id == account
    assert row.content_classifiers == ["FreeOfAdultContent"]
    assert row.labels == response["ModerationLabels"]
    assert face not in (bytes(value) for value in row if isinstance(value, bytes))


def test_a_human_loop_of_another_picture_is_refused(rekognition: Any, picture: Any, face: bytes) -> None:
    rekognition.detect_moderation_labels(Image={"Bytes": face}, HumanLoopConfig=loop("taken"))
    with pytest.raises(rekognition.exceptions.InvalidParameterException, match="taken is in use"):
        rekognition.detect_moderation_labels(Image=picture("obama"), HumanLoopConfig=loop("taken"))
    other = rekognition.detect_moderation_labels(
        Image=picture("obama"), HumanLoopConfig=loop("taken", FLOW.replace("second", "third"))
    )
    assert other["HumanLoopActivationOutput"]["HumanLoopArn"].endswith("human-loop/third-look/taken")


@pytest.mark.parametrize(
    "wrong",
    [
        loop("Upper"),
        loop("ends-"),
        loop("x" * 64),
        loop("fine", "arn:aws:sagemaker:us-east-1:123456789012:endpoint/not-a-flow"),
        loop("fine", "second-look"),
        loop("fine", FLOW + "x" * 60),
        loop("fine", DataAttributes={"ContentClassifiers": ["FreeOfEverything"]}),
        {"HumanLoopName": "fine"},
    ],
)
def test_a_human_loop_that_is_described_wrongly(unchecked: Any, picture: Any, wrong: dict[str, Any]) -> None:
    with pytest.raises(unchecked.exceptions.InvalidParameterException):
        unchecked.detect_moderation_labels(Image=picture("obama"), HumanLoopConfig=wrong)


def test_a_refused_picture_leaves_no_human_loop(rekognition: Any, face: bytes) -> None:
    with pytest.raises(rekognition.exceptions.InvalidImageFormatException):
        rekognition.detect_moderation_labels(Image={"Bytes": b"GIF89a"}, HumanLoopConfig=loop("afterwards"))
    rekognition.detect_moderation_labels(Image={"Bytes": face}, HumanLoopConfig=loop("afterwards"))
