"""Every answer is one that AWS's description of the service allows; the check itself is checked here too.

All clients of these tests check what they receive (`check_answer`), so every other test adds to this one.
"""

import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from botocore.config import Config

from regard.operations import OPERATIONS


def ended(get: Callable[[], Any], member: str) -> Any:
    """What `get` answers once a job has succeeded."""
    deadline = time.monotonic() + 120
    while (answer := get())[member] != "SUCCEEDED":
        assert answer[member] != "FAILED", answer
        assert time.monotonic() < deadline, "the job did not end in time"
        time.sleep(0.1)
    return answer


def test_every_operation_that_is_built_answers_as_described(
    connect: Callable[..., Any], two_people: bytes, celebrity: str, interview: dict[str, Any]
) -> None:
    """One call of each, with as much in the answer as there can be."""
    client, answered = connect(), set()
    client.meta.events.register(
        "response-received.rekognition", lambda event_name, **_: answered.add(event_name.rpartition(".")[2])
    )
    image, name = {"Bytes": two_people}, f"every-{uuid.uuid4()}"
    client.create_collection(CollectionId=name, Tags={"für": "alle Fälle"})
    arn = client.describe_collection(CollectionId=name)["CollectionARN"]
    client.tag_resource(ResourceArn=arn, Tags={"a": "b"})
    client.untag_resource(ResourceArn=arn, TagKeys=["a"])
    assert client.list_tags_for_resource(ResourceArn=arn)["Tags"] == {"für": "alle Fälle"}
    assert client.list_collections(MaxResults=4096)["CollectionIds"]

    assert len(client.detect_faces(Image=image, Attributes=["ALL"])["FaceDetails"]) == 2
    compared = client.compare_faces(SourceImage=image, TargetImage=image)
    assert compared["FaceMatches"]
    assert compared["UnmatchedFaces"]
    labels = client.detect_labels(Image=image, Features=["GENERAL_LABELS", "IMAGE_PROPERTIES"], MinConfidence=0)
    assert any(label["Instances"] for label in labels["Labels"])
    assert labels["ImageProperties"]["Foreground"]["DominantColors"]
    assert client.detect_moderation_labels(Image=image, MinConfidence=0)["ModerationLabels"]
    client.detect_text(Image=image)
    needed = {"MinConfidence": 50, "RequiredEquipmentTypes": ["FACE_COVER", "HEAD_COVER", "HAND_COVER"]}
    assert client.detect_protective_equipment(Image=image, SummarizationAttributes=needed)["Persons"]
    celebrities = client.recognize_celebrities(Image=image)
    assert [face["Id"] for face in celebrities["CelebrityFaces"]] == [celebrity]
    assert len(celebrities["UnrecognizedFaces"]) == 1
    assert client.get_celebrity_info(Id=celebrity)["Urls"]
    indexed = client.index_faces(
        CollectionId=name, Image=image, ExternalImageId="a:b.c-d_e", DetectionAttributes=["ALL"]
    )
    ids = [record["Face"]["FaceId"] for record in indexed["FaceRecords"]]
    assert len(ids) == 2
    assert client.index_faces(CollectionId=name, Image=image, MaxFaces=1)["UnindexedFaces"]

    client.create_user(CollectionId=name, UserId="u")
    client.create_user(CollectionId=name, UserId="v")
    client.associate_faces(CollectionId=name, UserId="u", FaceIds=ids[:1])
    client.associate_faces(CollectionId=name, UserId="v", FaceIds=ids)
    assert client.list_users(CollectionId=name, MaxResults=1)["NextToken"]
    assert client.list_faces(CollectionId=name, MaxResults=1)["NextToken"]
    searches = {"CollectionId": name, "FaceMatchThreshold": 0.0}
    assert client.search_faces(**searches, FaceId=ids[0])["FaceMatches"]
    assert client.search_faces_by_image(**searches, Image=image)["FaceMatches"]
    searches = {"CollectionId": name, "UserMatchThreshold": 0.0}
    assert client.search_users(**searches, FaceId=ids[0])["UserMatches"]
    found = client.search_users_by_image(**searches, Image=image)
    assert found["UserMatches"]
    assert found["UnsearchedFaces"]

    film = {"Video": interview, "JobTag": "every", "ClientRequestToken": str(uuid.uuid4())}
    filters = {"TechnicalCueFilter": {"BlackFrame": {"MaxPixelThreshold": 0.2}}}
    for kind, members, results in (
        ("label_detection", {"MinConfidence": 10}, "Labels"),
        ("face_detection", {"FaceAttributes": "ALL"}, "Faces"),
        ("face_search", {"CollectionId": name, "FaceMatchThreshold": 0.0}, "Persons"),
        ("person_tracking", {}, "Persons"),
        ("celebrity_recognition", {}, "Celebrities"),
        ("content_moderation", {"MinConfidence": 0}, "ModerationLabels"),
        ("text_detection", {}, None),
        ("segment_detection", {"SegmentTypes": ["SHOT", "TECHNICAL_CUE"], "Filters": filters}, "Segments"),
    ):
        job = getattr(client, f"start_{kind}")(**film, **members)
        answer = ended(partial(getattr(client, f"get_{kind}"), JobId=job["JobId"]), "JobStatus")
        assert (answer["JobTag"], answer["Video"]) == ("every", interview)
        assert results is None or answer[results], kind
    job = client.start_media_analysis_job(
        OperationsConfig={"DetectModerationLabels": {}},
        Input={"S3Object": {"Bucket": "local", "Name": "manifest.jsonl"}},
        OutputConfig={"S3Bucket": "local"},
    )
    assert ended(partial(client.get_media_analysis_job, JobId=job["JobId"]), "Status")["Results"]["S3Object"]
    assert client.list_media_analysis_jobs()["MediaAnalysisJobs"]

    client.disassociate_faces(CollectionId=name, UserId="v", FaceIds=ids)
    client.delete_faces(CollectionId=name, FaceIds=ids)
    client.delete_user(CollectionId=name, UserId="u")
    client.delete_collection(CollectionId=name)
    assert answered == set(OPERATIONS)


