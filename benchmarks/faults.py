"""Faults at random moments while clients write: is every acknowledged write there, does every job end, is it on record?

    python -m benchmarks.faults [MINUTES] [--seed N] [--only FAULT …]

A server, a worker process, an S3 server (moto) behind a proxy that can be slow, cut answers short and refuse
connections, and a data folder on a small file system of its own that can be full (where this user may mount one).
Clients are boto3's with its standard retries. Each keeps a ledger of what was acknowledged: what must be there, what
must be gone, and what may be either since no answer came. After each fault the clients pause, and everything is held
against the ledgers, against brute force over the stored embeddings, and against the audit log. Exit status 1 if
anything is amiss.
"""

import io
import json
import logging
import os
import random
import select
import signal
import socket
import socketserver
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import boto3
import numpy as np
import psutil
import psycopg
import typer
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from moto.server import ThreadedMotoServer
from PIL import Image
from rich.console import Console
from rich.table import Table

from benchmarks.figures import note
from regard.settings import Settings
from regard.vision import models
from regard.vision.cohort import Cohort, Comparison

WRITERS = 3
BUCKET, MANIFEST, PORTRAIT = "cloud", "manifest.jsonl", "obama.jpg"
DISK_MB, RESERVE_MB = 700, 64
ATTEMPTS = 5  # of boto3 for a request
MOST_JOBS = 4  # in progress, of a writer
START_PATIENCE_S, JOB_PATIENCE_S = 300.0, 900.0
OUTAGE_S = 6.0
SAME_SCORE = 1e-5
PEOPLE = ("obama", "biden", "hopper", "astronaut")
RETRYABLE = frozenset({"InternalServerError", "ThrottlingException", "ProvisionedThroughputExceededException"})
# What a second attempt meets whose first was carried out though its answer was lost.
AFTER_A_LOST_ANSWER = frozenset({"ResourceAlreadyExistsException", "ResourceNotFoundException", "ConflictException"})
ENVIRONMENT = {
    "REGARD_LOG_LEVEL": "WARNING",
    "REGARD_S3": "true",
    "REGARD_DISK_RESERVE_MB": str(RESERVE_MB),
    "AWS_ACCESS_KEY_ID": "s3",
    "AWS_SECRET_ACCESS_KEY": "s3",
    "AWS_DEFAULT_REGION": "us-east-1",
}

Key = tuple[str, str]
"""What an entry of a ledger is about: ("face", FaceId), ("user", UserId), ("owner", FaceId), ("tag", name),
("collection", CollectionId)."""


class Amiss(Exception):
    """Something is not as it was acknowledged."""


