"""What a client meets while the storage or the disk is away: errors that it tries again after, and no others."""

import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

ONCE = Config(retries={"total_max_attempts": 1}, read_timeout=60)
BUCKET = "faults"
IN_BUCKET = {"S3Object": {"Bucket": BUCKET, "Name": "face.jpg"}}
BULK = {
    "OperationsConfig": {"DetectModerationLabels": {}},
    "Input": {"S3Object": {"Bucket": BUCKET, "Name": "manifest.jsonl"}},
    "OutputConfig": {"S3Bucket": BUCKET},
}
PICTURES = 20
DISK_MB, RESERVE_MB = 300, 32


@dataclass
class Storage:
    """A port in front of the S3 server, which hangs up where it is not `well`."""

    well: bool = True
    url: str = ""


@pytest.fixture(scope="module")
def storage(s3: Any, face: bytes) -> Iterator[Storage]:
    s3.create_bucket(Bucket=BUCKET)
    s3.put_object(Bucket=BUCKET, Key="face.jpg", Body=face)
    s3.put_object(Bucket=BUCKET, Key="manifest.jsonl", Body=b'{"source-ref": "s3://faults/face.jpg"}\n' * PICTURES)
    host, _, port = s3.meta.endpoint_url.removeprefix("http://").partition(":")
    found = Storage()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        found.url = f"http://127.0.0.1:{listening.getsockname()[1]}"

        def carry(source: socket.socket, target: socket.socket) -> None:
            with closing(target), suppress(OSError):  # the other side has hung up
                while found.well and (data := source.recv(65536)):
                    target.sendall(data)

        def accept() -> None:
            while True:
                try:
                    client, _ = listening.accept()
                except OSError:
                    return
                if not found.well:
                    client.close()
                    continue
                server = socket.create_connection((host, int(port)))
                for ends in ((client, server), (server, client)):
                    threading.Thread(target=carry, args=ends, daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield found
        listening.shutdown(socket.SHUT_RDWR)


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A small file system of its own."""
    folder = tmp_path_factory.mktemp("disk")
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "regard", str(folder)]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no file system can be mounted here")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextmanager
def filled(disk: Path, left_mb: int) -> Iterator[None]:
    """All but so much of the disk is taken by somebody else."""
    filler = disk / "filler"
    try:
        with filler.open("wb", buffering=0) as file, suppress(OSError):
            while os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize > left_mb << 20:
                file.write(bytes(65536))
        yield
    finally:
        filler.unlink()


def wait_for(condition: Callable[[], bool], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def code(ask: Callable[..., Any], **request: Any) -> str:
    try:
        ask(**request)
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    return "answered"


@pytest.fixture(scope="module")
def remote(deploy: Callable[..., Any], storage: Storage) -> Iterator[Any]:
    """A server whose S3 is `storage`."""
    running = deploy(
        REGARD_S3="true",
        AWS_ENDPOINT_URL_S3=storage.url,
        AWS_ACCESS_KEY_ID="s3",
        AWS_SECRET_ACCESS_KEY="s3",
        AWS_DEFAULT_REGION="us-east-1",
    ).start()
    yield running
    assert running.stop() == 0


def test_a_job_whose_storage_goes_away_goes_on_when_it_is_back(remote: Any, storage: Storage) -> None:
    with closing(remote.client()) as client:
        job_id = client.start_media_analysis_job(**BULK)["JobId"]
        wait_for(lambda: client.get_media_analysis_job(JobId=job_id)["Status"] != "CREATED")
        storage.well = False
        try:
            time.sleep(1)
        finally:
            storage.well = True
        wait_for(lambda: client.get_media_analysis_job(JobId=job_id)["Status"] not in ("CREATED", "IN_PROGRESS"))
        assert client.get_media_analysis_job(JobId=job_id)["Status"] == "SUCCEEDED"


def test_a_storage_that_is_away_is_to_be_asked_again(remote: Any, storage: Storage, face: bytes) -> None:
    with closing(remote.client(config=ONCE)) as client:
        assert code(client.detect_faces, Image=IN_BUCKET) == "answered"
        storage.well = False
        try:
            assert code(client.detect_faces, Image=IN_BUCKET) == "InternalServerError"
            assert code(client.start_media_analysis_job, **BULK) == "InternalServerError"
            assert code(client.start_face_detection, Video=IN_BUCKET) == "InternalServerError"
            assert code(client.detect_faces, Image={"Bytes": face}) == "answered"
        finally:
            storage.well = True
        assert code(client.detect_faces, Image=IN_BUCKET) == "answered"
        absent = {"S3Object": {"Bucket": BUCKET, "Name": "absent.jpg"}}
        assert code(client.detect_faces, Image=absent) == "InvalidS3ObjectException"


def test_a_full_disk_refuses_writes_for_now_and_answers_the_rest(
    deploy: Callable[..., Any], start: Callable[[Any], Any], disk: Path, face: bytes
) -> None:
    deployment = deploy(REGARD_HOME=str(disk / "home"), REGARD_DISK_RESERVE_MB=str(RESERVE_MB))
    server = start(deployment)
    image, staff = {"Bytes": face}, {"CollectionId": "staff"}
    with closing(server.client(config=ONCE)) as client:
        client.create_collection(**staff)
        indexed = client.index_faces(**staff, Image=image)
        (face_id,) = (record["Face"]["FaceId"] for record in indexed["FaceRecords"])
        with filled(disk, RESERVE_MB // 2):
            assert code(client.create_collection, CollectionId="visitors") == "InternalServerError"
            assert code(client.index_faces, **staff, Image=image) == "InternalServerError"
            assert len(client.search_faces_by_image(**staff, Image=image)["FaceMatches"]) == 1
            assert client.list_collections()["CollectionIds"] == ["staff"]
            assert client.delete_faces(**staff, FaceIds=[face_id])["DeletedFaces"] == [face_id]
        with filled(disk, 0):
            assert code(client.create_collection, CollectionId="visitors") == "InternalServerError"
            codes = {code(client.list_faces, **staff) for _ in range(20)}
            assert codes <= {"InternalServerError", "answered"}
        assert client.create_collection(CollectionId="visitors")["StatusCode"] == 200
        assert client.index_faces(**staff, Image=image)["FaceRecords"] != []
    assert "as they were written" in deployment.regard("audit", "verify")
    assert server.stop() == 0
