"""People look over matches and moderated pictures: through boto3, the command line and the control plane."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

RULE = """
name = "verified"
title = "Matches that two people have verified"
[holds]
purposes = ["verified"]
[[rules]]
id = "two-people"
kind = "review"
mode = "{mode}"
quorum = 2
controls = 100
because = "nobody may be acted against on a match that two people have not verified"
"""
JFIF = b"\xff\xd8\xff\xe0\x00\x10JFIF"  # how a JPEG begins
FLOW = "arn:aws:sagemaker:us-east-1:123456789012:flow-definition/{}"


@dataclass(frozen=True)
class Bureau:
    """A deployment whose matches people verify: the caller's client, and reviewers at the command line."""

    server: Any
    client: Any
    reviewers: tuple[dict[str, str], ...]

    def review(self, reviewer: int, *arguments: str) -> Any:
        """What `regard review` prints for a reviewer."""
        done = subprocess.run(
            [sys.executable, "-m", "regard", "review", *arguments, "--endpoint", self.server.endpoint],
            env=self.server.deployment.environment | self.reviewers[reviewer],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise AssertionError(done.stderr)
        return json.loads(done.stdout)

    def search(self, photo: Path) -> tuple[list[str], str | None, str | None]:
        """Who is found in a photo, the review's id and its state."""
        found = self.client.search_faces_by_image(CollectionId="staff", Image={"Bytes": photo.read_bytes()})
        headers = found["ResponseMetadata"]["HTTPHeaders"]
        names = [match["Face"]["ExternalImageId"] for match in found["FaceMatches"]]
        return names, headers.get("x-regard-review-id"), headers.get("x-regard-review-state")


def key(deployment: Any, *arguments: str) -> dict[str, str]:
    made = json.loads(deployment.regard("keys", "create", "--json", *arguments))
    return {"AWS_ACCESS_KEY_ID": made["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": made["SecretAccessKey"]}


@pytest.fixture(scope="module")
def bureau(deploy: Callable[..., Any], photos: dict[str, Path], tmp_path_factory: Any) -> Iterator[Bureau]:
    deployment = deploy()
    file = tmp_path_factory.mktemp("policy") / "verified.toml"
    file.write_text(RULE.format(mode="withhold"))
    deployment.regard("policy", "apply", str(file))
    caller = key(deployment, "--purpose", "verified", "--role", "operator")
    reviewers = tuple(key(deployment, "--role", "reviewer") for _ in range(3))
    server = deployment.start()
    arguments = {
        "aws_access_key_id": caller["AWS_ACCESS_KEY_ID"],
        "aws_secret_access_key": caller["AWS_SECRET_ACCESS_KEY"],
    }
    with closing(server.client(**arguments)) as client:
        client.create_collection(CollectionId="staff")
        for name in ("obama", "biden"):
            client.index_faces(
                CollectionId="staff", Image={"Bytes": photos[name].read_bytes()}, ExternalImageId=name, MaxFaces=1
            )
        yield Bureau(server, client, (*reviewers, caller))
    assert server.stop() == 0


def test_matches_are_withheld_until_two_people_have_verified_them(
    bureau: Bureau, photos: dict[str, Path], tmp_path: Path
) -> None:
    names, review_id, state = bureau.search(photos["obama2"])
    assert (names, state) == ([], "open")
    assert bureau.search(photos["obama2"])[1] == review_id  # the same request is the same question
    assert review_id is not None
    assert [review["ReviewId"] for review in bureau.review(0, "list", "--json")] == [review_id]

    review = bureau.review(0, "show", review_id, "-o", str(tmp_path))
    with Image.open(tmp_path / f"{review_id}.jpg") as picture:
        assert max(picture.size) == 800
    assert {candidate["ExternalImageId"] for candidate in review["Candidates"]} == {"obama", "biden"}
    assert not any("Similarity" in candidate or "control" in candidate for candidate in review["Candidates"])
    right = next(one["id"] for one in review["Candidates"] if one["ExternalImageId"] == "obama")
    wrong = next(one["id"] for one in review["Candidates"] if one["ExternalImageId"] == "biden")

    first = bureau.review(0, "decide", review_id, "--right", right)
    assert (first["Verdicts"], first["Decided"]) == (1, None)
    assert "Similarity" in str(first["Candidates"])
    assert bureau.review(0, "list", "--json") == []
    with pytest.raises(AssertionError, match="you have given your verdict"):
        bureau.review(0, "decide", review_id, "--none")
    with pytest.raises(AssertionError, match="not among the candidates"):
        bureau.review(1, "decide", review_id, "--right", "somebody")
    with pytest.raises(AssertionError, match="whoever asked may not review"):
        bureau.review(3, "decide", review_id, "--right", right)
    assert bureau.review(3, "list", "--json") == []
    assert bureau.search(photos["obama2"])[::2] == ([], "open")

    unspoilt = bureau.review(1, "show", review_id, "-o", str(tmp_path))
    assert "Said" not in unspoilt
    last = bureau.review(1, "decide", review_id, "--right", right, "--right", wrong, "--note", "both, I think")
    assert (last["Confirmed"], last["Verdicts"]) == ([right], 2)
    assert bureau.search(photos["obama2"]) == (["obama"], review_id, "decided")
    with pytest.raises(AssertionError, match="no picture"):
        bureau.review(2, "show", review_id, "-o", str(tmp_path))

    by_key = {
        one["Reviewer"]: one for one in json.loads(bureau.server.deployment.regard("review", "reviewers", "--json"))
    }
    good, bad = (by_key[reviewer["AWS_ACCESS_KEY_ID"]] for reviewer in bureau.reviewers[:2])
    assert (good["Controls"], good["ControlsPassed"], bad["ControlsPassed"]) == (1, 1, 0)
    assert (good["JointReviews"], good["Agreed"]) == (1, 0)


def test_what_people_do_not_confirm_stays_withheld(bureau: Bureau, photos: dict[str, Path]) -> None:
    _, review_id, _ = bureau.search(photos["obama3"])
    assert review_id is not None
    for reviewer in (0, 2):
        bureau.review(reviewer, "decide", review_id, "--none")
    assert bureau.search(photos["obama3"]) == ([], review_id, "decided")


def test_no_match_needs_no_review(bureau: Bureau, photos: dict[str, Path]) -> None:
    assert bureau.search(photos["astronaut"]) == ([], None, None)


def test_marked_matches_are_given_at_once(bureau: Bureau, photos: dict[str, Path], tmp_path: Path) -> None:
    deployment = bureau.server.deployment
    try:
        (tmp_path / "verified.toml").write_text(RULE.format(mode="mark"))
        deployment.regard("policy", "apply", str(tmp_path / "verified.toml"))
        names, review_id, state = bureau.search(photos["biden"])
        assert (names, state) == (["biden"], "open")
        assert review_id is not None
    finally:
        (tmp_path / "verified.toml").write_text(RULE.format(mode="withhold"))
        deployment.regard("policy", "apply", str(tmp_path / "verified.toml"))


def test_caller_without_the_role_may_not_review(bureau: Bureau) -> None:
    plain = key(bureau.server.deployment, "--purpose", "verified")
    with pytest.raises(AssertionError, match="does not allow regard:Review"):
        Bureau(bureau.server, bureau.client, (plain,)).review(0, "list", "--json")


def test_flow_asks_people_where_its_conditions_hold(bureau: Bureau, face: bytes, tmp_path: Path) -> None:
    sampled = {"ConditionType": "Sampling", "ConditionParameters": {"RandomSamplingPercentage": 100}}
    sure = {
        "ConditionType": "ModerationLabelConfidenceCheck",
        "ConditionParameters": {"ModerationLabelName": "Explicit", "ConfidenceGreaterThan": 99.9},
    }
    (tmp_path / "always.json").write_text(json.dumps({"Conditions": [sampled]}))
    (tmp_path / "never.json").write_text(json.dumps({"Conditions": [{"And": [sampled, sure]}]}))
    for name in ("always", "never"):
        bureau.server.deployment.regard("review", "flow", "put", name, str(tmp_path / f"{name}.json"))

    def output(name: str) -> Any:
        config = {"HumanLoopName": "look", "FlowDefinitionArn": FLOW.format(name)}
        answer = bureau.client.detect_moderation_labels(Image={"Bytes": face}, HumanLoopConfig=config, MinConfidence=0)
        return answer["HumanLoopActivationOutput"]

    assert output("always")["HumanLoopArn"].endswith("human-loop/always/look")
    declined = output("never")
    assert "HumanLoopArn" not in declined
    assert "HumanLoopActivationReasons" not in declined
    results = json.loads(declined["HumanLoopActivationConditionsEvaluationResults"])
    assert [one["EvaluationResult"] for one in results["Conditions"][0]["And"]] == [True, False]

    waiting = [review for review in bureau.review(0, "list", "--json") if review["Kind"] == "moderation"]
    assert [review["Resource"] for review in waiting] == [FLOW.format("always")]
    review_id = waiting[0]["ReviewId"]
    review = bureau.review(0, "show", review_id, "-o", str(tmp_path))
    assert (tmp_path / f"{review_id}.jpg").exists()
    chosen = review["Candidates"][0]["id"]
    assert bureau.review(0, "decide", review_id, "--right", chosen)["Confirmed"] == [chosen]


def test_kept_pictures_are_sealed(bureau: Bureau, photos: dict[str, Path]) -> None:
    bureau.search(photos["obama"])
    for file in (bureau.server.deployment.home / "postgres").rglob("*"):
        assert not file.is_file() or JFIF not in file.read_bytes()
