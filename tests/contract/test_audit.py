"""Nothing is answered, and nothing is changed, without its record: of a real server, killed at any moment."""

import http.client
import json
import random
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import BotoCoreError, ClientError

from regard.settings import Settings
from regard.store import audit as stored
from regard.store.database import Database, raw
from regard.use.audit import AuditLog
from regard.use.audit.checkpoints import Signer, Verifier, notes
from regard.use.audit.proofs import check
from regard.use.audit.records import facts
from regard.use.audit.verify import verify
from regard.use.seal import load_sealer
from regard.wire.errors import InternalServerError

REGION = "us-east-1"
KILLS = 6
WRITERS = 4


@pytest.fixture(scope="module")
def audited(deploy: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A deployment that loads no network before one is needed and pins its checkpoints to a file."""
    return deploy(REGARD_PRELOAD="", REGARD_AUDIT_PIN=str(tmp_path_factory.mktemp("pins") / "pins.txt"))


def records(deployment: Any) -> list[dict[str, Any]]:
    lines = deployment.regard("audit", "export").splitlines()
    return [json.loads(line) for line in lines]


def create_until_killed(server: Any, created: list[str], started: threading.Event) -> None:
    config = Config(retries={"total_max_attempts": 1})
    with closing(server.client(config=config)) as client, suppress(BotoCoreError, ClientError):
        while True:
            name = f"c{random.getrandbits(64)}"
            client.create_collection(CollectionId=name)
            created.append(name)
            started.set()


def test_a_server_killed_at_any_moment_leaves_no_change_without_its_record(
    audited: Any, start: Callable[[Any], Any]
) -> None:
    created: list[str] = []
    for _ in range(KILLS):
        server, started = start(audited), threading.Event()
        threads = [
            threading.Thread(target=create_until_killed, args=(server, created, started)) for _ in range(WRITERS)
        ]
        for thread in threads:
            thread.start()
        assert started.wait(60)
        time.sleep(random.uniform(0, 0.3))
        server.kill()
        for thread in threads:
            thread.join()
    settings = Settings(home=audited.home)
    database = Database.open(settings)
    log = AuditLog(database, load_sealer(settings))
    log.close_orphans()
    with database.snapshot() as pooled:
        connection = raw(pooled)
        verdict = verify(connection, log.seal_key, Signer(log.sealer).verifier)
        said = [facts(content) for _, content, _, _ in stored.stream(connection, 1, 10**9)]
        there = {row[0] for row in connection.execute("SELECT collection_id FROM collections")}
    log.close()
    database.close()
    assert verdict.good, verdict.findings
    assert verdict.unfinished == 0
    intents = {record["seq"]: record["resource"].rpartition("/")[2] for record in said if record["event"] == "intent"}
    ends = {record["intent"]: record["event"] for record in said if "intent" in record}
    assert set(created) <= there
    assert there <= set(intents.values())
    assert ends.keys() == intents.keys()
    assert {intents[seq] for seq, event in ends.items() if event == "outcome"} <= there
    assert "interrupted" in ends.values() or len(created) == len(intents)


def test_every_answer_has_its_record(
    audited: Any, start: Callable[[Any], Any], photos: dict[str, Path], tmp_path: Path
) -> None:
    before = len(records(audited))
    server = start(audited)
    picture = photos["obama"].read_bytes()
    with closing(server.client(config=Config(parameter_validation=False))) as client:
        client.create_collection(CollectionId="staff")
        client.index_faces(CollectionId="staff", Image={"Bytes": picture}, ExternalImageId="barack-secret")
        found = client.search_faces_by_image(CollectionId="staff", Image={"Bytes": picture}, FaceMatchThreshold=90)
        client.create_user(CollectionId="staff", UserId="barack-secret")
        (enrolled,) = (match["Face"]["FaceId"] for match in found["FaceMatches"])
        client.associate_faces(CollectionId="staff", UserId="barack-secret", FaceIds=[enrolled])
        with pytest.raises(client.exceptions.ResourceNotFoundException):
            client.list_faces(CollectionId="nobody")
        with pytest.raises(client.exceptions.InvalidParameterException):
            client.delete_collection(CollectionId="no name")
        request_id = found["ResponseMetadata"]["RequestId"]
    with closing(server.client(aws_secret_access_key="wrong")) as stranger:
        for _ in range(30):
            with pytest.raises(ClientError):
                stranger.list_collections()
    assert server.stop() == 0
    new = records(audited)[before:]
    assert [(record["event"], record.get("op"), record.get("error")) for record in new] == [
        ("intent", "CreateCollection", None),
        ("outcome", "CreateCollection", None),
        ("intent", "IndexFaces", None),
        ("outcome", "IndexFaces", None),
        ("request", "SearchFacesByImage", None),
        ("intent", "CreateUser", None),
        ("outcome", "CreateUser", None),
        ("intent", "AssociateFaces", None),
        ("outcome", "AssociateFaces", None),
        ("request", "ListFaces", "ResourceNotFoundException"),
        ("request", "DeleteCollection", "InvalidParameterException"),
        ("unauthenticated", None, "InvalidSignatureException"),
    ]
    assert new[-1]["count"] == 30
    assert new[-1]["principal"] == audited.access_key_id
    search = new[4]
    assert search["request_id"] == request_id
    assert search["requested"]["threshold"] == "90"
    assert search["result"]["count"] == 1
    assert search["result"]["face_ids"] == [new[3]["subjects"][1]]
    assert new[8]["result"]["count"] == 1
    assert search["models"].keys() == {"FaceModelVersion"}
    face_id = found["FaceMatches"][0]["Face"]["FaceId"]
    exported = audited.regard("audit", "export")
    assert "barack-secret" not in exported
    assert face_id not in exported

    pins = tmp_path / "pins.txt"
    pins.write_text(Path(audited.environment["REGARD_AUDIT_PIN"]).read_text("utf-8"), "utf-8")
    assert len(list(notes(pins.read_text("utf-8")))) >= 1
    assert "nothing of those is missing" in audited.regard("audit", "verify", "--checkpoint", str(pins))
    shown = audited.regard("audit", "show", "--input", str(photos["obama"]), "--json")
    assert {json.loads(line)["op"] for line in shown.splitlines()} == {"IndexFaces", "SearchFacesByImage"}
    proof = tmp_path / "proof.json"
    audited.regard("audit", "prove", str(search["seq"]), "-o", str(proof))
    key = audited.regard("audit", "key").strip()
    assert f"Record {search['seq']} is in the log" in audited.regard("audit", "verify-proof", str(proof), "--key", key)


def test_a_request_that_cannot_be_recorded_is_not_answered(audited: Any, start: Callable[[Any], Any]) -> None:
    server = start(audited)
    database = Database.open(Settings(home=audited.home))
    key = json.loads(audited.regard("keys", "create", "--role", "auditor", "--json"))
    auditor = Credentials(key["AccessKeyId"], key["SecretAccessKey"])
    with closing(server.client(config=Config(retries={"total_max_attempts": 1}))) as client:
        client.list_collections()
        with database.begin() as connection:
            raw(connection).execute("ALTER TABLE audit_records RENAME TO moved")
        try:
            for call in (client.list_collections, lambda: client.create_collection(CollectionId="unrecorded")):
                with pytest.raises(client.exceptions.InternalServerError):
                    call()
            assert get(server, "/-/audit/checkpoints", auditor) == (500, {"message": InternalServerError().message})
        finally:
            with database.begin() as connection:
                raw(connection).execute("ALTER TABLE moved RENAME TO audit_records")
        assert "unrecorded" not in client.list_collections()["CollectionIds"]
        assert get(server, "/-/audit/checkpoints", auditor)[0] == 200
    database.close()
    assert server.stop() == 0
    log = (audited.home / "serve.log").read_text("utf-8")
    assert log.count("not on record") == 3
    assert "Traceback" not in log


def get(server: Any, path: str, signer: Credentials) -> tuple[int, Any]:
    """The answer of the control plane."""
    request = AWSRequest("GET", server.endpoint + path)
    SigV4Auth(signer, "rekognition", REGION).add_auth(request)
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)) as connection:
        connection.request("GET", path, headers=dict(request.headers.items()))
        response = connection.getresponse()
        return response.status, json.loads(response.read())


def test_auditors_read_the_log_and_others_do_not(audited: Any, start: Callable[[Any], Any]) -> None:
    server = start(audited)
    key = json.loads(audited.regard("keys", "create", "--role", "auditor", "--json"))
    credentials = Credentials(key["AccessKeyId"], key["SecretAccessKey"])

    with closing(server.client()) as client:
        client.list_collections()
    status, answer = get(server, "/-/audit?limit=1&op=ListCollections", credentials)
    assert status == 200
    (record,) = answer["Records"]
    assert record["principal"] == audited.access_key_id
    (made,) = get(server, "/-/audit?event=key-created&limit=1", credentials)[1]["Records"]
    assert made["resource"] == key["AccessKeyId"]
    audited.regard("suspend", key["AccessKeyId"], "--reason", "a test")
    assert get(server, "/-/audit", credentials)[0] == 403
    audited.regard("reinstate", key["AccessKeyId"], "--reason", "it is over")
    changes = get(server, "/-/audit?event=standing", credentials)[1]["Records"]
    assert [change["details"]["status"] for change in changes] == ["active", "suspended"]
    status, proof = get(server, f"/-/audit/proof?seq={record['seq']}", credentials)
    assert status == 200
    status, kept = get(server, "/-/audit/checkpoints", credentials)
    assert f"Record {record['seq']} is in the log" in check(json.dumps(proof), Verifier.parse(kept["Key"]))
    status, growth = get(server, f"/-/audit/proof?size={kept['Checkpoints'][-1]['Size']}", credentials)
    assert "begins with" in check(json.dumps(growth), Verifier.parse(kept["Key"]))
    assert get(server, "/-/audit?since=yesterday", credentials)[0] == 400
    assert get(server, "/-/audit/proof?seq=999999999", credentials)[0] == 404
    assert get(server, "/-/audit", Credentials(audited.access_key_id, audited.secret_access_key))[0] == 403
    assert get(server, "/-/audit", Credentials(key["AccessKeyId"], "wrong"))[0] == 401
    assert get(server, "/-/audit?op=none&event=command&limit=1", credentials) == (200, {"Records": []})
    reads = get(server, "/-/audit?event=command&op=ReadAudit", credentials)[1]["Records"]
    assert reads[0]["principal"] == key["AccessKeyId"]
    assert server.stop() == 0
