"""`S3Object`: a folder and a real S3 server give the right bytes; all failures look the same outside."""

import io
import os
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import pytest
from moto.server import ThreadedMotoServer
from structlog.testing import capture_logs

from regard.media.images import MAX_S3_OBJECT_BYTES, ImageTooLarge
from regard.media.storage import BLOCK_BYTES, ObjectChanged, ObjectStore, ObjectUnavailable
from regard.settings import Settings

SENTENCE = "Unable to get object metadata from S3. Check object key, region and/or access permissions."


def settings(**chosen: object) -> Settings:
    """The defaults but for what is chosen, whatever the environment says."""
    return Settings.model_validate(chosen)


def unavailable(store: ObjectStore, bucket: str, name: str, version: str | None = None) -> str:
    """Asserts that the client learns nothing; the cause that the operator finds in the log."""
    with capture_logs() as logs, pytest.raises(ObjectUnavailable) as raised:
        store.read(bucket, name, version, MAX_S3_OBJECT_BYTES)
    assert str(raised.value) == SENTENCE
    (entry,) = logs
    assert (entry["event"], entry["bucket"], entry["name"]) == ("object unavailable", bucket, name)
    return str(entry["cause"])


@pytest.fixture
def buckets(tmp_path: Path) -> Path:
    folder = tmp_path / "buckets"
    (folder / "photos" / "2024").mkdir(parents=True)
    (folder / "photos" / "2024" / "é ü.jpg").write_bytes(b"a picture")
    (folder / "other").mkdir()
    (folder / "other" / "private.jpg").write_bytes(b"another's")
    (folder / "loose.jpg").write_bytes(b"in no bucket")
    (tmp_path / "secret").write_bytes(b"outside")
    return folder


@pytest.fixture
def local(buckets: Path) -> ObjectStore:
    return ObjectStore(settings(buckets=buckets))


def test_a_local_bucket_is_a_folder(local: ObjectStore) -> None:
    assert local.read("photos", "2024/é ü.jpg", None, MAX_S3_OBJECT_BYTES) == b"a picture"


@pytest.mark.parametrize(
    ("bucket", "name", "cause"),
    [
        ("photos", "2024/absent.jpg", "No such file"),
        ("photos", "2024", "regular"),
        ("photos", "2024/é ü.jpg/x", "Not a directory"),
        ("photos", "../other/private.jpg", "out of its bucket"),
        ("photos", "2024/../../../secret", "out of its bucket"),
        ("photos", "/etc/passwd", "out of its bucket"),
        ("photos", "nul\0.jpg", "null"),
        ("photos", "x" * 1000, "too long"),
        ("..", "secret", "not a bucket's name"),
        (".", "loose.jpg", "not a bucket's name"),
        ("", "loose.jpg", "not a bucket's name"),
        ("photos/2024", "é ü.jpg", "not a bucket's name"),
        ("loose.jpg", "x", "S3 is off"),
        ("absent", "x", "S3 is off"),
    ],
)
def test_nothing_else_can_be_read(local: ObjectStore, bucket: str, name: str, cause: str) -> None:
    assert cause in unavailable(local, bucket, name)


def test_links_stay_inside_their_bucket(local: ObjectStore, buckets: Path) -> None:
    photos = buckets / "photos"
    (photos / "inside.jpg").symlink_to(photos / "2024" / "é ü.jpg")
    (photos / "outside.jpg").symlink_to(buckets.parent / "secret")
    (photos / "folder").symlink_to(buckets / "other")
    (photos / "loop").symlink_to(photos / "loop")
    assert local.read("photos", "inside.jpg", None, MAX_S3_OBJECT_BYTES) == b"a picture"
    assert "out of the bucket" in unavailable(local, "photos", "outside.jpg")
    assert "out of the bucket" in unavailable(local, "photos", "folder/private.jpg")
    unavailable(local, "photos", "loop")


def test_a_pipe_does_not_hold_the_request(local: ObjectStore, buckets: Path) -> None:
    os.mkfifo(buckets / "photos" / "pipe.jpg")
    assert "regular" in unavailable(local, "photos", "pipe.jpg")


def test_local_objects_have_no_versions(local: ObjectStore) -> None:
    assert "versions" in unavailable(local, "photos", "2024/é ü.jpg", "null")


