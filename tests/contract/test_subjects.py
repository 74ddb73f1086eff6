"""Consent, retention and erasure over the wire: AWS clients in front, the operator's commands behind."""

import base64
import http.client
import io
import json
import random
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from PIL import Image

from regard.settings import Settings
from regard.store.database import Database
from regard.store.scrub import traces
from regard.vision.faces import FaceEngine

PURPOSE = "research"
TAGS = {"use:basis": "consent", "use:purpose": PURPOSE}


@pytest.fixture
def face(portrait: Image.Image) -> bytes:
    """A picture that no other test has, or bytes of its embedding would stay with the people of that test."""
    file = io.BytesIO()
    portrait.rotate(random.uniform(-8, 8), Image.Resampling.BICUBIC).save(file, "JPEG", quality=92)
    return file.getvalue()


@pytest.fixture(scope="module")
def deployment(deploy: Callable[..., Any]) -> Any:
    return deploy()


@pytest.fixture(scope="module")
def running(deployment: Any) -> Iterator[Any]:
    server = deployment.start()
    yield server
    assert server.stop() == 0


@pytest.fixture(scope="module")
def client(running: Any) -> Iterator[Any]:
    with closing(running.client()) as made:
        yield made


@pytest.fixture
def staff(client: Any) -> str:
    """A collection whose basis is consent."""
    name = f"staff-{uuid.uuid4().hex[:8]}"
    client.create_collection(CollectionId=name, Tags=TAGS)
    return name


@pytest.fixture
def agree(deployment: Any, tmp_path: Path) -> Callable[..., str]:
    """`agree(subject)` notes a consent and gives the ExternalImageId to enrol with."""
    (tmp_path / "notice.txt").write_text("We compare your face with those of the staff, to open the door.")
    (tmp_path / "release.pdf").write_bytes(b"%PDF signed")

    def add(subject: str, purpose: str = PURPOSE) -> str:
        said = deployment.regard(
            *("consent", "add", subject, "--purpose", purpose, "--term", "while employed", "--days", "365", "--json"),
            *("--notice", str(tmp_path / "notice.txt"), "--release", str(tmp_path / "release.pdf")),
        )
        return str(json.loads(said)["ExternalImageId"])

    return add


def someone() -> str:
    return f"p{uuid.uuid4().hex[:8]}"


def test_nobody_is_enrolled_without_consent(client: Any, staff: str, face: bytes, agree: Callable[..., str]) -> None:
    subject = someone()
    other_purpose = agree(someone(), "missing-persons")
    for given in ({}, {"ExternalImageId": subject}, {"ExternalImageId": other_purpose}):
        with pytest.raises(client.exceptions.AccessDeniedException) as refused:
            client.index_faces(CollectionId=staff, Image={"Bytes": face}, **given)
        message = refused.value.response["Error"]["Message"]
        assert 'because tag "use:basis=consent" forbids it' in message
        headers = refused.value.response["ResponseMetadata"]["HTTPHeaders"]
        assert headers["x-regard-decision-id"] in message
        assert refused.value.response["ResponseMetadata"]["RetryAttempts"] == 0
    external = agree(subject)
    assert (
        len(client.index_faces(CollectionId=staff, Image={"Bytes": face}, ExternalImageId=external)["FaceRecords"]) == 1
    )
    with pytest.raises(client.exceptions.AccessDeniedException):
        client.index_faces(CollectionId=staff, Image={"Bytes": face}, ExternalImageId=f"{subject}:another")


