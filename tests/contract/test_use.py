"""Enforceable use, as AWS clients meet it: what is denied, how it is said, and that it is asked for once."""

import json
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import urllib3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

Connect = Callable[..., Any]
Picture = Callable[[str], dict[str, bytes]]
RETRYING = Config(retries={"mode": "standard", "total_max_attempts": 4})


@pytest.fixture(scope="module")
def keys(server: Any) -> Callable[..., dict[str, str]]:
    """`keys(purpose, *options)` is an access key for that purpose, made once."""
    made: dict[tuple[str, ...], dict[str, str]] = {}

    def key(*options: str) -> dict[str, str]:
        if options not in made:
            made[options] = json.loads(server.deployment.regard("keys", "create", *options, "--json"))
        return made[options]

    return key


@pytest.fixture
def caller(keys: Callable[..., dict[str, str]], connect: Connect) -> Callable[..., Any]:
    """`caller(purpose, *options)` is a client with such a key."""

    def client(purpose: str | None = None, *options: str) -> Any:
        key = keys(*(("--purpose", purpose) if purpose else ()), *options)
        made = connect(
            aws_access_key_id=key["AccessKeyId"], aws_secret_access_key=key["SecretAccessKey"], config=RETRYING
        )
        made.access_key_id = key["AccessKeyId"]
        return made

    return client


@pytest.fixture
def applied(server: Any, tmp_path: Path) -> Iterator[Callable[[str], str]]:
    """`applied(rules)` puts a policy with these rules into force, of a new purpose, which it gives."""
    made: list[str] = []

    def apply(rules: str) -> str:
        name = f"test-{uuid.uuid4().hex[:12]}"
        file = tmp_path / f"{name}.toml"
        file.write_text(f'name = "{name}"\ntitle = "A test"\n[holds]\npurposes = ["{name}"]\n{rules}')
        server.deployment.regard("policy", "apply", str(file))
        made.append(name)
        return name

    yield apply
    for name in made:
        server.deployment.regard("policy", "withdraw", name)


def rule(kind: str, more: str = "") -> str:
    return f'[[rules]]\nid = "the-rule"\nbecause = "it is a test"\nkind = "{kind}"\n{more}\n'


def denial(operation: Callable[..., Any], **parameters: Any) -> str:
    """The sentence of a denial, which was sent once and has its decision in a header, too; or the test fails."""
    with pytest.raises(ClientError) as raised:
        operation(**parameters)
    response = raised.value.response
    assert response["Error"]["Code"] == "AccessDeniedException"
    metadata = response["ResponseMetadata"]
    assert (metadata["HTTPStatusCode"], metadata["RetryAttempts"]) == (400, 0)
    sentence = str(response["Error"]["Message"])
    assert sentence.endswith(f" Decision: {metadata['HTTPHeaders']['x-regard-decision-id']}")
    return sentence


def header(response: dict[str, Any], name: str) -> str | None:
    value: str | None = response["ResponseMetadata"]["HTTPHeaders"].get(f"x-regard-{name}")
    return value


def test_emotions_are_denied_under_education_and_given_for_research(
    caller: Callable[..., Any], rekognition: Any, picture: Picture
) -> None:
    image, pupil = picture("astronaut"), caller("education")
    sent: list[Any] = []
    pupil.meta.events.register("before-send.rekognition", lambda request, **_: sent.append(request))
    for attributes in (["EMOTIONS"], ["ALL"]):
        sentence = denial(pupil.detect_faces, Image=image, Attributes=attributes)
        assert 'use policy "education@0" rule "no-emotions" forbids it' in sentence
        assert "emotions are not inferred in education" in sentence
    assert len(sent) == 2
    (face,) = pupil.detect_faces(Image=image, Attributes=["SMILE"])["FaceDetails"]
    assert "Smile" in face
    (face,) = rekognition.detect_faces(Image=image, Attributes=["EMOTIONS"])["FaceDetails"]
    assert face["Emotions"]