class Proxy(socketserver.ThreadingTCPServer):
    """A TCP proxy in front of a server, whose `mode` is how well it works."""

    allow_reuse_address, daemon_threads = True, True
    mode = "well"  # or "slow", "cut", "refuse"

    def __init__(self, target: tuple[str, int]) -> None:
        super().__init__(("127.0.0.1", 0), _Relay)
        self.target = target

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Relay(socketserver.BaseRequestHandler):
    server: Proxy

    def handle(self) -> None:
        with suppress(OSError), socket.create_connection(self.server.target) as target:
            pairs = {self.request: target, target: self.request}
            while True:
                for source in select.select(list(pairs), [], [], 1.0)[0]:
                    data = source.recv(65536)
                    if not data:
                        return None
                    mode = self.server.mode
                    if mode == "refuse":
                        return self._reset()
                    if mode == "cut" and source is target:
                        self.request.sendall(data[: len(data) // 2])
                        return self._reset()
                    if mode == "slow":
                        time.sleep(1.0)
                    pairs[source].sendall(data)

    def _reset(self) -> None:
        self.request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.request.close()


class Deployment:
    """A data folder with a server and a worker, each of which can be killed and started again."""

    def __init__(self, home: Path, s3: str, log: Path) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("REGARD_", "AWS_"))}
        self.home, self._log = home, log
        self.environment = (
            kept
            | ENVIRONMENT
            | {"REGARD_CACHE": str(Settings().cache), "REGARD_HOME": str(home), "AWS_ENDPOINT_URL_S3": s3}
        )
        self.key = json.loads(self.regard("init", "--purpose", "research", "--json"))
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.server = self.start_server()
        self.worker = self.start_worker()

    def regard(self, *words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "regard", *words], env=self.environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise Amiss(f"regard {' '.join(words)}: {done.stdout[-2000:]} {done.stderr[-2000:]}")
        return done.stdout

    def start_server(self) -> "subprocess.Popen[bytes]":
        self.server = self._run("serve", "--port", str(self.port), REGARD_WORKERS="0")
        return self.server

    def start_worker(self) -> "subprocess.Popen[bytes]":
        self.worker = self._run("worker", REGARD_WORKERS="1", REGARD_PRELOAD="")
        return self.worker

    def _run(self, *words: str, **more: str) -> "subprocess.Popen[bytes]":
        with self._log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "regard", *words], env=self.environment | more, stdout=log, stderr=log
            )

    def wait(self) -> None:
        """Until the server answers."""
        deadline = time.monotonic() + START_PATIENCE_S
        while time.monotonic() < deadline:
            if self.server.poll() is not None:
                raise Amiss(f"the server ended by itself: {self.server.returncode}")
            with suppress(OSError):  # of which urllib's errors are
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/-/healthz", timeout=30).close()
                return
            time.sleep(0.2)
        raise Amiss("the server does not answer")

    def postmaster(self) -> psutil.Process:
        return psutil.Process(int((self.home / "postgres" / "postmaster.pid").read_text().split()[0]))

    def client(self, attempts: int = ATTEMPTS) -> Any:
        session = boto3.session.Session(
            self.key["AccessKeyId"], self.key["SecretAccessKey"], region_name=self.key["Region"]
        )
        config = Config(retries={"mode": "standard", "total_max_attempts": attempts}, read_timeout=120)
        return session.client("rekognition", endpoint_url=f"http://127.0.0.1:{self.port}", config=config)

    def rows(self, query: str, *values: Any) -> list[Any]:
        lines = (self.home / "postgres" / "postmaster.pid").read_text().splitlines()
        with psycopg.connect(host=lines[4], port=int(lines[3]), user="postgres", autocommit=True) as connection:
            return connection.execute(query.encode(), values).fetchall()

    def end(self) -> None:
        for process in (self.worker, self.server):
            process.terminate()
        for process in (self.worker, self.server):
            with suppress(subprocess.TimeoutExpired):
                process.wait(60)
            process.kill()
            process.wait()
        with suppress(OSError, psutil.Error):
            self.postmaster().kill()


@dataclass
class Ledger:
    """What a writer knows: what is there, what is gone, and what may be either."""

    there: dict[Key, str] = field(default_factory=dict)
    gone: set[Key] = field(default_factory=set)
    doubtful: set[Key] = field(default_factory=set)
    unanswered: int = 0  # attempts without an answer that may have enrolled a face
    jobs: set[str] = field(default_factory=set)
    requests: set[str] = field(default_factory=set)  # ids of what was acknowledged

    @contextmanager
    def changing(self, *keys: Key) -> Iterator[None]:
        """What is doubtful unless the block ends well."""
        self.doubtful |= set(keys)
        yield
        self.doubtful -= set(keys)

    def put(self, key: Key, value: str) -> None:
        self.there[key] = value
        self.gone.discard(key)

    def remove(self, *keys: Key) -> None:
        for key in keys:
            self.there.pop(key, None)
            self.gone.add(key)

    def of(self, kind: str) -> list[str]:
        return [name for of_kind, name in self.there if of_kind == kind and (of_kind, name) not in self.doubtful]

    def compare(self, found: Mapping[Key, str]) -> list[str]:
        """What is amiss; what was doubtful is known from now on."""
        amiss = [
            f"{key} was acknowledged as {value} and is {found.get(key)}"
            for key, value in self.there.items()
            if key not in self.doubtful and found.get(key) != value
        ]
        amiss += [f"{key} was acknowledged as gone" for key in self.gone - self.doubtful if key in found]
        more = found.keys() - self.there.keys() - self.doubtful
        faces = {key for key in more if key[0] == "face"}
        if len(faces) > self.unanswered:
            amiss.append(f"{len(faces)} faces that nobody enrolled in {self.unanswered} requests without an answer")
        amiss += [f"{key} was never asked for" for key in more - faces if key[0] != "owner"]
        for key in self.doubtful - found.keys():
            self.remove(key)
        self.there = dict(found)
        self.unanswered, self.doubtful = 0, set()
        return amiss