def test_a_withdrawn_consent_ends_every_match_at_once_and_the_sweep_deletes(
    client: Any, deployment: Any, staff: str, face: bytes, agree: Callable[..., str]
) -> None:
    external = agree(someone())
    search = {"CollectionId": staff, "Image": {"Bytes": face}}
    (record,) = client.index_faces(**search, ExternalImageId=external)["FaceRecords"]
    face_id = record["Face"]["FaceId"]
    client.create_user(CollectionId=staff, UserId="u1")
    client.associate_faces(CollectionId=staff, UserId="u1", FaceIds=[face_id])
    assert len(client.search_faces_by_image(**search)["FaceMatches"]) == 1
    assert len(client.search_users_by_image(**search)["UserMatches"]) == 1
    deployment.regard("consent", "withdraw", external.partition(":")[2])
    found = client.search_faces_by_image(**search)
    assert found["FaceMatches"] == []
    assert "consent" in found["ResponseMetadata"]["HTTPHeaders"]["x-regard-withheld"]
    assert client.search_users_by_image(**search)["UserMatches"] == []
    for named in (
        lambda: client.search_faces(CollectionId=staff, FaceId=face_id),
        lambda: client.search_users(CollectionId=staff, UserId="u1"),
        lambda: client.search_users(CollectionId=staff, FaceId=face_id),
    ):
        with pytest.raises(client.exceptions.AccessDeniedException):
            named()
    assert len(client.list_faces(CollectionId=staff)["Faces"]) == 1
    assert "Nothing was deleted" in deployment.regard("retention", "run", "--dry-run")
    assert "1 faces are deleted" in deployment.regard("retention", "run")
    assert client.list_faces(CollectionId=staff)["Faces"] == []
    assert client.list_users(CollectionId=staff)["Users"] == []


def test_a_collection_with_another_basis_asks_for_no_consent(client: Any, face: bytes) -> None:
    name = f"c-{uuid.uuid4().hex[:8]}"
    client.create_collection(CollectionId=name, Tags={"use:basis": "contract", "use:purpose": PURPOSE})
    assert client.index_faces(CollectionId=name, Image={"Bytes": face})["FaceRecords"]


def test_a_term_above_the_cap_is_refused(client: Any) -> None:
    name = f"c-{uuid.uuid4().hex[:8]}"
    with pytest.raises(client.exceptions.InvalidParameterException, match="1095"):
        client.create_collection(CollectionId=name, Tags={"use:retention-days": "1096"})
    client.create_collection(CollectionId=name, Tags={"use:retention-days": "1095"})


def test_clients_cannot_delete_what_a_legal_hold_keeps(client: Any, deployment: Any, face: bytes) -> None:
    name, subject = f"c-{uuid.uuid4().hex[:8]}", someone()
    client.create_collection(CollectionId=name, Tags={"use:purpose": PURPOSE})
    (record,) = client.index_faces(CollectionId=name, Image={"Bytes": face}, ExternalImageId=subject)["FaceRecords"]
    face_id = record["Face"]["FaceId"]
    deployment.regard("retention", "hold", "--subject", subject, "--reason", "case 7")
    with pytest.raises(client.exceptions.AccessDeniedException, match="legal hold"):
        client.delete_faces(CollectionId=name, FaceIds=[face_id])
    with pytest.raises(client.exceptions.AccessDeniedException, match="legal hold"):
        client.delete_collection(CollectionId=name)
    (hold,) = json.loads(deployment.regard("retention", "holds", "--json"))
    deployment.regard("retention", "release", str(hold["Number"]))
    assert client.delete_faces(CollectionId=name, FaceIds=[face_id])["DeletedFaces"] == [face_id]


