"""The server under load over HTTP, beside the bare decoding and networks on the same machine.

    python -m benchmarks.serving

Requests are signed beforehand and sent by plain HTTP clients in one process, so that the clients take little of
the machine. The ratio is the time of a request over the time of the same decoding and networks called directly
in a process of their own, for one client; for eight clients it is the bare throughput over the server's.
"""

import base64
import http.client
import io
import json
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from PIL import Image
from rich.console import Console
from rich.table import Table

from regard.demo import Running, temporary_server
from regard.media.images import decode
from regard.operations.shapes import ATTRIBUTES
from regard.settings import Settings
from regard.vision import models
from regard.vision.faces import FaceEngine

WIDTHS = (640, 1920)
CLIENTS = (1, 8)
SECONDS = 5.0
WARM_UP = 5
FILLED, SEARCHED = "filled", "searched"  # collections
NOTHING: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Scenario:
    """One operation: its name, its requests by number, and the same work without the server."""

    name: str
    operation: str
    request: Callable[[str, int], dict[str, Any]]
    bare: Callable[[FaceEngine, bytes], object]


def _detect(engine: FaceEngine, data: bytes, wanted: frozenset[str] = NOTHING) -> Any:
    image = decode(data)
    return image, engine.describe(image, engine.detect(image), wanted)


def _embed(engine: FaceEngine, data: bytes) -> object:
    image, faces = _detect(engine, data)
    return engine.embed(image, faces)


def _compare(engine: FaceEngine, data: bytes) -> object:
    return _embed(engine, data), _embed(engine, data)


SCENARIOS = (
    Scenario("DetectFaces DEFAULT", "DetectFaces", lambda image, _: {"Image": {"Bytes": image}}, _detect),
    Scenario(
        "DetectFaces ALL",
        "DetectFaces",
        lambda image, _: {"Image": {"Bytes": image}, "Attributes": ["ALL"]},
        lambda engine, data: _detect(engine, data, ATTRIBUTES),
    ),
    Scenario(
        "CompareFaces",
        "CompareFaces",
        lambda image, _: {"SourceImage": {"Bytes": image}, "TargetImage": {"Bytes": image}},
        _compare,
    ),
    Scenario(
        "IndexFaces",
        "IndexFaces",
        lambda image, n: {"CollectionId": FILLED, "Image": {"Bytes": image}, "ExternalImageId": f"n{n}"},
        _embed,
    ),
    Scenario(
        "SearchFacesByImage",
        "SearchFacesByImage",
        lambda image, _: {"CollectionId": SEARCHED, "Image": {"Bytes": image}, "MaxFaces": 10},
        _embed,
    ),
)


@dataclass(frozen=True)
class Measured:
    """What a load gave: milliseconds of each request, requests per second, share of all cores that was busy."""

    times: Sequence[float]
    rate: float
    busy: float

    @property
    def p50(self) -> float:
        return float(np.percentile(self.times, 50))

    @property
    def p95(self) -> float:
        return float(np.percentile(self.times, 95))


def photo(width: int, photos: dict[str, Path]) -> bytes:
    """A JPEG of that width and three quarters of it in height: part of a real portrait, scaled."""
    image = Image.open(photos["obama2"]).convert("RGB")
    image = image.crop((0, image.height // 10, image.width, image.height // 10 + image.width * 3 // 4))
    image = image.resize((width, width * 3 // 4), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def load(work: Callable[[int], None], clients: int, seconds: float = SECONDS) -> Measured:
    """`work(number)` over and over from that many threads."""
    numbers = iter(range(10**9))
    for _ in range(WARM_UP):
        work(next(numbers))
    times: list[float] = []
    stop = time.perf_counter() + seconds

    def client() -> None:
        while (started := time.perf_counter()) < stop:
            work(next(numbers))
            times.append((time.perf_counter() - started) * 1000)

    psutil.cpu_percent()
    started = time.perf_counter()
    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return Measured(times, len(times) / (time.perf_counter() - started), psutil.cpu_percent())


def sender(server: Running, scenario: Scenario, data: bytes) -> Callable[[int], None]:
    """A function that sends the request of a number over a connection of its thread."""
    host, key = server.endpoint.removeprefix("http://"), server.key
    image = base64.b64encode(data).decode()
    local = threading.local()
    signer = SigV4Auth(Credentials(key["AccessKeyId"], key["SecretAccessKey"]), "rekognition", key["Region"])
    signed: dict[bytes, dict[str, str]] = {}

    def send(number: int) -> None:
        body = json.dumps(scenario.request(image, number)).encode()
        if body not in signed:
            headers = {
                "Content-Type": "application/x-amz-json-1.1",
                "X-Amz-Target": f"RekognitionService.{scenario.operation}",
            }
            request = AWSRequest("POST", f"{server.endpoint}/", headers, body)
            signer.add_auth(request)
            signed[body] = dict(request.headers)
        if not hasattr(local, "connection"):
            local.connection = http.client.HTTPConnection(host)
        try:
            local.connection.request("POST", "/", body, signed[body])
        except ConnectionError:  # the server closes a connection that was idle
            local.connection.close()
            local.connection.request("POST", "/", body, signed[body])
        response = local.connection.getresponse()
        content = response.read()
        assert response.status == 200, content

    return send


def peak_memory(pid: int) -> float:
    """The most memory that a process has had resident, in MB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))) / 1024


def main() -> None:
    console, settings = Console(), Settings()
    photos = models.photos(settings.cache)
    pictures = {width: photo(width, photos) for width in WIDTHS}
    engine = FaceEngine.load(settings)
    table = Table(title=f"Over HTTP, {psutil.cpu_count()} cores, {settings.threads} threads")
    for column in ("Operation", "Width", "Clients", "p50 ms", "p95 ms", "Images/s", "Cores busy", "Bare ms", "Ratio"):
        table.add_column(column, justify="left" if column == "Operation" else "right")
    with temporary_server(settings) as server:
        client = server.client()
        for name in (FILLED, SEARCHED):
            client.create_collection(CollectionId=name)
        for path in photos.values():
            client.index_faces(CollectionId=SEARCHED, Image={"Bytes": path.read_bytes()})
        for scenario in SCENARIOS:
            for width, data in pictures.items():
                send = sender(server, scenario, data)
                for clients in CLIENTS:
                    # One after the other, so that both meet the machine in the same mood.
                    bare = load(lambda _, s=scenario, d=data: s.bare(engine, d), clients)  # type: ignore[misc]
                    measured = load(send, clients)
                    ratio = measured.p50 / bare.p50 if clients == 1 else bare.rate / measured.rate
                    table.add_row(
                        scenario.name,
                        str(width),
                        str(clients),
                        f"{measured.p50:.1f}",
                        f"{measured.p95:.1f}",
                        f"{measured.rate * (2 if scenario.operation == 'CompareFaces' else 1):.1f}",
                        f"{measured.busy:.0f} %",
                        f"{bare.p50:.1f}",
                        f"{ratio:.2f}",
                    )
        console.print(table)
        console.print(
            f"Ready {server.seconds:.1f} s after start. Peak resident memory {peak_memory(server.pid):.0f} MB."
        )


if __name__ == "__main__":
    main()