class Writer(threading.Thread):
    """A client with a collection of its own, who writes one thing after another while `going` is set."""

    def __init__(self, deployment: Deployment, name: str, images: list[bytes], seed: int, errors: Counter[str]) -> None:
        super().__init__(name=name, daemon=True)
        self.collection, self.ledger, self.errors = name, Ledger(), errors
        self.going, self.idle, self.ended = threading.Event(), threading.Event(), threading.Event()
        self.amiss: list[str] = []
        self.acknowledged = 0
        self._images, self._chance = images, random.Random(seed)
        self.client = deployment.client()
        self.client.meta.events.register("response-received.rekognition", self._note)

    def run(self) -> None:
        while not self.ended.is_set():
            if not self.going.is_set():
                self.idle.set()
                self.going.wait(0.2)
                continue
            self.idle.clear()
            try:
                self._write()
            except (ClientError, BotoCoreError):  # noted by `_note`
                time.sleep(0.1)
            except Exception as error:
                self.amiss.append(f"{type(error).__name__}: {error}")

    def pause(self) -> None:
        self.going.clear()
        self.idle.clear()
        self.idle.wait()

    def begin(self) -> None:
        self._arn = self._ask("create_collection", CollectionId=self.collection)["CollectionArn"]
        self.start()

    def _ask(self, method: str, **request: Any) -> Any:
        answer = getattr(self.client, method)(**request)
        self.ledger.requests.add(answer["ResponseMetadata"]["RequestId"])
        self.acknowledged += 1
        return answer

    def _note(self, parsed_response: Any, context: Any, exception: Any, event_name: str, **_: Any) -> None:
        """Count what went wrong in an attempt, and keep what AWS's clients would not try again after."""
        if parsed_response is not None and parsed_response["ResponseMetadata"]["HTTPStatusCode"] == 200:
            return
        code = type(exception).__name__ if parsed_response is None else parsed_response["Error"]["Code"]
        self.errors[code] += 1
        if event_name.endswith("IndexFaces"):
            self.ledger.unanswered += 1
        again = context["retries"]["attempt"] > 1 and code in AFTER_A_LOST_ANSWER
        if parsed_response is not None and code not in RETRYABLE and not again:
            self.amiss.append(f"{event_name}: {parsed_response['Error']}")

    def _write(self) -> None:
        chance, book = self._chance, self.ledger
        where = {"CollectionId": self.collection}
        faces, users, lost = book.of("face"), book.of("user"), set[Key]()
        match chance.choices(
            ("enrol", "user", "associate", "leave", "dismiss", "tag", "collection", "job"),
            (5, 3, 4, 2, 1, 2, 1, 1),
        ):
            case ["enrol"]:
                who = f"person-{uuid.uuid4()}"
                answer = self._ask(
                    "index_faces",
                    **where,
                    Image={"Bytes": chance.choice(self._images)},
                    ExternalImageId=who,
                    MaxFaces=1,
                )
                book.put(("face", answer["FaceRecords"][0]["Face"]["FaceId"]), who)
            case ["user"]:
                who = f"user-{uuid.uuid4()}"
                with book.changing(("user", who)):
                    self._ask("create_user", **where, UserId=who)
                    book.put(("user", who), "")
            case ["associate"] if faces and users:
                face, who = chance.choice(faces), chance.choice(users)
                if ("owner", face) in book.there or ("owner", face) in book.doubtful:
                    return
                with book.changing(("owner", face)):
                    answer = self._ask("associate_faces", **where, UserId=who, FaceIds=[face])
                    if answer["AssociatedFaces"]:  # else it resembles the user's others too little
                        book.put(("owner", face), who)
                    elif answer["ResponseMetadata"]["RetryAttempts"]:
                        lost.add(("owner", face))
                book.doubtful |= lost
            case ["leave"] if len(faces) > 3:
                # Of a user's faces AWS deletes none.
                kept = {name for kind, name in book.there.keys() | book.doubtful if kind == "owner"}
                free = sorted(set(faces) - kept)
                if not free:
                    return
                face = chance.choice(free)
                with book.changing(("face", face), ("owner", face)):
                    self._ask("delete_faces", **where, FaceIds=[face])
                    book.remove(("face", face), ("owner", face))
            case ["dismiss"] if users:
                who = chance.choice(users)
                owned = [key for key, owner in book.there.items() if key[0] == "owner" and owner == who]
                with book.changing(("user", who), *owned):
                    self._ask("delete_user", **where, UserId=who)
                    book.remove(("user", who), *owned)
            case ["tag"]:
                self._tag(chance)
            case ["collection"]:
                name = f"brief-{uuid.uuid4()}"
                with book.changing(("collection", name)):
                    self._ask("create_collection", CollectionId=name)
                    book.put(("collection", name), "")
                    if chance.random() < 0.7:
                        self._ask("delete_collection", CollectionId=name)
                        book.remove(("collection", name))
            case ["job"]:
                self._job()

    def _tag(self, chance: random.Random) -> None:
        name, value = f"t{chance.randrange(8)}", str(chance.randrange(100))
        with self.ledger.changing(("tag", name)):
            if ("tag", name) in self.ledger.there and chance.random() < 0.4:
                self._ask("untag_resource", ResourceArn=self._arn, TagKeys=[name])
                self.ledger.remove(("tag", name))
            else:
                self._ask("tag_resource", ResourceArn=self._arn, Tags={name: value})
                self.ledger.put(("tag", name), value)

    def _job(self) -> None:
        running = [job for job in self.ledger.jobs if self.status(job)["Status"] not in ("SUCCEEDED", "FAILED")]
        if len(running) >= MOST_JOBS:
            return
        answer = self._ask(
            "start_media_analysis_job",
            OperationsConfig={"DetectModerationLabels": {}},
            Input={"S3Object": {"Bucket": BUCKET, "Name": MANIFEST}},
            OutputConfig={"S3Bucket": BUCKET, "S3KeyPrefix": "out"},
        )
        self.ledger.jobs.add(answer["JobId"])

    def status(self, job_id: str) -> Any:
        return self.client.get_media_analysis_job(JobId=job_id)

    def found(self) -> dict[Key, str]:
        """What is there by all that can be listed."""
        client, where = self.client, {"CollectionId": self.collection}
        found: dict[Key, str] = {}
        for page in client.get_paginator("list_faces").paginate(**where):
            for face in page["Faces"]:
                found["face", face["FaceId"]] = face["ExternalImageId"]
                if "UserId" in face:
                    found["owner", face["FaceId"]] = face["UserId"]
        for page in client.get_paginator("list_users").paginate(**where):
            found |= {("user", user["UserId"]): "" for user in page["Users"]}
        tags = client.list_tags_for_resource(ResourceArn=self._arn)["Tags"]
        found |= {("tag", name): value for name, value in tags.items()}
        mine = {name for kind, name in self.ledger.there.keys() | self.ledger.gone | self.ledger.doubtful}
        for page in client.get_paginator("list_collections").paginate():
            found |= {("collection", name): "" for name in page["CollectionIds"] if name in mine}
        described = client.describe_collection(**where)
        counts = (described["FaceCount"], described["UserCount"])
        listed = tuple(sum(kind == wanted for kind, _ in found) for wanted in ("face", "user"))
        if counts != listed:
            self.amiss.append(f"DescribeCollection says {counts}, listed are {listed}")
        return found


