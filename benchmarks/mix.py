"""A mix of all operations as clients send them, each answer checked: the load of `benchmarks.endurance`.

What a client makes it deletes again, so that what is stored stays level and memory that grows is a leak. An answer
about a photo or a video must be the one that the first request got.
"""

import random
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import boto3
from botocore import xform_name
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

BUCKET, STAFF = "media", "staff"
VIDEO, MANIFEST, RESULTS = "clip.mp4", "manifest.jsonl", "out"
PEOPLE = ("obama", "obama2", "biden", "hopper", "astronaut")  # of which the first two show the same person
SAME, OTHER = PEOPLE[:2], PEOPLE[2]
CELEBRITY = "obama"
LOOKS: tuple[tuple[str, dict[str, Any], tuple[str, ...]], ...] = (
    ("DetectFaces", {}, PEOPLE),
    ("DetectFaces", {"Attributes": ["ALL"]}, PEOPLE),
    ("DetectLabels", {"Features": ["GENERAL_LABELS", "IMAGE_PROPERTIES"]}, ("coffee", "cat", "astronaut")),
    ("DetectModerationLabels", {}, ("hopper", "coffee")),
    ("DetectText", {}, ("page", "astronaut")),
    ("DetectProtectiveEquipment", {}, ("obama2", "astronaut")),
    ("RecognizeCelebrities", {}, ("obama2", "biden")),
)
VIDEO_KINDS: Mapping[str, dict[str, Any]] = {
    "LabelDetection": {},
    "FaceDetection": {},
    "FaceSearch": {"CollectionId": STAFF},
    "PersonTracking": {},
    "CelebrityRecognition": {},
    "ContentModeration": {},
    "TextDetection": {},
    "SegmentDetection": {"SegmentTypes": ["SHOT", "TECHNICAL_CUE"]},
}
PER_SESSION = frozenset({"ResponseMetadata", "JobId", "NextToken", "Timestamp", "FaceId", "ImageId"})
TOLERANCE = 1e-3
ROUNDS = 3  # of what is asked before the time begins
POLL_S = 0.5
JOB_PATIENCE_S = 900.0
REPORT_S = 1.0


@dataclass(frozen=True)
class Place:
    """Where the server is, and what its clients need."""

    endpoint: str
    key: dict[str, str]
    photos: Mapping[str, Path]
    bucket: Path
    clients: int

    def client(self) -> Any:
        session = boto3.session.Session(
            self.key["AccessKeyId"], self.key["SecretAccessKey"], region_name=self.key["Region"]
        )
        config = Config(
            retries={"total_max_attempts": 1}, read_timeout=600, max_pool_connections=self.clients, tcp_keepalive=True
        )
        return session.client("rekognition", endpoint_url=self.endpoint, config=config)


class Wrong(Exception):
    """An answer that is not the right one."""


@dataclass
class Log:
    """What clients have met since it was last taken: milliseconds by operation, and what went wrong."""

    times: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    errors: list[str] = field(default_factory=list)