def test_local_limit(local: ObjectStore) -> None:
    assert local.read("photos", "2024/é ü.jpg", None, 9) == b"a picture"
    with pytest.raises(ImageTooLarge):
        local.read("photos", "2024/é ü.jpg", None, 8)


def test_without_any_storage_the_operator_learns_why() -> None:
    assert "S3 is off" in unavailable(ObjectStore(settings()), "photos", "x.jpg")


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    yield f"{host}:{port}"
    moto.stop()


def tell(server: str, command: str, body: str = "") -> None:
    """The S3 server's own switches: forget everything; check keys from the nth request on."""
    connection = HTTPConnection(server)
    connection.request("POST", f"/moto-api/{command}", body)
    assert connection.getresponse().status == 200
    connection.close()


@pytest.fixture
def aws(server: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    for name, value in {
        "AWS_ENDPOINT_URL_S3": f"http://{server}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_CONFIG_FILE": str(tmp_path / "none"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none"),
    }.items():
        monkeypatch.setenv(name, value)
    tell(server, "reset")
    client = boto3.session.Session().client("s3", region_name="us-east-1")
    client.create_bucket(Bucket="cloud")
    client.put_object(Bucket="cloud", Key="a/photo é.jpg", Body=b"in the cloud")
    yield client
    client.close()


@pytest.fixture
def store(aws: Any, buckets: Path) -> ObjectStore:
    return ObjectStore(settings(buckets=buckets, s3=True))


def test_s3_object(store: ObjectStore) -> None:
    assert store.read("cloud", "a/photo é.jpg", None, MAX_S3_OBJECT_BYTES) == b"in the cloud"


def test_s3_versions(store: ObjectStore, aws: Any) -> None:
    aws.put_bucket_versioning(Bucket="cloud", VersioningConfiguration={"Status": "Enabled"})
    first = aws.put_object(Bucket="cloud", Key="v.jpg", Body=b"first")["VersionId"]
    aws.put_object(Bucket="cloud", Key="v.jpg", Body=b"second")
    assert store.read("cloud", "v.jpg", first, MAX_S3_OBJECT_BYTES) == b"first"
    assert store.read("cloud", "v.jpg", None, MAX_S3_OBJECT_BYTES) == b"second"
    unavailable(store, "cloud", "v.jpg", "no-such-version")


def test_a_local_bucket_hides_one_in_s3(store: ObjectStore, aws: Any) -> None:
    aws.create_bucket(Bucket="photos")
    aws.put_object(Bucket="photos", Key="only-in-s3.jpg", Body=b"hidden")
    assert store.read("photos", "2024/é ü.jpg", None, MAX_S3_OBJECT_BYTES) == b"a picture"
    assert "No such file" in unavailable(store, "photos", "only-in-s3.jpg")


def test_missing_in_s3(store: ObjectStore) -> None:
    assert "NoSuchKey" in unavailable(store, "cloud", "absent.jpg")
    assert "NoSuchBucket" in unavailable(store, "absent", "absent.jpg")
    assert "Invalid bucket name" in unavailable(store, "not a bucket!", "absent.jpg")


def test_denied_by_s3(store: ObjectStore, server: str) -> None:
    tell(server, "reset-auth", "0")
    try:
        assert "InvalidAccessKeyId" in unavailable(store, "cloud", "a/photo é.jpg")
    finally:
        tell(server, "reset-auth", "inf")


def test_limit_in_s3(store: ObjectStore, aws: Any) -> None:
    aws.put_object(Bucket="cloud", Key="exact", Body=bytes(MAX_S3_OBJECT_BYTES))
    aws.put_object(Bucket="cloud", Key="beyond", Body=bytes(MAX_S3_OBJECT_BYTES + 1))
    assert len(store.read("cloud", "exact", None, MAX_S3_OBJECT_BYTES)) == MAX_S3_OBJECT_BYTES
    with pytest.raises(ImageTooLarge):
        store.read("cloud", "beyond", None, MAX_S3_OBJECT_BYTES)


def test_a_dead_endpoint_does_not_hold_the_request(aws: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{unused.getsockname()[1]}")
        assert "Could not connect" in unavailable(ObjectStore(settings(s3=True)), "cloud", "a")


def test_an_operator_without_keys_learns_why(aws: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    assert "credentials" in unavailable(ObjectStore(settings(s3=True)), "cloud", "a")


def test_one_store_serves_many_threads(store: ObjectStore, aws: Any) -> None:
    for i in range(8):
        aws.put_object(Bucket="cloud", Key=f"{i}", Body=b"%d" % i * 50_000)
    with ThreadPoolExecutor(8) as pool:
        read = list(pool.map(lambda i: store.read("cloud", f"{i % 8}", None, MAX_S3_OBJECT_BYTES), range(64)))
    assert read == [b"%d" % (i % 8) * 50_000 for i in range(64)]


CONTENT = bytes(np.random.default_rng(5).integers(0, 256, 3 * BLOCK_BYTES + 1234, np.uint8))


@pytest.fixture(params=["local", "cloud"])
def long(request: pytest.FixtureRequest, store: ObjectStore, aws: Any, buckets: Path) -> str:
    """The bucket of an object that is longer than some blocks."""
    if request.param == "cloud":
        aws.put_object(Bucket="cloud", Key="long", Body=CONTENT)
    else:
        (buckets / "local").mkdir()
        (buckets / "local" / "long").write_bytes(CONTENT)
    return str(request.param)


def test_an_open_object_is_read_like_a_file(store: ObjectStore, long: str, buckets: Path) -> None:
    head = store.head(long, "long", None)
    assert head.size == len(CONTENT)
    with store.open(long, "long", None, head.version_tag) as file, io.BytesIO(CONTENT) as memory:
        assert (file.size, file.version_tag) == (head.size, head.version_tag)
        assert file.path == (buckets / "local" / "long" if long == "local" else None)
        places = np.random.default_rng(1)
        for _ in range(200):
            whence = int(places.integers(3))
            to = int(places.integers(len(CONTENT))) * (-1 if whence == io.SEEK_END else 1)
            to = to - file.tell() if whence == io.SEEK_CUR else to
            assert file.seek(to, whence) == memory.seek(to, whence)
            size = int(places.integers(1, 100_000))
            assert file.read(size) == memory.read(size)
        for start, size in ((BLOCK_BYTES - 3, 16), (BLOCK_BYTES - 1, BLOCK_BYTES + 2), (len(CONTENT) - 3, 16)):
            file.seek(start)
            assert file.read(size) == CONTENT[start : start + size]
        for read in (file.readall, file.read):
            file.seek(0)
            assert read() == CONTENT
        assert file.read(1) == b""
        file.seek(9, io.SEEK_END)
        assert file.read(1) == b""
        with pytest.raises(ValueError, match="beginning"):
            file.seek(-1)


def test_an_empty_object(store: ObjectStore, aws: Any, buckets: Path) -> None:
    (buckets / "photos" / "empty").touch()
    aws.put_object(Bucket="cloud", Key="empty", Body=b"")
    for bucket in ("photos", "cloud"):
        with store.open(bucket, "empty", None) as file:
            assert (file.size, file.read(10)) == (0, b"")


def test_another_object_of_the_same_name_is_not_the_same(
    store: ObjectStore, long: str, aws: Any, buckets: Path
) -> None:
    tag = store.head(long, "long", None).version_tag
    with store.open(long, "long", None) as file:
        file.read(10)
        store.write(long, "long", CONTENT[::-1])
        file.seek(2 * BLOCK_BYTES)
        if long == "cloud":
            with pytest.raises(ObjectChanged):
                file.read(10)
        else:
            assert file.read(10) == CONTENT[file.tell() - 10 : file.tell()]
    with pytest.raises(ObjectChanged):
        store.open(long, "long", None, tag)
    with store.open(long, "long", None) as file:
        assert file.read(10) == CONTENT[:-11:-1]


def test_an_old_version_stays_what_it_was(store: ObjectStore, aws: Any) -> None:
    aws.put_bucket_versioning(Bucket="cloud", VersioningConfiguration={"Status": "Enabled"})
    first = aws.put_object(Bucket="cloud", Key="v", Body=b"first")["VersionId"]
    with store.open("cloud", "v", first) as file:
        aws.put_object(Bucket="cloud", Key="v", Body=b"second")
        assert file.read(10) == b"first"


def test_an_object_that_vanishes_while_it_is_read(store: ObjectStore, aws: Any) -> None:
    aws.put_object(Bucket="cloud", Key="x", Body=b"x")
    with store.open("cloud", "x", None) as file:
        aws.delete_object(Bucket="cloud", Key="x")
        with pytest.raises(ObjectUnavailable):
            file.read(1)


def test_only_some_blocks_stay_in_memory(monkeypatch: pytest.MonkeyPatch, store: ObjectStore, aws: Any) -> None:
    monkeypatch.setattr("regard.media.storage.BLOCK_BYTES", 1000)
    aws.put_object(Bucket="cloud", Key="long", Body=CONTENT[:20_000])
    with store.open("cloud", "long", None) as file:
        assert file.readall() == CONTENT[:20_000]
        asked: list[str] = []
        store._client().meta.events.register(
            "provide-client-params.s3.GetObject", lambda params, **_: asked.append(params["Range"])
        )
        for block in [19, 18, 17, 16, 15, 14, 19, 13, 19, 18]:
            file.seek(block * 1000)
            file.read(1)
    assert asked == ["bytes=13000-13999", "bytes=18000-18999"]


@pytest.mark.parametrize("method", ["head", "open"])
def test_what_cannot_be_read_cannot_be_opened(method: str, store: ObjectStore, buckets: Path, server: str) -> None:
    os.mkfifo(buckets / "photos" / "pipe")
    (buckets / "photos" / "outside").symlink_to(buckets.parent / "secret")
    for bucket, name, version in [
        ("photos", "absent", None),
        ("photos", "2024", None),
        ("photos", "pipe", None),
        ("photos", "outside", None),
        ("photos", "../other/private.jpg", None),
        ("photos", "2024/é ü.jpg", "1"),
        ("..", "secret", None),
        ("cloud", "absent", None),
        ("cloud", "a/photo é.jpg", "absent"),
        ("absent", "x", None),
    ]:
        with capture_logs() as logs, pytest.raises(ObjectUnavailable):
            getattr(store, method)(bucket, name, version)
        assert [entry["event"] for entry in logs] == ["object unavailable"]


def test_opening_leaves_no_descriptor_behind(local: ObjectStore) -> None:
    before = len([*Path("/proc/self/fd").iterdir()])
    for _ in range(20):
        local.head("photos", "2024/é ü.jpg", None)
        local.open("photos", "2024/é ü.jpg", None).close()
        with pytest.raises(ObjectUnavailable):
            local.open("photos", "2024", None)
    assert len([*Path("/proc/self/fd").iterdir()]) == before


@pytest.mark.parametrize("bucket", ["photos", "cloud"])
def test_results_are_written(store: ObjectStore, bucket: str, buckets: Path, tmp_path: Path) -> None:
    store.write(bucket, "results/1/manifest é.json", b"one")
    assert store.read(bucket, "results/1/manifest é.json", None, 9) == b"one"
    (tmp_path / "long").write_bytes(CONTENT)
    with (tmp_path / "long").open("rb") as file:
        store.write(bucket, "results/1/manifest é.json", file)
    with store.open(bucket, "results/1/manifest é.json", None) as written:
        assert written.readall() == CONTENT
    assert len(list((buckets / "photos").rglob("*"))) == (5 if bucket == "photos" else 2)


def test_results_stay_inside_their_bucket(store: ObjectStore, buckets: Path, server: str) -> None:
    (buckets / "photos" / "link").symlink_to(buckets.parent)
    for bucket, name in [
        ("photos", "../other/x"),
        ("photos", "/x"),
        ("photos", "link/x"),
        ("photos", "link/deeper/x"),
        ("photos", "2024"),
        ("photos", "2024/"),
        ("photos", ""),
        ("photos", "."),
        ("photos", "2024/é ü.jpg/x"),
        ("photos", "nul\0"),
        ("..", "x"),
        ("absent", "x"),
    ]:
        with pytest.raises(ObjectUnavailable):
            store.write(bucket, name, b"x")
    found = {str(path.relative_to(buckets.parent)) for path in buckets.parent.rglob("*")}
    assert {name for name in found if name.endswith(("x", ".part", "deeper"))} == set()


def test_results_cannot_be_written_where_there_is_no_storage(
    aws: Any, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ObjectUnavailable):
        ObjectStore(settings()).write("cloud", "x", b"x")
    tell(server, "reset-auth", "0")
    try:
        with pytest.raises(ObjectUnavailable):
            ObjectStore(settings(s3=True)).write("cloud", "x", b"x")
    finally:
        tell(server, "reset-auth", "inf")