def test_deletions_by_clients_have_receipts(client: Any, deployment: Any, face: bytes, tmp_path: Path) -> None:
    name = f"c-{uuid.uuid4().hex[:8]}"
    client.create_collection(CollectionId=name, Tags={"use:purpose": PURPOSE})
    first = client.index_faces(CollectionId=name, Image={"Bytes": face}, ExternalImageId="a")["FaceRecords"]
    client.index_faces(CollectionId=name, Image={"Bytes": face}, ExternalImageId="b")
    client.delete_faces(CollectionId=name, FaceIds=[first[0]["Face"]["FaceId"]])
    client.delete_collection(CollectionId=name)
    file = tmp_path / "receipts.json"
    file.write_text(deployment.regard("retention", "receipts"))
    given = [entry["Document"] for entry in json.loads(file.read_text())]
    mine = [document["Faces"] for document in given if document["CollectionIds"] == [name]]
    assert mine == [1, 1]
    assert deployment.regard("retention", "verify-receipt", str(file)).count("genuine:") == len(given)
    key = deployment.regard("retention", "public-key").strip()
    deployment.regard("retention", "verify-receipt", str(file), "--public-key", key)
    file.write_text(file.read_text().replace('"Faces": 1', '"Faces": 2', 1))
    with pytest.raises(subprocess.CalledProcessError) as wrong:
        deployment.regard("retention", "verify-receipt", str(file))
    assert "changed" in wrong.value.stderr


def vectors_of(deployment: Any, subject: str) -> list[bytes]:
    """The bytes that the database keeps of a person, and the codes that are scanned for them."""
    database = Database.open(Settings(home=deployment.home))
    with database.read() as connection:
        statement = sa.text(
            "SELECT embedding FROM faces WHERE external_image_id = :subject UNION ALL SELECT u.embedding FROM users u"
            " JOIN faces f ON f.user_key = u.key WHERE f.external_image_id = :subject"
        )
        kept = [bytes(row.embedding) for row in connection.execute(statement, {"subject": subject})]
    database.close()
    references = FaceEngine.load(Settings()).comparison.references(np.stack([np.frombuffer(k, "<f4") for k in kept]))
    return [*kept, *(row.astype("<f2").tobytes() for row in references)]


def test_an_erased_person_is_on_the_disk_no_more(
    client: Any, deployment: Any, photos: dict[str, Path], face: bytes, tmp_path: Path
) -> None:
    subject = someone()
    names = [f"c-{uuid.uuid4().hex[:8]}" for _ in range(2)]
    for name in names:
        client.create_collection(CollectionId=name, Tags={"use:purpose": PURPOSE})
        search = {"CollectionId": name, "Image": {"Bytes": face}}
        (record,) = client.index_faces(**search, ExternalImageId=subject)["FaceRecords"]
        client.create_user(CollectionId=name, UserId=f"user-of-{subject}")
        client.associate_faces(
            CollectionId=name,
            UserId=f"user-of-{subject}",
            FaceIds=[record["Face"]["FaceId"]],
            ClientRequestToken=uuid.uuid4().hex,
        )
        with photos["biden"].open("rb") as other:
            client.index_faces(CollectionId=name, Image={"Bytes": other.read()}, ExternalImageId="biden")
    secrets = vectors_of(deployment, subject)
    assert traces(deployment.home, secrets)
    assert traces(deployment.home, [subject.encode()[:32].ljust(32, b"x")]) == []
    (tmp_path / "me.jpg").write_bytes(face)
    by_photo = json.loads(deployment.regard("subject", "find", "--photo", str(tmp_path / "me.jpg"), "--json"))
    assert {one["ExternalImageId"] for one in by_photo} >= {subject}
    deployment.regard("subject", "export", subject, "-o", str(tmp_path / "export"))
    exported = json.loads((tmp_path / "export" / "subject.json").read_text())
    assert {held["CollectionId"] for held in exported["Faces"]} == set(names)

    receipt = tmp_path / "receipt.json"
    said = deployment.regard("subject", "erase", subject, "--reason", "GDPR Art. 17", "-o", str(receipt))
    assert "Erased: 2 faces, 2 users" in said
    assert traces(deployment.home, secrets) == []
    assert not names_on_disk(deployment.home, subject)
    deleted, scrubbed = [entry["Document"] for entry in json.loads(receipt.read_text())]
    assert (deleted["Faces"], deleted["Remaining"]) == (2, 0)
    assert (scrubbed["FilesWithTraces"], scrubbed["NotDone"]) == ([], [])
    assert scrubbed["VectorsSearched"] == 4
    deployment.regard("retention", "verify-receipt", str(receipt))
    for name in names:
        found = client.search_faces_by_image(CollectionId=name, Image={"Bytes": face}, FaceMatchThreshold=0.0)
        assert {match["Face"]["ExternalImageId"] for match in found["FaceMatches"]} <= {"biden"}
        assert [held["ExternalImageId"] for held in client.list_faces(CollectionId=name)["Faces"]] == ["biden"]
        assert client.list_users(CollectionId=name)["Users"] == []
    with pytest.raises(subprocess.CalledProcessError):
        deployment.regard("subject", "export", subject, "-o", str(tmp_path / "again"))