def test_emotions_are_left_out_where_the_policy_says_so(caller: Callable[..., Any], picture: Picture) -> None:
    (face,) = caller("content-moderation-only").detect_faces(Image=picture("astronaut"), Attributes=["ALL"])[
        "FaceDetails"
    ]
    assert "Emotions" not in face
    assert "AgeRange" in face
    assert len(face["Landmarks"]) == 30


def test_results_of_a_search_follow_the_rules_of_whoever_began_it(
    caller: Callable[..., Any], applied: Callable[[str], str], picture: Picture, interview: dict[str, Any]
) -> None:
    """Otherwise another key of the account would fetch what people are to look over first."""
    reviewed, plain = caller(applied(rule("review"))), caller("research")
    name = f"test-{uuid.uuid4()}"
    plain.create_collection(CollectionId=name)
    plain.index_faces(CollectionId=name, Image=picture("obama2"), ExternalImageId="44", MaxFaces=1)

    def begun(client: Any) -> str:
        job_id = str(client.start_face_search(Video=interview, CollectionId=name)["JobId"])
        while client.get_face_search(JobId=job_id)["JobStatus"] == "IN_PROGRESS":
            time.sleep(0.1)
        return job_id

    def found(client: Any, job_id: str) -> set[str]:
        persons = client.get_face_search(JobId=job_id)["Persons"]
        assert persons
        return {match["Face"]["ExternalImageId"] for person in persons for match in person["FaceMatches"]}

    of_reviewed, of_plain = begun(reviewed), begun(plain)
    assert found(plain, of_plain) == {"44"}
    assert found(reviewed, of_plain) == found(reviewed, of_reviewed) == found(plain, of_reviewed) == set()


def test_results_of_a_search_follow_the_rules_about_its_collection(
    server: Any, caller: Callable[..., Any], picture: Picture, interview: dict[str, Any], tmp_path: Path
) -> None:
    client, name = caller("research"), f"vault-{uuid.uuid4().hex[:12]}"
    client.create_collection(CollectionId=name, Tags={"use:purpose": "research"})
    client.index_faces(CollectionId=name, Image=picture("obama2"), ExternalImageId="44", MaxFaces=1)
    job_id = client.start_face_search(Video=interview, CollectionId=name)["JobId"]
    while client.get_face_search(JobId=job_id)["JobStatus"] == "IN_PROGRESS":
        time.sleep(0.1)
    forbidden = rule("operations", 'operations = ["GetFaceSearch"]')
    (tmp_path / "vault.toml").write_text(
        f'name = "{name}"\ntitle = "A test"\n[holds]\ncollections = ["{name}"]\n{forbidden}'
    )
    server.deployment.regard("policy", "apply", str(tmp_path / "vault.toml"))
    try:
        assert f'use policy "{name}@1" rule "the-rule" forbids it' in denial(client.get_face_search, JobId=job_id)
    finally:
        server.deployment.regard("policy", "withdraw", name)
    assert client.get_face_search(JobId=job_id)["Persons"]


def test_without_a_purpose_nobody_is_identified_until_one_is_declared(
    server: Any, caller: Callable[..., Any], collection: str, picture: Picture
) -> None:
    client = caller(None, "--description", "no purpose")
    search = {"CollectionId": collection, "Image": picture("obama")}
    assert 'use policy "locked-down@0" rule "no-purpose-declared"' in denial(client.search_faces_by_image, **search)
    assert client.detect_faces(Image=picture("obama"))["FaceDetails"]
    server.deployment.regard("keys", "purpose", client.access_key_id, "photo-search")
    assert client.search_faces_by_image(**search)["FaceMatches"] == []