@dataclass
class Scene:
    """All that a fault may be done to."""

    deployment: Deployment
    proxy: Proxy
    disk: Path | None  # the small file system; None where this user may not mount one
    writers: list[Writer]
    image: bytes
    amiss: list[str] = field(default_factory=list)

    def check_reads(self) -> None:
        """What changes nothing is answered, at the first attempt."""
        client = self.deployment.client(attempts=1)
        where = {"CollectionId": self.writers[0].collection}
        client.detect_faces(Image={"Bytes": self.image})
        client.list_faces(**where)
        client.search_faces_by_image(**where, Image={"Bytes": self.image})


def kill_server(scene: Scene) -> None:
    scene.deployment.server.kill()
    scene.deployment.server.wait()
    scene.deployment.start_server()


def kill_worker(scene: Scene) -> None:
    scene.deployment.worker.kill()
    scene.deployment.worker.wait()
    scene.deployment.start_worker()


def kill_database(scene: Scene) -> None:
    scene.deployment.postmaster().kill()


def kill_connection(scene: Scene) -> None:
    serving = [child for child in scene.deployment.postmaster().children() if "[local]" in " ".join(child.cmdline())]
    if serving:
        random.choice(serving).kill()


def restart_database(scene: Scene) -> None:
    """PostgreSQL's fast shutdown; Regard starts it again."""
    scene.deployment.postmaster().send_signal(signal.SIGINT)


