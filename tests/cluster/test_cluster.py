"""A cluster of two nodes answers as one server does, and goes on answering when a node is killed.

`regard up --nodes 2` and a plain `regard serve` share a database, so that both can be asked the same.
"""

import io
import json
import os
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from botocore.config import Config
from PIL import Image
from tests.contract.conftest import Deployment, Server, free_port, regard
from tests.videos import make_video, scene

from regard.settings import Settings

pytest.importorskip("ray")
pytestmark = pytest.mark.timeout(600)  # starting Ray takes a minute on a busy machine

START_PATIENCE_S = 300
VIDEO = {"S3Object": {"Bucket": "local", "Name": "people.mp4"}}


@dataclass(frozen=True)
class Both:
    """The same deployment, served by a cluster of two nodes and by one process."""

    cluster: Server
    plain: Server

    def answers(self, operation: str, attempts: int = 1, **request: Any) -> tuple[Any, Any]:
        given, config = [], Config(read_timeout=180, retries={"mode": "standard", "total_max_attempts": attempts})
        for server in (self.cluster, self.plain):
            with closing(server.client(config=config)) as client:
                answer = getattr(client, operation)(**request)
                given.append({name: value for name, value in answer.items() if name != "ResponseMetadata"})
        return given[0], given[1]


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory, photos: dict[str, Path]) -> Iterator[Both]:
    home, buckets = tmp_path_factory.mktemp("cluster"), tmp_path_factory.mktemp("buckets")
    (buckets / "local").mkdir()
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("REGARD_", "AWS_", "RAY_"))}
    environment = kept | {
        "REGARD_HOME": str(home),
        "REGARD_CACHE": str(Settings().cache),
        "REGARD_BUCKETS": str(buckets),
        "REGARD_PRELOAD": "faces,labels,text,moderation,equipment",
        "REGARD_CLUSTER_REPLICAS": "2",
        "REGARD_CLUSTER_SHARE": "0.125",  # the one core that is left has room for all
        "REGARD_CLUSTER_STORE_MB": "150",
    }
    key = json.loads(regard(environment, "init", "--purpose", "photo-search", "--json"))
    deployment = Deployment(home, environment, key["AccessKeyId"], key["SecretAccessKey"])
    faces = scene([(np.asarray(small(photos[name], 320)), 30) for name in ("obama", "biden", "hopper", "obama2")])
    make_video(buckets / "local" / "people.mp4", faces, gop=10)
    port = free_port()
    up = deployment.run("up", "--nodes", "2", "--cores", "1", "--port", str(port), REGARD_WORKERS="2")
    cluster = Server(deployment, port, up)
    try:
        await_answer(cluster)
        plain = deployment.start(REGARD_WORKERS="0")
        yield Both(cluster, plain)
        plain.stop()
        nodes = psutil.Process(up.pid).children(recursive=True)
        assert cluster.stop() == 0
        _, left = psutil.wait_procs(nodes, timeout=10)
        assert not [process for process in left if process.name() != "postgres"], "the cluster has not ended"
    finally:
        if up.poll() is None:
            for process in [*psutil.Process(up.pid).children(recursive=True), psutil.Process(up.pid)]:
                with suppress(psutil.NoSuchProcess):
                    process.kill()


def small(photo: Path, side: int) -> Image.Image:
    image = Image.open(photo).convert("RGB")
    image.thumbnail((side, side))
    return image