def test_a_suspended_key_cannot_search_but_can_delete_and_comes_back(
    server: Any, caller: Callable[..., Any], rekognition: Any, collection: str, picture: Picture
) -> None:
    client = caller("photo-search", "--description", "to be suspended")
    image = picture("obama")
    (face,) = client.index_faces(CollectionId=collection, Image=image)["FaceRecords"]
    server.deployment.regard("suspend", client.access_key_id, "--reason", "a test")
    for operation, parameters in (
        (client.search_faces_by_image, {"CollectionId": collection, "Image": image}),
        (client.detect_faces, {"Image": image}),
        (client.index_faces, {"CollectionId": collection, "Image": image}),
    ):
        sentence = denial(operation, **parameters)
        assert "because the standing of the access key forbids it: it is suspended." in sentence
    assert client.list_faces(CollectionId=collection)["Faces"]
    assert client.describe_collection(CollectionId=collection)["FaceCount"] == 1
    face_id = face["Face"]["FaceId"]
    assert client.delete_faces(CollectionId=collection, FaceIds=[face_id])["DeletedFaces"] == [face_id]
    assert "Recorded as appeal" in server.deployment.regard("appeal", client.access_key_id, "it was a mistake")
    server.deployment.regard("reinstate", client.access_key_id, "--reason", "heard")
    assert client.search_faces_by_image(CollectionId=collection, Image=image)["FaceMatches"] == []
    told = json.loads(server.deployment.regard("accounts", "list", "--json"))
    mine = [(one["Status"], one["Reason"]) for one in told["History"] if one["Subject"] == client.access_key_id]
    assert mine == [("suspended", "a test"), ("active", "heard")]


def test_a_low_threshold_is_raised_and_a_header_says_to_what(
    caller: Callable[..., Any], rekognition: Any, collection: str, picture: Picture
) -> None:
    rekognition.index_faces(CollectionId=collection, Image=picture("biden"))
    rekognition.index_faces(CollectionId=collection, Image=picture("obama"))
    search = {"CollectionId": collection, "Image": picture("obama2"), "FaceMatchThreshold": 0}
    everybody = rekognition.search_faces_by_image(**search)
    assert header(everybody, "effective-threshold") is None
    assert len(everybody["FaceMatches"]) == 2
    raised = caller("photo-search").search_faces_by_image(**search)
    assert header(raised, "effective-threshold") == "80"
    assert raised["FaceMatches"] == [match for match in everybody["FaceMatches"] if match["Similarity"] >= 80]
    assert len(raised["FaceMatches"]) == 1
    compared = caller("photo-search").compare_faces(
        SourceImage=picture("obama"), TargetImage=picture("biden"), SimilarityThreshold=0
    )
    assert compared["FaceMatches"]
    assert (header(compared, "effective-threshold"), header(compared, "advised-threshold")) == ("0", "80")


def test_a_policy_is_in_force_with_the_next_request_and_gone_when_it_is_withdrawn(
    server: Any, caller: Callable[..., Any], applied: Callable[[str], str], picture: Picture
) -> None:
    purpose = applied(rule("operations", 'operations = ["DetectText"]'))
    client, image = caller(purpose), picture("page")
    assert f'use policy "{purpose}@1" rule "the-rule" forbids it: it is a test.' in denial(
        client.detect_text, Image=image
    )
    assert client.detect_faces(Image=image)["FaceDetails"] == []
    assert json.loads(server.deployment.regard("policy", "list", "--json"))
    assert 'operations = ["DetectText"]' in server.deployment.regard("policy", "show", purpose)


def test_who_gathers_violations_is_suspended(
    caller: Callable[..., Any], applied: Callable[[str], str], picture: Picture
) -> None:
    rules = rule("operations", 'operations = ["DetectText"]')
    rules += '[[rules]]\nid = "enough"\nbecause = "it is enough"\nkind = "suspension"\nviolations = 3\n'
    rules += "within_hours = 1\n"
    client = caller(applied(rules))
    for _ in range(3):
        assert "it is a test" in denial(client.detect_text, Image=picture("page"))
    assert "it is suspended" in denial(client.detect_faces, Image=picture("page"))
    client.list_collections()


def test_a_key_ends_and_is_bound_to_its_networks(caller: Callable[..., Any]) -> None:
    assert "it expired on 2020-01-01" in denial(caller("research", "--expires", "2020-01-01").list_collections)
    elsewhere = caller("research", "--network", "192.0.2.0/24")
    assert "may not be used from 127.0.0.1" in denial(elsewhere.list_collections)
    caller("research", "--network", "192.0.2.0/24", "--network", "127.0.0.0/8").list_collections()


