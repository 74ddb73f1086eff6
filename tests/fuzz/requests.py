"""Requests of all operations through everything that a request passes: signature, rules, operation, audit, database.

A case is the name of an operation and a body. No 500, no answer that AWS's description does not allow, the right
error for what is no JSON or of a wrong type, and neither a second nor a megabyte for any of them.
"""

import json
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import structlog
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from PIL import Image
from tests.contract.conftest import check_answer
from tests.fuzz import shapes
from tests.fuzz.engine import Fault
from tests.fuzz.shapes import MODEL
from tests.videos import make_video, numbers

from regard.app import answer, every_stage
from regard.gallery.gallery import Gallery
from regard.media.storage import ObjectStore
from regard.operations import OPERATIONS
from regard.operations.context import Services
from regard.settings import Settings
from regard.store import collections
from regard.store.database import Database
from regard.store.faces import NewFace, add
from regard.use import keys
from regard.use.audit import AuditLog
from regard.use.audit.keeper import Refusals
from regard.use.keys import AccessKey
from regard.use.seal import load_sealer
from regard.vision.engines import Engines
from regard.wire.protocol import Request, Response

HOST = "regard.test"
# CPU time of the thread that answers. Python's collector may come in the middle of any case: what is slow is so twice.
LONGEST_S = 1.0
LARGEST_ANSWER = 4 * 1024 * 1024
RESTORED_AFTER = 100


def described(operation: str, response: Response, failure: str) -> dict[str, Any]:
    """The document of an answer; a fault if it is a 500, or not what AWS describes."""
    if response.status == 500:
        raise Fault(f"500: {failure}")
    check_answer(
        MODEL.operation_model(operation),
        {"status_code": response.status, "headers": dict(response.headers), "body": response.body},
    )
    document: dict[str, Any] = json.loads(response.body)
    return document