def kill_all(scene: Scene) -> None:
    deployment = scene.deployment
    for process in (deployment.server, deployment.worker, deployment.postmaster()):
        process.kill()
    deployment.server.wait()
    deployment.worker.wait()
    deployment.start_server()
    deployment.wait()
    deployment.start_worker()


def _storage(mode: str) -> Callable[[Scene], None]:
    def fault(scene: Scene) -> None:
        scene.proxy.mode = mode
        time.sleep(OUTAGE_S)
        if mode != "slow":
            _refused_for_now(scene)
        scene.proxy.mode = "well"

    return fault


def _refused_for_now(scene: Scene) -> None:
    """A picture that the storage does not give is to be asked for again; whatever needs none of it goes on."""
    try:
        scene.deployment.client(attempts=1).detect_faces(Image={"S3Object": {"Bucket": BUCKET, "Name": PORTRAIT}})
        scene.amiss.append("a picture came from a storage that is away")
    except ClientError as error:
        if error.response["Error"]["Code"] not in RETRYABLE:
            scene.amiss.append(f"storage away: {error}")
    scene.check_reads()


def fill_disk(scene: Scene) -> None:
    """All but half of what the database leaves free is taken: writes are refused, reading and deleting go on."""
    assert scene.disk is not None
    with _filled(scene.disk, RESERVE_MB // 2):
        time.sleep(OUTAGE_S)
        scene.check_reads()
        client = scene.deployment.client(attempts=1)
        try:
            client.create_collection(CollectionId=f"no-room-{uuid.uuid4()}")
            scene.amiss.append("something was stored on a full disk")
        except ClientError as error:
            if error.response["Error"]["Code"] not in RETRYABLE:
                scene.amiss.append(f"disk full: {error}")


def fill_disk_to_the_last_byte(scene: Scene) -> None:
    """Somebody else has taken even what was kept: nothing is answered, and nothing lost."""
    assert scene.disk is not None
    with _filled(scene.disk, 0):
        time.sleep(OUTAGE_S)


@contextmanager
def _filled(disk: Path, left_mb: int) -> Iterator[None]:
    filler, block = disk / "filler", b"\0" * 65536
    try:
        with filler.open("wb", buffering=0) as file, suppress(OSError):
            while os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize > left_mb << 20:
                file.write(block)
            while not left_mb and file.write(b"\0" * 512):
                pass
        yield
    finally:
        filler.unlink()


FAULTS: Mapping[str, Callable[[Scene], None]] = {
    "server killed": kill_server,
    "worker killed": kill_worker,
    "database killed": kill_database,
    "connection killed": kill_connection,
    "database restarted": restart_database,
    "all killed": kill_all,
    "S3 slow": _storage("slow"),
    "S3 cut": _storage("cut"),
    "S3 dead": _storage("refuse"),
    "disk full": fill_disk,
    "disk full to the last byte": fill_disk_to_the_last_byte,
}
OF_DISK = ("disk full", "disk full to the last byte")


def check(scene: Scene, comparison: Comparison) -> list[str]:
    """What is amiss, the writers having paused."""
    amiss = list(scene.amiss)
    scene.amiss.clear()
    requests = set[str]()
    for writer in scene.writers:
        amiss += writer.ledger.compare(writer.found())
        amiss += searched_wrongly(scene.deployment, writer, comparison)
        amiss += writer.amiss
        writer.amiss.clear()
        requests |= writer.ledger.requests
    return amiss + unrecorded(scene.deployment, requests)


def searched_wrongly(deployment: Deployment, writer: Writer, comparison: Comparison) -> list[str]:
    """A search with a face, beside brute force over the embeddings that are stored."""
    rows = deployment.rows(
        "SELECT face_id::text, embedding FROM faces JOIN collections ON collections.key = collection_key "
        "WHERE collection_id = %s",
        writer.collection,
    )
    if len(rows) < 2:
        return []
    names = [name for name, _ in rows]
    embeddings = np.stack([np.frombuffer(embedding, "<f4") for _, embedding in rows])
    probe = random.randrange(len(rows))
    (scores,) = comparison.scores(embeddings[probe : probe + 1], embeddings)
    score_of = dict(zip(names, scores.tolist(), strict=True))
    expected = sorted(set(names) - {names[probe]}, key=lambda name: -score_of[name])
    answer = writer.client.search_faces(
        CollectionId=writer.collection, FaceId=names[probe], FaceMatchThreshold=0, MaxFaces=4096
    )
    found = [match["Face"]["FaceId"] for match in answer["FaceMatches"]]
    # Faces of one picture are equally like, and sums of floats made in another order differ in their last digits.
    if len(found) == len(expected) and set(found) == set(expected):
        pairs = zip(found, expected, strict=True)
        if all(abs(score_of[one] - score_of[other]) < SAME_SCORE for one, other in pairs):
            return []
    return [f"a search found {len(found)} faces in another order or others than brute force, {len(expected)}"]


def unrecorded(deployment: Deployment, requests: set[str]) -> list[str]:
    """Acknowledged requests without a record, and what `regard audit verify` finds."""
    try:
        deployment.regard("audit", "verify")
    except Amiss as error:
        return [str(error)]
    exported = (json.loads(line) for line in deployment.regard("audit", "export").splitlines())
    ended = {record.get("request_id") for record in exported if record["event"] in ("outcome", "request")}
    missing = requests - ended
    return [f"{len(missing)} acknowledged requests are not on record"] if missing else []


def outcomes(scene: Scene) -> Counter[str]:
    """How all jobs end."""
    ends: Counter[str] = Counter()
    deadline = time.monotonic() + JOB_PATIENCE_S
    for writer in scene.writers:
        for job_id in writer.ledger.jobs:
            while (job := writer.status(job_id))["Status"] not in ("SUCCEEDED", "FAILED"):
                if time.monotonic() > deadline:
                    scene.amiss.append(f"a job does not end: {job}")
                    return ends
                time.sleep(1)
            why = job.get("FailureDetails", {}).get("Message", "")
            ends[f"{job['Status']} {why}".strip()] += 1
            if job["Status"] == "FAILED" and not why:
                scene.amiss.append(f"a job failed without a message: {job}")
    return ends


@contextmanager
def small_disk() -> Iterator[Path | None]:
    """A file system of its own, or None where this user may not mount one."""
    with tempfile.TemporaryDirectory(prefix="regard-") as folder:
        mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "regard", folder]
        if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
            yield None
            return
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", "--lazy", folder], check=True)