def test_a_budget_ends_and_a_person_is_not_searched_for_again_and_again(
    caller: Callable[..., Any], applied: Callable[[str], str], collection: str, picture: Picture
) -> None:
    client = caller(applied(rule("repeated-probe", 'max = 2\nper = "day"')))
    for name in ("obama", "obama2"):
        client.search_faces_by_image(CollectionId=collection, Image=picture(name))
    again = denial(client.search_faces_by_image, CollectionId=collection, Image=picture("obama"))
    assert "the same person was searched for 2 times this day" in again
    client.search_faces_by_image(CollectionId=collection, Image=picture("biden"))

    client = caller(applied(rule("budget", 'max = 2\nper = "day"')))
    for name in ("obama", "biden"):
        client.search_faces_by_image(CollectionId=collection, Image=picture(name))
    assert "has used its 2 of this day" in denial(
        client.search_faces_by_image, CollectionId=collection, Image=picture("hopper")
    )
    client.detect_faces(Image=picture("hopper"))


def test_who_opted_out_is_neither_found_nor_enrolled_until_they_take_it_back(
    server: Any,
    caller: Callable[..., Any],
    rekognition: Any,
    collection: str,
    picture: Picture,
    photos: dict[str, Path],
) -> None:
    client = caller("photo-search")
    client.index_faces(CollectionId=collection, Image=picture("obama"))
    client.index_faces(CollectionId=collection, Image=picture("biden"))
    search = {"CollectionId": collection, "Image": picture("obama2")}
    assert client.search_faces_by_image(**search)["FaceMatches"]
    server.deployment.regard("opt-outs", "add", "letter-7", str(photos["obama"]), str(photos["obama3"]))
    try:
        withheld = client.search_faces_by_image(**search)
        assert withheld["FaceMatches"] == []
        assert header(withheld, "withheld") == "opt-out"
        refused = client.index_faces(CollectionId=collection, Image=picture("obama2"))
        assert refused["FaceRecords"] == []
        assert len(refused["UnindexedFaces"]) == 1
        assert client.search_faces_by_image(CollectionId=collection, Image=picture("biden"))["FaceMatches"]
        assert json.loads(server.deployment.regard("opt-outs", "list", "--json")) == [
            {"Reference": "letter-7", "Faces": 2}
        ]
    finally:
        server.deployment.regard("opt-outs", "remove", "letter-7")
    assert client.search_faces_by_image(**search)["FaceMatches"]


def test_a_face_that_looks_too_young_is_neither_enrolled_nor_searched_for(
    caller: Callable[..., Any], rekognition: Any, applied: Callable[[str], str], collection: str, picture: Picture
) -> None:
    """By the estimate that DetectFaces gives; nobody in the photos is a child, so the bound is tested as it falls."""
    lows = {}
    for name in ("obama", "astronaut", "biden", "hopper"):
        (face,) = rekognition.detect_faces(Image=picture(name), Attributes=["AGE_RANGE"])["FaceDetails"]
        lows[name] = face["AgeRange"]["Low"]
    client = caller(applied(rule("minors", "below = 18")))
    for name, low in lows.items():
        answer = client.index_faces(CollectionId=collection, Image=picture(name))
        assert bool(answer["FaceRecords"]) == (low >= 18)
        assert "AgeRange" not in (answer["FaceRecords"] or [{"FaceDetail": {}}])[0]["FaceDetail"]