def names_on_disk(home: Path, name: str) -> list[Path]:
    """The files of a data folder that have a person's name in them."""
    return [file for file in home.rglob("*") if file.is_file() and name.encode() in file.read_bytes()]


@pytest.mark.parametrize("pause", [3.0, 9.0])
def test_an_erasure_that_was_killed_is_done_by_the_next(
    client: Any, deployment: Any, face: bytes, tmp_path: Path, pause: float
) -> None:
    subject, name = someone(), f"c-{uuid.uuid4().hex[:8]}"
    client.create_collection(CollectionId=name, Tags={"use:purpose": PURPOSE})
    client.index_faces(CollectionId=name, Image={"Bytes": face}, ExternalImageId=subject)
    secrets = vectors_of(deployment, subject)
    erase = ["subject", "erase", subject, "--reason", "asked", "-o", str(tmp_path / "receipt.json")]
    process = subprocess.Popen(
        [sys.executable, "-m", "regard", *erase], env=deployment.environment, stdout=subprocess.DEVNULL
    )
    time.sleep(pause)
    process.kill()
    process.wait()
    subprocess.run(  # 1 if the first had got as far as to erase, and then it scrubs alone
        [sys.executable, "-m", "regard", *erase], env=deployment.environment, check=False, capture_output=True
    )
    assert traces(deployment.home, secrets) == []
    assert client.list_faces(CollectionId=name)["Faces"] == []
    (described,) = [client.describe_collection(CollectionId=name)]
    assert described["FaceCount"] == 0


def test_searches_go_on_while_the_disk_is_scrubbed(client: Any, deployment: Any, face: bytes) -> None:
    name = f"c-{uuid.uuid4().hex[:8]}"
    client.create_collection(CollectionId=name, Tags={"use:purpose": PURPOSE})
    client.index_faces(CollectionId=name, Image={"Bytes": face}, ExternalImageId="a")
    scrub = subprocess.Popen(
        [sys.executable, "-m", "regard", "retention", "scrub"], env=deployment.environment, stdout=subprocess.DEVNULL
    )
    searched = 0
    while scrub.poll() is None or searched == 0:
        found = client.search_faces_by_image(CollectionId=name, Image={"Bytes": face})
        assert len(found["FaceMatches"]) == 1
        searched += 1
    assert scrub.returncode == 0


def officer(deployment: Any) -> Credentials:
    key = json.loads(deployment.regard("keys", "create", "--role", "officer", "--json"))
    return Credentials(key["AccessKeyId"], key["SecretAccessKey"])