RIGHT = {
    "FaceCount": 1,
    "UserCount": 0,
    "FaceModelVersion": "1.0",
    "CollectionARN": "arn:aws:rekognition:us-east-1:123456789012:collection/c",
    "CreationTimestamp": 1750000000.123,
}
FACE = {"FaceId": "11111111-2222-3333-4444-555555555555", "Confidence": 99.5, "BoundingBox": {"Left": -0.5}}


@contextmanager
def a_server_that_answers(document: Any, status: int = 200, code: str | None = None) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.dumps(document).encode()
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            self.send_header("x-amzn-RequestId", str(uuid.uuid4()))
            self.send_header("Content-Type", "application/x-amz-json-1.1")
            self.send_header("Content-Length", str(len(body)))
            if code is not None:
                self.send_header("x-amzn-errortype", code)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Nothing: the output of tests is for tests."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


def ask(server: Any, method: str, document: Any, *answer: Any) -> None:
    """Send a request to a server that answers with `document`."""
    with (
        a_server_that_answers(document, *answer) as endpoint,
        closing(server.client(endpoint_url=endpoint, config=Config(parameter_validation=False))) as client,
    ):
        getattr(client, method)(CollectionId="c")


@pytest.mark.parametrize(
    ("method", "document"),
    [("describe_collection", RIGHT), ("list_faces", {"Faces": [FACE]}), ("delete_user", {})],
)
def test_a_right_answer_passes_the_check(server: Any, method: str, document: dict[str, Any]) -> None:
    ask(server, method, document)


@pytest.mark.parametrize(
    ("method", "document", "complaint"),
    [
        ("describe_collection", RIGHT | {"Colour": "red"}, "has no member Colour"),
        ("describe_collection", RIGHT | {"FaceCount": "1"}, "is no long"),
        ("describe_collection", RIGHT | {"FaceCount": 1.5}, "is no long"),
        ("describe_collection", RIGHT | {"FaceCount": -1}, "is not within 0"),
        ("describe_collection", RIGHT | {"FaceModelVersion": None}, "is no string"),
        ("describe_collection", RIGHT | {"CreationTimestamp": "2025-06-15T12:00:00Z"}, "is no timestamp"),
        ("describe_collection", RIGHT | {"CreationTimestamp": 1750000}, "is not in seconds"),
        ("list_faces", {"Faces": {}}, "is no list"),
        ("list_faces", {"Faces": [FACE | {"FaceId": "11111111"}]}, r"Faces\[0\].FaceId does not match"),
        ("list_faces", {"Faces": [FACE | {"Confidence": 99.1}]}, "is no float32"),
        ("list_faces", {"Faces": [FACE | {"Confidence": 100.5}]}, "is not within 0–100"),
        ("list_faces", {"Faces": [FACE | {"Confidence": True}]}, "is no float"),
        ("list_users", {"NextToken": "x" * 256}, "is not within"),
        ("list_users", {"Users": [{"UserStatus": "BORED"}]}, "is none of"),
    ],
)
def test_a_wrong_answer_fails_the_check(server: Any, method: str, document: Any, complaint: str) -> None:
    with pytest.raises(AssertionError, match=complaint):
        ask(server, method, document)


ERROR = {"__type": "ResourceNotFoundException", "Code": "ResourceNotFoundException", "Message": "m", "message": "m"}


@pytest.mark.parametrize(
    ("document", "status", "code", "complaint"),
    [
        (ERROR, 404, "ResourceNotFoundException", "with status 404"),
        (ERROR, 400, "ConflictException", "not the same everywhere"),
        (ERROR, 400, None, "not the same everywhere"),
        (ERROR | {"Message": ""}, 400, "ResourceNotFoundException", "no message"),
        (ERROR | {"Stack": "x"}, 400, "ResourceNotFoundException", "unknown members"),
        (ERROR | dict.fromkeys(("__type", "Code"), "TeapotException"), 400, "TeapotException", "does not declare"),
    ],
)
def test_a_wrong_error_fails_the_check(
    server: Any, document: Any, status: int, code: str | None, complaint: str
) -> None:
    with pytest.raises(AssertionError, match=complaint):
        ask(server, "describe_collection", document, status, code)


def test_a_long_answer_comes_in_chunks_and_a_short_one_with_its_length(
    server: Any, connect: Callable[..., Any]
) -> None:
    client, names = connect(), [f"{number}-{uuid.uuid4()}".ljust(255, "c") for number in range(40)]
    for name in names:
        client.create_collection(CollectionId=name)
    long, short = server.post(), server.post(json.dumps({"MaxResults": 1}).encode())
    for name in names:
        client.delete_collection(CollectionId=name)
    assert set(names) <= set(long.body["CollectionIds"])
    assert long.headers["transfer-encoding"] == "chunked"
    assert "content-length" not in long.headers
    assert len(short.body["CollectionIds"]) == 1
    assert "transfer-encoding" not in short.headers
    assert int(short.headers["content-length"]) > 255