def test_a_search_for_the_police_waits_for_two_people(
    server: Any, caller: Callable[..., Any], applied: Callable[[str], str], collection: str, picture: Picture
) -> None:
    client = caller(applied(rule("authorisation")))
    account = json.loads(server.deployment.regard("accounts", "list", "--json"))["Accounts"][0]["AccountId"]
    search = {"CollectionId": collection, "Image": picture("obama")}
    assert "no authorisation covers it" in denial(client.search_faces_by_image, **search)
    asked = ["authorisations", "request", "--account", account, "--authority", "court", "--case", "7", "--by", "ann"]
    made = server.deployment.regard(*asked, "--expires", "2100-01-01", "--collection", collection).strip()
    server.deployment.regard("authorisations", "approve", made, "--by", "ben")
    assert "no authorisation covers it" in denial(client.search_faces_by_image, **search)
    for same in ("ben", "ann"):
        with pytest.raises(Exception, match="non-zero exit status"):
            server.deployment.regard("authorisations", "approve", made, "--by", same)
    server.deployment.regard("authorisations", "approve", made, "--by", "eve")
    client.search_faces_by_image(**search)
    server.deployment.regard("authorisations", "revoke", made)
    assert "no authorisation covers it" in denial(client.search_faces_by_image, **search)


def test_a_collection_is_used_for_its_purpose_and_only_an_officer_changes_that(
    caller: Callable[..., Any], picture: Picture
) -> None:
    mine, name = caller("photo-search"), f"tagged-{uuid.uuid4()}"
    made = mine.create_collection(CollectionId=name, Tags={"use:purpose": "photo-search", "use:retention-days": "30"})
    arn, change = f"arn:{made['CollectionArn']}", {"use:purpose": "research"}
    try:
        mine.index_faces(CollectionId=name, Image=picture("obama"))
        other = caller("research").search_faces_by_image
        sentence = denial(other, CollectionId=name, Image=picture("obama"))
        assert 'the collection is for "photo-search", not for "research"' in sentence
        assert 'role "application@0" statement "UseTagsAreTheOfficers"' in denial(
            mine.tag_resource, ResourceArn=arn, Tags=change
        )
        mine.tag_resource(ResourceArn=arn, Tags={"team": "albums"})
        caller("research", "--role", "officer").tag_resource(ResourceArn=arn, Tags=change)
        assert caller("research").search_faces_by_image(CollectionId=name, Image=picture("obama"))["FaceMatches"]
        with pytest.raises(mine.exceptions.InvalidParameterException, match="use:retention-days"):
            mine.create_collection(CollectionId=f"{name}-2", Tags={"use:retention-days": "for ever"})
    finally:
        with suppress(mine.exceptions.ResourceNotFoundException):
            mine.delete_collection(CollectionId=name)


def test_an_officer_asks_for_a_decision_without_its_being_done(
    server: Any, keys: Callable[..., dict[str, str]], collection: str
) -> None:
    def ask(key: dict[str, str], case: Any) -> tuple[int, dict[str, Any]]:
        address, body = f"{server.endpoint}/-/policies/test", json.dumps(case).encode()
        request = AWSRequest("POST", address, {"Content-Type": "application/json"}, body)
        SigV4Auth(Credentials(key["AccessKeyId"], key["SecretAccessKey"]), "rekognition", "us-east-1").add_auth(request)
        answer = urllib3.request("POST", address, body=body, headers=dict(request.headers.items()), retries=False)
        return answer.status, answer.json()

    officer = keys("--purpose", "research", "--role", "officer")
    case = {"purpose": "education", "operation": "DetectFaces", "request": {"Attributes": ["ALL"]}}
    status, decision = ask(officer, case)
    assert (status, decision["decision"], decision["rule"]) == (200, "deny", "education/no-emotions")
    assert decision["cites"] == ["eu-ai-act/5-1-f"]
    tried = 'name = "education"\ntitle = "Tried"\n[holds]\npurposes = ["education"]'
    assert ask(officer, case | {"try_policies": [tried]})[1]["decision"] == "allow"
    status, answer = ask(officer, {"operation": "Dance"})
    assert (status, answer["message"]) == (400, "operation: Value error, there is no operation 'Dance'")
    assert ask(officer, case | {"try_policies": ["name ="]})[0] == 400
    assert ask(keys("--purpose", "research"), case)[0] == 403
    assert ask({"AccessKeyId": "AKIANOBODY", "SecretAccessKey": "x"}, case)[0] == 401