def ask(running: Any, credentials: Credentials, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    """A signed request of the control plane; its status and what is answered."""
    data = b"" if body is None else json.dumps(body).encode()
    request = AWSRequest(method, running.endpoint + path, {"Content-Type": "application/json"}, data)
    SigV4Auth(credentials, "rekognition", "us-east-1").add_auth(request)
    with closing(http.client.HTTPConnection("127.0.0.1", running.port, timeout=60)) as connection:
        connection.request(method, path, data, dict(request.headers.items()))
        response = connection.getresponse()
        return response.status, json.loads(response.read())


def test_an_officer_does_the_same_over_http_and_an_application_nothing(
    client: Any, deployment: Any, running: Any, staff: str, face: bytes
) -> None:
    subject, key = someone(), officer(deployment)
    place = f"/-/subjects/{subject}"
    application = Credentials(deployment.access_key_id, deployment.secret_access_key)
    consent = {
        "Subject": subject,
        "Purposes": [PURPOSE],
        "Notice": "We compare faces.",
        "Term": "a year",
        "Release": base64.b64encode(b"signed").decode(),
        "ExpiresAt": "2099-01-01T00:00:00Z",
    }
    for method, path in (
        ("GET", "/-/consents"),
        ("GET", place),
        ("DELETE", place),
    ):
        assert ask(running, application, method, path, {"Reason": "x"})[0] == 403
    assert ask(running, key, "POST", "/-/consents", consent | {"Release": "?"})[0] == 400
    assert ask(running, key, "POST", "/-/consents", {"Subject": subject})[0] == 400
    status, granted = ask(running, key, "POST", "/-/consents", consent)
    assert (status, granted["Subject"]) == (200, subject)
    client.index_faces(CollectionId=staff, Image={"Bytes": face}, ExternalImageId=granted["ExternalImageId"])
    status, held = ask(running, key, "GET", place)
    assert [one["CollectionId"] for one in held["Faces"]] == [staff]
    assert "Embedding" not in held["Faces"][0]
    assert ask(running, key, "DELETE", f"/-/consents/{granted['ConsentId']}")[0] == 200
    assert ask(running, key, "DELETE", f"/-/consents/{granted['ConsentId']}")[0] == 404
    assert client.search_faces_by_image(CollectionId=staff, Image={"Bytes": face})["FaceMatches"] == []
    assert ask(running, key, "DELETE", place)[0] == 400, "a reason is needed"
    status, receipts = ask(running, key, "DELETE", place, {"Reason": "asked"})
    assert receipts["Receipts"][0]["Document"]["Faces"] == 1
    assert ask(running, key, "GET", place)[0] == 404
    assert client.list_faces(CollectionId=staff)["Faces"] == []
    _, audit = ask(running, key, "GET", "/-/audit?event=command")
    told = [(record["principal"], record["op"], record.get("error")) for record in reversed(audit["Records"])]
    mine = (key.access_key, application.access_key)
    denied, unwell, gone = "AccessDeniedException", "InvalidParameterException", "ResourceNotFoundException"
    assert [one for one in told if one[0] in mine] == [
        *((application.access_key, name, denied) for name in ("ListConsents", "ExportSubject", "EraseSubject")),
        *((key.access_key, "AddConsent", error) for error in (unwell, unwell, None)),
        (key.access_key, "ExportSubject", None),
        *((key.access_key, "WithdrawConsent", error) for error in (None, gone)),
        *((key.access_key, "EraseSubject", error) for error in (unwell, None)),
        (key.access_key, "ExportSubject", gone),
    ]


def test_what_cannot_be_told_of_is_not_done(
    client: Any, deployment: Any, staff: str, face: bytes, agree: Callable[..., str], tmp_path: Path
) -> None:
    subject = someone()
    client.index_faces(CollectionId=staff, Image={"Bytes": face}, ExternalImageId=agree(subject))
    receipt = tmp_path / "none" / "receipt.json"
    with pytest.raises(subprocess.CalledProcessError):
        deployment.regard("subject", "erase", subject, "--reason", "asked", "-o", str(receipt))
    assert len(client.list_faces(CollectionId=staff)["Faces"]) == 1


@pytest.mark.parametrize("days", ["\u0663\u0660", "0", "ten"])
def test_only_a_plain_number_is_a_term(client: Any, days: str) -> None:
    with pytest.raises(ClientError, match="must be a number of days"):
        client.create_collection(CollectionId=someone(), Tags={"use:retention-days": days})