class Mix:
    """The clients of one process. `take` gives what has happened since the last time."""

    def __init__(self, place: Place) -> None:
        self._place, self._client = place, place.client()
        self._images = {name: {"Bytes": path.read_bytes()} for name, path in place.photos.items()}
        self._guard = threading.Lock()
        self._log = Log()
        self._first: dict[tuple[str, ...], Any] = {}

    def take(self) -> Log:
        with self._guard:
            log, self._log = self._log, Log()
        return log

    def warm_up(self) -> None:
        """Everything once, so that all networks are loaded, and what pictures are asked for by all clients at once: a
        network takes memory for each of its streams, and for a size of picture, when it first runs there."""
        chance = random.Random(0)
        for operation, more, names in LOOKS:
            for name in names:
                ask = partial(self.ask, operation, Image=self._images[name], **more)
                with ThreadPoolExecutor(self._place.clients) as together:
                    asked = [together.submit(ask) for _ in range(self._place.clients * ROUNDS)]
                for future in asked:
                    future.result()
        for kind in VIDEO_KINDS:
            self._analyse(kind)
        for scene in self._scenes():
            scene(chance)
        self.take()

    def run(self, number: int, stop: Event) -> None:
        """One client: scenes by their weights until told to stop."""
        chance = random.Random(number)
        scenes = self._scenes()
        while not stop.is_set():
            (scene,) = chance.choices(list(scenes), list(scenes.values()))
            try:
                scene(chance)
            except (ClientError, BotoCoreError, Wrong) as error:
                with self._guard:
                    self._log.errors.append(f"{type(error).__name__}: {error}"[:500])
                time.sleep(POLL_S)

    def _scenes(self) -> dict[Callable[[random.Random], None], float]:
        return {
            self._look: 50,
            self._compare: 6,
            self._come_and_go: 20,
            self._enrol: 6,
            self._mistake: 6,
            self._celebrity: 2,
            self._video: 4,
            self._bulk: 1,
        }

    def ask(self, operation: str, **request: Any) -> Any:
        started = time.perf_counter()
        answer = getattr(self._client, xform_name(operation))(**request)
        taken = (time.perf_counter() - started) * 1000
        with self._guard:
            self._log.times[operation].append(taken)
        return answer

    def _look(self, chance: random.Random) -> None:
        operation, more, names = chance.choice(LOOKS)
        name = chance.choice(names)
        answer = self.ask(operation, Image=self._images[name], **more)
        self._same_as_ever((operation, name, str(more)), answer)

    def _compare(self, chance: random.Random) -> None:
        source, target = chance.choice(PEOPLE), chance.choice(PEOPLE)
        answer = self.ask("CompareFaces", SourceImage=self._images[source], TargetImage=self._images[target])
        same = source == target or {source, target} == set(SAME)
        expect(len(answer["FaceMatches"]) == same, "CompareFaces", answer)
        self._same_as_ever(("CompareFaces", source, target), answer)

    def _come_and_go(self, chance: random.Random) -> None:
        """Somebody is enrolled among others, is found, and leaves."""
        who = f"guest-{uuid.uuid4()}"
        image = self._images[SAME[0]]
        indexed = self.ask("IndexFaces", CollectionId=STAFF, Image=image, ExternalImageId=who)
        (face_id,) = (record["Face"]["FaceId"] for record in indexed["FaceRecords"])
        try:
            found = self.ask("SearchFacesByImage", CollectionId=STAFF, Image=self._images[SAME[1]], MaxFaces=100)
            expect(face_id in faces_of(found), "SearchFacesByImage", found)
            if chance.random() < 0.5:
                self.ask("SearchFaces", CollectionId=STAFF, FaceId=face_id)
        finally:
            deleted = self.ask("DeleteFaces", CollectionId=STAFF, FaceIds=[face_id])
        expect(deleted["DeletedFaces"] == [face_id], "DeleteFaces", deleted)
        found = self.ask("SearchFacesByImage", CollectionId=STAFF, Image=image, MaxFaces=100)
        expect(face_id not in faces_of(found), "SearchFacesByImage", found)

    def _enrol(self, chance: random.Random) -> None:
        """A collection from its beginning to its end."""
        name = f"album-{uuid.uuid4()}"
        arn = self.ask("CreateCollection", CollectionId=name, Tags={"made-by": "endurance"})["CollectionArn"]
        try:
            with self._collection(name) as collection:
                self._album(collection, arn, chance)
        finally:
            self.ask("DeleteCollection", CollectionId=name)

    @contextmanager
    def _collection(self, name: str) -> Iterator[dict[str, str]]:
        token, listed = dict[str, str](), list[str]()
        while True:
            page = self.ask("ListCollections", MaxResults=2, **token)
            listed += page["CollectionIds"]
            if "NextToken" not in page:
                break
            token = {"NextToken": page["NextToken"]}
        expect(name in listed, "ListCollections", listed)
        yield {"CollectionId": name}

    def _album(self, collection: dict[str, str], arn: str, chance: random.Random) -> None:
        faces = {}
        for who in PEOPLE[:3]:
            indexed = self.ask("IndexFaces", **collection, Image=self._images[who], ExternalImageId=who, MaxFaces=1)
            (faces[who],) = (record["Face"]["FaceId"] for record in indexed["FaceRecords"])
        first = self.ask("ListFaces", **collection, MaxResults=2)
        rest = self.ask("ListFaces", **collection, MaxResults=2, NextToken=first["NextToken"])
        listed = [face["FaceId"] for face in first["Faces"] + rest["Faces"]]
        expect(listed == list(faces.values()), "ListFaces", listed)
        expect(self.ask("DescribeCollection", **collection)["FaceCount"] == 3, "DescribeCollection", faces)
        found = self.ask("SearchFaces", **collection, FaceId=faces[SAME[0]])
        expect(faces_of(found) == [faces[SAME[1]]], "SearchFaces", found)
        self.ask("CreateUser", **collection, UserId="potus")
        pair = [faces[who] for who in SAME]
        self.ask("AssociateFaces", **collection, UserId="potus", FaceIds=pair)
        users = self.ask("ListUsers", **collection)["Users"]
        expect([user["UserStatus"] for user in users] == ["ACTIVE"], "ListUsers", users)
        for request in ({"FaceId": pair[0]}, {"UserId": "potus"}):
            found = self.ask("SearchUsers", **collection, **request)
            expect(len(found["UserMatches"]) == ("FaceId" in request), "SearchUsers", found)
        found = self.ask("SearchUsersByImage", **collection, Image=self._images[chance.choice(SAME)])
        expect([match["User"]["UserId"] for match in found["UserMatches"]] == ["potus"], "SearchUsersByImage", found)
        self.ask("TagResource", ResourceArn=arn, Tags={"colour": "red"})
        self.ask("UntagResource", ResourceArn=arn, TagKeys=["made-by"])
        tags = self.ask("ListTagsForResource", ResourceArn=arn)["Tags"]
        expect(tags == {"colour": "red"}, "ListTagsForResource", tags)
        self.ask("DisassociateFaces", **collection, UserId="potus", FaceIds=pair[:1])
        self.ask("DeleteUser", **collection, UserId="potus")
        self.ask("DeleteFaces", **collection, FaceIds=[faces[OTHER]])

    def _mistake(self, chance: random.Random) -> None:
        """What is wrong is refused, as AWS refuses it."""
        operation, request, code = chance.choice(
            (
                ("DetectFaces", {"Image": {"Bytes": b"no picture"}}, "InvalidImageFormatException"),
                ("DescribeCollection", {"CollectionId": "nowhere"}, "ResourceNotFoundException"),
                ("CreateCollection", {"CollectionId": STAFF}, "ResourceAlreadyExistsException"),
                (
                    "DetectFaces",
                    {"Image": {"S3Object": {"Bucket": BUCKET, "Name": "none.jpg"}}},
                    "InvalidS3ObjectException",
                ),
                ("SearchFacesByImage", {"CollectionId": STAFF, "Image": self._images["coffee"]}, None),
            )
        )
        try:
            self.ask(operation, **request)
        except ClientError as error:
            found = error.response["Error"]["Code"]
            if found != (code or "InvalidParameterException"):
                raise
            return
        raise Wrong(f"{operation} was not refused: {request.keys()}")

    def _celebrity(self, _: random.Random) -> None:
        answer = self.ask("GetCelebrityInfo", Id=CELEBRITY)
        self._same_as_ever(("GetCelebrityInfo",), answer)
        stored = {"Image": {"S3Object": {"Bucket": BUCKET, "Name": "obama2.jpg"}}}
        self._same_as_ever(("DetectFaces", "obama2", "{}"), self.ask("DetectFaces", **stored))

    def _video(self, chance: random.Random) -> None:
        self._analyse(chance.choice(list(VIDEO_KINDS)))

    def _analyse(self, kind: str) -> None:
        video = {"S3Object": {"Bucket": BUCKET, "Name": VIDEO}}
        job_id = self.ask(f"Start{kind}", Video=video, **VIDEO_KINDS[kind])["JobId"]
        answer = self._wait(lambda: self.ask(f"Get{kind}", JobId=job_id), "JobStatus")
        pages, token = [answer], answer.get("NextToken")
        while token:
            pages.append(self.ask(f"Get{kind}", JobId=job_id, NextToken=token))
            token = pages[-1].get("NextToken")
        if kind != "FaceSearch":  # whose guests come and go
            self._same_as_ever((kind,), {"pages": pages})

    def _bulk(self, _: random.Random) -> None:
        place = {"S3Object": {"Bucket": BUCKET, "Name": MANIFEST}}
        job_id = self.ask(
            "StartMediaAnalysisJob",
            OperationsConfig={"DetectModerationLabels": {}},
            Input=place,
            OutputConfig={"S3Bucket": BUCKET, "S3KeyPrefix": RESULTS},
        )["JobId"]
        self._wait(lambda: self.ask("GetMediaAnalysisJob", JobId=job_id), "Status")
        self.ask("ListMediaAnalysisJobs", MaxResults=5)
        folder = self._place.bucket / RESULTS / job_id
        lines = (self._place.bucket / MANIFEST).read_bytes().count(b"\n")
        found = (folder / "results.jsonl").read_bytes().count(b"\n")
        expect(found == lines, "StartMediaAnalysisJob", f"{found} results for {lines} lines")
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()

    def _wait(self, get: Callable[[], Any], status: str) -> Any:
        deadline = time.monotonic() + JOB_PATIENCE_S
        while (answer := get())[status] in ("IN_PROGRESS", "CREATED"):
            if time.monotonic() > deadline:
                raise Wrong(f"a job does not end: {answer}")
            time.sleep(POLL_S)
        expect(answer[status] == "SUCCEEDED", "job", answer)
        return answer

    def _same_as_ever(self, what: tuple[str, ...], answer: Any) -> None:
        with self._guard:
            first = self._first.setdefault(what, answer)
        expect(alike(first, answer), " ".join(what), answer)


def expect(right: bool, operation: str, answer: Any) -> None:
    if not right:
        raise Wrong(f"{operation}: {str(answer)[:300]}")


def faces_of(found: Mapping[str, Any]) -> list[str]:
    return [match["Face"]["FaceId"] for match in found["FaceMatches"]]


def alike(one: Any, other: Any) -> bool:
    """Whether two answers say the same but for ids and the last digits."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(alike(one[name], other[name]) for name in one.keys() - PER_SESSION)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(alike, one, other))
    if isinstance(one, float) and isinstance(other, float):
        return abs(one - other) <= TOLERANCE * max(1.0, abs(one))
    return bool(one == other)


def clients(place: Place, reports: "Queue[Log]", stop: Event) -> None:
    """The process of the clients: sends a `Log` every second, and a last one when they have ended."""
    mix = Mix(place)
    mix.warm_up()
    reports.put(mix.take())
    threads = [
        threading.Thread(target=mix.run, args=(number, stop), name=f"client-{number}")
        for number in range(place.clients)
    ]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        time.sleep(REPORT_S)
        log = mix.take()
        reports.put(Log(dict(log.times), log.errors))
    log = mix.take()
    reports.put(Log(dict(log.times), log.errors))