class Requests:
    """`app.answer`, with all that is behind it."""

    def __init__(self, services: Services, key: AccessKey) -> None:
        self.services = services
        self._key = key
        self._signer = SigV4Auth(Credentials(key.access_key_id, key.secret_access_key), "rekognition", "us-east-1")
        self._stages = every_stage(services)
        self._refusals = Refusals(services.audit)
        self._checked = 0
        self._there: dict[bytes, bytes] = {}

    def generate(self, random: Random) -> bytes:
        names = sorted(OPERATIONS) if random.random() < 0.9 else MODEL.operation_names
        operation = random.choice(names)
        return operation.encode() + b"\n" + shapes.body(operation, random)

    def check(self, case: bytes) -> str:
        if self._checked % RESTORED_AFTER == 0:
            self.restore()
        self._checked += 1
        name, _, body = case.partition(b"\n")
        template, body = body, self._filled(body)
        took, response, failure = self.timed(name.decode(), body, time.thread_time)
        said = described(name.decode(), response, failure)
        outcome = str(said.get("__type", "200"))
        self._hold_against(name.decode(), body, outcome)
        if took > LONGEST_S:
            self.restore()
            took = min(took, self.timed(name.decode(), self._filled(template), time.thread_time)[0])
        if took > LONGEST_S:
            raise Fault(f"{took:.1f} s for {outcome}")
        if len(response.body) > LARGEST_ANSWER:
            raise Fault(f"an answer of {len(response.body)} bytes")
        if outcome == "200" and isinstance(token := said.get("NextToken"), str):
            self._there[b"@token@"] = token.encode()
        return outcome

    def _hold_against(self, name: str, body: bytes, outcome: str) -> None:
        """The wire's own errors come where they should, and nowhere else."""
        if body.count(b"{") + body.count(b"[") > 400:  # may be nested more deeply than Python's own reader follows
            return
        if body and not shapes.is_json(body):
            wanted = outcome in ("SerializationException", "AccessDeniedException")
        elif body and not self._fits(name, json.loads(body)):
            wanted = outcome in ("SerializationException", "InvalidParameterException", "AccessDeniedException")
        else:
            wanted = outcome != "SerializationException" or len(body) > 20_000
        if not wanted:
            raise Fault(f"{outcome} is the wrong answer")

    def _fits(self, name: str, document: Any) -> bool:
        return document is not None and shapes.fits(MODEL.operation_model(name).input_shape, document)

    def _filled(self, body: bytes) -> bytes:
        for placeholder, value in self._there.items():
            body = body.replace(placeholder, value)
        return body

    def timed(self, operation: str, body: bytes, clock: Callable[[], float]) -> tuple[float, Response, str]:
        """What `answered` gives, after the seconds that it took."""
        began = clock()
        response, failure = self.answered(operation, body)
        return clock() - began, response, failure

    def answered(self, operation: str, body: bytes) -> tuple[Response, str]:
        """The answer to a signed request, and the traceback that it left in the log, if any."""
        sent = AWSRequest(
            "POST",
            f"http://{HOST}/",
            {"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": f"RekognitionService.{operation}"},
            body,
        )
        self._signer.add_auth(sent)
        headers = [("host", HOST), *((name.lower(), value) for name, value in sent.headers.items())]
        request = Request("POST", "/", "", headers, body, "127.0.0.1")
        with structlog.testing.capture_logs([structlog.processors.format_exc_info]) as entries:
            response = answer(self.services, self._stages, self._refusals, request, str(uuid.uuid4()))
        return response, "".join(entry.get("exception") or entry.get("cause") or "" for entry in entries)[-3000:]

    def ask(self, operation: str, **parameters: Any) -> dict[str, Any]:
        """The document of the answer, whatever it is."""
        response, failure = self.answered(operation, json.dumps(parameters).encode())
        assert response.status != 500, failure
        document: dict[str, Any] = json.loads(response.body)
        return document

    def restore(self) -> None:
        """Collections with faces and users, jobs and a token of a page, as the placeholders mean them."""
        account, services = self._key.account_id, self.services
        with services.database.begin() as connection:
            connection.exec_driver_sql("TRUNCATE jobs CASCADE")
            connection.exec_driver_sql("UPDATE access_keys SET status = 'active'")
        for name in ("fuzz", "other"):
            self.ask("CreateCollection", CollectionId=name)
            for user in ("ann", "bob"):
                self.ask("CreateUser", CollectionId=name, UserId=user)
        generator = np.random.default_rng(0)
        with services.database.begin() as connection:
            collection = collections.lock(connection, account, "fuzz")
            assert collection is not None
            vectors = generator.normal(size=(3, services.vision.faces.embedder.dimension)).astype(np.float32)
            new = [_face(number, vector / np.linalg.norm(vector)) for number, vector in enumerate(vectors)]
            add(connection, collection, new)
        place = {"S3Object": {"Bucket": "local", "Name": "video.mp4"}}
        job = self.ask("StartLabelDetection", Video=place)["JobId"]
        bulk = self.ask(
            "StartMediaAnalysisJob",
            OperationsConfig={"DetectModerationLabels": {}},
            Input={"S3Object": {"Bucket": "local", "Name": "manifest.jsonl"}},
            OutputConfig={"S3Bucket": "local"},
        )["JobId"]
        there = {f"face{number}": str(face.face_id) for number, face in enumerate(new)}
        there |= {
            "job": job,
            "bulk": bulk,
            "collection": self.ask("DescribeCollection", CollectionId="fuzz")["CollectionARN"],
        }
        there |= {"token": self.ask("ListCollections", MaxResults=1)["NextToken"]}
        self._there = {f"@{name}@".encode(): value.encode() for name, value in there.items()}


def _face(number: int, embedding: Any) -> NewFace:
    ids = [uuid.UUID(int=number * 3 + part + 1, version=4) for part in range(3)]
    return NewFace(*ids, f"person{number}", (0.1, 0.1, 0.5, 0.5), 99.0, embedding)


@contextmanager
def opened(folder: Path) -> Iterator[Requests]:
    """The target with a database and buckets of its own in a folder."""
    bucket = folder / "buckets" / "local"
    (bucket / "folder").mkdir(parents=True)
    Image.new("RGB", (80, 80), "gray").save(bucket / "picture.png")
    make_video(bucket / "video.mp4", numbers(5))
    (bucket / "manifest.jsonl").write_text('{"source-ref": "s3://local/picture.png"}\n')
    settings = Settings(home=folder / "home", buckets=folder / "buckets", preload=(), s3=False)
    sealer = load_sealer(settings)
    with closing(Database.open(settings)) as database:
        with database.begin() as connection:
            key = keys.create(connection, sealer, purpose="research", role="operator")
        audit = AuditLog(database, sealer)
        services = Services(
            settings, database, sealer, Engines(settings), Gallery(database), ObjectStore(settings), audit
        )
        try:
            yield Requests(services, key)
        finally:
            audit.close()