def jpeg(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def await_answer(server: Server) -> None:
    deadline = time.monotonic() + START_PATIENCE_S
    while time.monotonic() < deadline:
        log = (server.deployment.home / "serve.log").read_text()
        assert server.process.poll() is None, f"the cluster ended: {log[-3000:]}"
        with (
            suppress(urllib.error.URLError, ConnectionError, TimeoutError),
            urllib.request.urlopen(f"{server.endpoint}/-/healthz", timeout=5),
        ):
            return
        time.sleep(0.2)
    raise AssertionError("the cluster did not answer in time")


ATTEMPTS = 3
IMAGE_OPERATIONS = {
    "detect_faces": {"Attributes": ["ALL"]},
    "detect_labels": {"Features": ["GENERAL_LABELS", "IMAGE_PROPERTIES"]},
    "detect_text": {},
    "detect_moderation_labels": {},
    "detect_protective_equipment": {},
    "recognize_celebrities": {},
}


@pytest.mark.parametrize("operation", IMAGE_OPERATIONS)
def test_an_image_operation_answers_as_without_a_cluster(both: Both, photos: dict[str, Path], operation: str) -> None:
    image = {"Bytes": jpeg(small(photos["obama2"], 480))}
    on_cluster, plain = both.answers(operation, Image=image, **IMAGE_OPERATIONS[operation])
    assert on_cluster == plain


def test_two_faces_compare_as_without_a_cluster(both: Both, photos: dict[str, Path]) -> None:
    source, target = ({"Bytes": jpeg(small(photos[name], 320))} for name in ("obama", "obama2"))
    on_cluster, plain = both.answers("compare_faces", SourceImage=source, TargetImage=target, SimilarityThreshold=0)
    assert on_cluster == plain
    assert on_cluster["FaceMatches"]


def test_a_face_that_either_enrols_is_found_by_both_at_once(both: Both, photos: dict[str, Path]) -> None:
    image = {"Bytes": jpeg(small(photos["obama2"], 320))}
    with closing(both.cluster.client()) as client, closing(both.plain.client()) as other:
        client.create_collection(CollectionId="people")
        for enrolling, name, side in ((client, "obama", 320), (other, "obama2", 400), (client, "obama", 400)):
            picture = {"Bytes": jpeg(small(photos[name], side))}
            (record,) = enrolling.index_faces(CollectionId="people", Image=picture)["FaceRecords"]
            on_cluster, plain = both.answers(
                "search_faces_by_image", CollectionId="people", Image=image, FaceMatchThreshold=0
            )
            assert on_cluster == plain
            assert record["Face"]["FaceId"] in {match["Face"]["FaceId"] for match in on_cluster["FaceMatches"]}
        client.delete_faces(CollectionId="people", FaceIds=[record["Face"]["FaceId"]])
        on_cluster, plain = both.answers(
            "search_faces_by_image", CollectionId="people", Image=image, FaceMatchThreshold=0
        )
        assert on_cluster == plain
        assert len(on_cluster["FaceMatches"]) == 2


def test_no_secret_is_in_what_ray_keeps_of_its_nodes(both: Both) -> None:
    """Arguments, environments that Ray keeps and logs are shown by its dashboard, and lie in its folder."""
    (folder,) = {
        Path(word.removeprefix("--session-dir=").removeprefix("--session_dir="))
        for process in psutil.Process(both.cluster.process.pid).children(recursive=True)
        for word in process.cmdline()
        if word.startswith(("--session-dir=", "--session_dir="))
    }
    secret, key = both.cluster.deployment.secret_access_key, (both.cluster.deployment.home / "master.key").read_bytes()
    logs = [file for file in (folder / "logs").resolve().rglob("*") if file.is_file()]
    assert logs
    for file in logs:
        text = file.read_bytes()
        assert secret.encode() not in text
        assert key not in text
        assert b"REGARD_DATABASE_URL" not in text


def test_a_killed_node_loses_no_request_and_no_job(both: Both, photos: dict[str, Path]) -> None:
    """SIGKILL to the second node, all its processes, while pictures are asked about and a job runs."""
    image = {"Bytes": jpeg(small(photos["obama"], 320))}
    retrying = Config(read_timeout=180, retries={"mode": "standard", "total_max_attempts": ATTEMPTS})
    stop, answers, errors = threading.Event(), [], []

    def load() -> None:
        with closing(both.cluster.client(config=retrying)) as client:
            while not stop.is_set():
                try:
                    answers.append(client.detect_faces(Image=image)["FaceDetails"])
                except Exception as error:
                    errors.append(error)

    with closing(both.cluster.client(config=retrying)) as client:
        undisturbed = outcome(client, client.start_face_detection(Video=VIDEO)["JobId"])
        clients = [threading.Thread(target=load) for _ in range(3)]
        for thread in clients:
            thread.start()
        job_id = client.start_face_detection(Video=VIDEO)["JobId"]
        wait_for(lambda: len(answers) > 5)
        before = len(answers)
        kill_second_node(both.cluster)
        disturbed = outcome(client, job_id)
        wait_for(lambda: len(answers) > before + 10)
        stop.set()
        for thread in clients:
            thread.join()
    assert not errors
    assert all(answer == answers[0] for answer in answers)
    told = (both.cluster.deployment.home / "serve.log").read_text()
    assert "Started Serve" not in told, "Ray logs by itself"
    moments = [datetime.fromisoformat(line.split()[0]) for line in told.splitlines() if "to get queue length" in line]
    assert all(later - earlier > timedelta(seconds=9) for earlier, later in pairwise(moments))
    assert undisturbed["JobStatus"] == "SUCCEEDED"
    assert disturbed == undisturbed
    for operation, parameters in IMAGE_OPERATIONS.items():  # the node that is left has room for every capability
        on_cluster, plain = both.answers(operation, ATTEMPTS, Image=image, **parameters)
        assert on_cluster == plain


def kill_second_node(server: Server) -> None:
    """What `kill -9` does to a node: its raylet, its workers, all at once."""
    (node,) = [
        process
        for process in psutil.Process(server.process.pid).children()
        if any("ray.scripts" in word for word in process.cmdline())
    ]
    for process in [node, *node.children(recursive=True)]:
        with suppress(psutil.NoSuchProcess):
            process.kill()


def outcome(client: Any, job_id: str) -> dict[str, Any]:
    """What a job comes to, but for its id."""
    wait_for(lambda: client.get_face_detection(JobId=job_id)["JobStatus"] != "IN_PROGRESS", 240)
    page = client.get_face_detection(JobId=job_id, MaxResults=1000)
    return {name: page[name] for name in page.keys() - {"JobId", "ResponseMetadata"}}


def wait_for(condition: Callable[[], bool], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)