@contextmanager
def storage(photos: Mapping[str, Path]) -> Iterator[Proxy]:
    """An S3 server with a portrait and a manifest that names it, behind a proxy."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    client = boto3.client(
        "s3",
        endpoint_url=f"http://{host}:{port}",
        region_name="us-east-1",
        aws_access_key_id="s3",
        aws_secret_access_key="s3",  # noqa: S106 — anything will do
    )
    client.create_bucket(Bucket=BUCKET)
    client.put_object(Bucket=BUCKET, Key=PORTRAIT, Body=portrait(photos["obama"]))
    line = json.dumps({"source-ref": f"s3://{BUCKET}/{PORTRAIT}"})
    client.put_object(Bucket=BUCKET, Key=MANIFEST, Body=f"{line}\n".encode() * 3)
    proxy = Proxy((host, port))
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    try:
        yield proxy
    finally:
        proxy.shutdown()
        proxy.server_close()
        server.stop()


def portrait(photo: Path) -> bytes:
    with Image.open(photo) as opened:
        image = opened.convert("RGB")
    image.thumbnail((320, 320))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def round_(scene: Scene, name: str, chance: random.Random, comparison: Comparison) -> list[str]:
    """Writers write, a fault, writers go on, and all is checked."""
    for writer in scene.writers:
        writer.going.set()
    time.sleep(chance.uniform(1, 5))
    FAULTS[name](scene)
    scene.deployment.wait()
    before = sum(writer.acknowledged for writer in scene.writers)
    deadline = time.monotonic() + START_PATIENCE_S
    while sum(writer.acknowledged for writer in scene.writers) < before + 3 * len(scene.writers):
        if time.monotonic() > deadline:
            return [*scene.amiss, "nothing is acknowledged any more"]
        time.sleep(0.2)
    for writer in scene.writers:
        writer.pause()
    return check(scene, comparison)


def main(
    minutes: Annotated[float, typer.Argument(min=0.1)] = 30,
    seed: Annotated[int, typer.Option(help="Of the faults and of what is written.")] = 0,
    only: Annotated[list[str] | None, typer.Option(help="A fault; may be given again. Else all, shuffled.")] = None,
    log: Annotated[Path, typer.Option(help="Where server and worker log.")] = Path(os.devnull),
) -> None:
    """One fault after another for MINUTES, each at least once."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    console, settings, chance = Console(), Settings(), random.Random(seed)
    photos, errors, rounds, bad = models.photos(settings.cache), Counter[str](), Counter[str](), list[str]()
    comparison = Comparison(Cohort.load(models.WEIGHTS / "sface" / "cohort.npz"))
    with ExitStack() as stack:
        proxy = stack.enter_context(storage(photos))
        disk = stack.enter_context(small_disk())
        home = (disk or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="regard-")))) / "home"
        names = [name for name in only or FAULTS if disk is not None or name not in OF_DISK]
        if disk is None:
            console.print("No file system can be mounted here: full disks are left out.")
        deployment = Deployment(home, proxy.url, log)
        stack.callback(deployment.end)
        deployment.wait()
        images = [portrait(photos[name]) for name in PEOPLE]
        writers = [Writer(deployment, f"writer-{n}", images, seed + n, errors) for n in range(WRITERS)]
        for writer in writers:
            writer.begin()
        scene = Scene(deployment, proxy, disk, writers, images[0])
        started, coming = time.monotonic(), list[str]()
        while time.monotonic() - started < 60 * minutes or len(rounds) < len(names):
            if not coming:
                coming = chance.sample(names, len(names))
            name = coming.pop()
            at = time.monotonic()
            amiss = round_(scene, name, chance, comparison)
            rounds[name] += 1
            bad += [f"{name}: {what}" for what in amiss]
            acknowledged = sum(writer.acknowledged for writer in writers)
            console.print(
                f"{(time.monotonic() - started) / 60:5.1f} min  {name}: {acknowledged} writes acknowledged, "
                f"{time.monotonic() - at:.0f} s, {'; '.join(amiss) or 'all there'}",
                highlight=False,
            )
        ends = outcomes(scene)
        bad += scene.amiss
        for writer in writers:
            writer.ended.set()
    table = Table(title=f"{rounds.total()} faults, seed {seed}")
    for column in ("What", "Times"):
        table.add_column(column, justify="left" if column == "What" else "right")
    for what, count in (*rounds.items(), *ends.items(), *((f"clients met {code}", n) for code, n in errors.items())):
        table.add_row(what, str(count))
    table.add_row("writes acknowledged", str(sum(writer.acknowledged for writer in writers)))
    note("faults", rounds.total())
    note("faults: amiss after them", len(bad), most=0)
    console.print(table)
    for what in bad:
        console.print(f"[red]AMISS[/] {what}", highlight=False)
    if bad:
        raise typer.Exit(1)
    console.print("[green]All that was acknowledged is there, on record and found; every job ended.")


if __name__ == "__main__":
    typer.run(main)
