"""A real server, started as an operator starts it, and real AWS clients that point at it.

Every answer that a boto3 client of these tests receives is held against AWS's own description of it, see
`check_answer`.
"""

import http.client
import io
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import psutil
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.model import OperationModel
from moto.server import ThreadedMotoServer
from PIL import Image, ImageFilter
from tests.videos import make_video

REGION = "us-east-1"
START_PATIENCE_S = 90

# What AWS answers before an operation is reached, beyond the errors that the operation declares.
COMMON_ERRORS = {
    "IncompleteSignatureException",
    "InvalidSignatureException",
    "MissingAuthenticationTokenException",
    "SerializationException",
    "UnrecognizedClientException",
}
ERROR_MEMBERS = {"__type", "Code", "Logref", "Message", "message"}


@dataclass(frozen=True)
class Deployment:
    """A data folder and its first access key; any number of servers can be started on it."""

    home: Path
    environment: dict[str, str]
    access_key_id: str
    secret_access_key: str
    program: tuple[str, ...] = ("-m", "regard")

    def regard(self, *arguments: str) -> str:
        """What a `regard` command prints."""
        return regard(self.environment, *arguments)

    def run(self, *arguments: str, **environment: str) -> "subprocess.Popen[bytes]":
        """A process of its own that goes on running."""
        with (self.home / "serve.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, *self.program, *arguments],
                env=self.environment | environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def start(self, **environment: str) -> "Server":
        """A server of its own process, ready to answer."""
        port = free_port()
        process = self.run("serve", "--port", str(port), **environment)
        server = Server(self, port, process)
        deadline = time.monotonic() + START_PATIENCE_S
        while time.monotonic() < deadline:
            assert process.poll() is None, f"the server ended: {(self.home / 'serve.log').read_text()[-3000:]}"
            with suppress(urllib.error.URLError, ConnectionError, TimeoutError):
                with urllib.request.urlopen(f"{server.endpoint}/-/healthz", timeout=5) as response:
                    assert response.status == 200
                return server
            time.sleep(0.05)
        process.kill()
        raise AssertionError("the server did not answer in time")

    def postgres(self) -> list[psutil.Process]:
        """The processes of the embedded database that are alive."""
        folder = str(self.home / "postgres")
        return [
            process
            for process in psutil.process_iter(["name", "cmdline"])
            if process.info["name"] == "postgres" and folder in (process.info["cmdline"] or ())
        ]


@dataclass(frozen=True)
class Server:
    """A running server."""

    deployment: Deployment
    port: int
    process: "subprocess.Popen[bytes]"

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def client(self, **changes: Any) -> Any:
        """boto3, nothing changed but the endpoint; whatever is answered is checked."""
        arguments: dict[str, Any] = {
            "endpoint_url": self.endpoint,
            "region_name": REGION,
            "aws_access_key_id": self.deployment.access_key_id,
            "aws_secret_access_key": self.deployment.secret_access_key,
            "config": Config(retries={"total_max_attempts": 1}),
        }
        client: Any = boto3.session.Session().client("rekognition", **(arguments | changes))

        def check(event_name: str, response_dict: Mapping[str, Any] | None, **_: Any) -> None:
            if response_dict is not None:
                check_answer(client.meta.service_model.operation_model(event_name.rpartition(".")[2]), response_dict)

        client.meta.events.register("response-received.rekognition", check)
        return client

    def client_environment(self) -> dict[str, str]:
        """What a shell would export for an AWS client."""
        return os.environ | {
            "AWS_ACCESS_KEY_ID": self.deployment.access_key_id,
            "AWS_SECRET_ACCESS_KEY": self.deployment.secret_access_key,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_REGION": REGION,
            "AWS_ENDPOINT_URL_REKOGNITION": self.endpoint,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def post(
        self,
        body: bytes = b"{}",
        operation: str = "ListCollections",
        headers: Mapping[str, str] | None = None,
        *,
        service: str = "rekognition",
        region: str = REGION,
    ) -> "Answer":
        """A request written by hand and signed; `headers` are changed after it was signed."""
        request = AWSRequest(
            "POST",
            self.endpoint + "/",
            {"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": f"RekognitionService.{operation}"},
            body,
        )
        credentials = Credentials(self.deployment.access_key_id, self.deployment.secret_access_key)
        SigV4Auth(credentials, service, region).add_auth(request)
        return self.send(body, dict(request.headers.items()) | dict(headers or {}))

    def send(self, body: bytes, headers: Mapping[str, str], path: str = "/") -> "Answer":
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)) as connection:
            connection.request("POST", path, body, dict(headers))
            response = connection.getresponse()
            headers_there = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, headers_there, json.loads(response.read()))

    def stop(self) -> int:
        """Ask the server to end, as a service manager does; its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        self.process.wait(60)


@dataclass(frozen=True)
class Answer:
    """An HTTP response; names of headers are in lower case."""

    status: int
    headers: dict[str, str]
    body: dict[str, Any]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def regard(environment: dict[str, str], *arguments: str) -> str:
    return subprocess.run(
        [sys.executable, "-m", "regard", *arguments],
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    ).stdout


def check_answer(operation: OperationModel, response: Mapping[str, Any]) -> None:
    """AssertionError unless an HTTP response is one that AWS's description of the operation allows.

    Written for the tests alone, from the raw JSON, so that it shares no mistake with the server's own reading
    of the description.
    """
    status, headers = response["status_code"], {name.lower(): value for name, value in response["headers"].items()}
    assert uuid.UUID(headers["x-amzn-requestid"])
    assert headers["content-type"] == "application/x-amz-json-1.1"
    document = json.loads(response["body"])
    if status == 200:
        wrong = list(deviations(operation.output_shape, document, operation.name))
    else:
        wrong = list(error_deviations(operation, status, headers, document))
    assert not wrong, wrong


def error_deviations(
    operation: OperationModel, status: int, headers: Mapping[str, str], error: dict[str, Any]
) -> Iterator[str]:
    code = error.get("__type", "")
    if not code or code != error.get("Code") or code != headers.get("x-amzn-errortype"):
        yield f"the error's code is not the same everywhere: {headers} {error}"
    if code not in COMMON_ERRORS | {shape.name for shape in operation.error_shapes}:
        yield f"{operation.name} does not declare {code}"
    if not error.get("Message") or error["Message"] != error.get("message"):
        yield f"no message: {error}"
    if status != (500 if code == "InternalServerError" else 400):
        yield f"{code} with status {status}"
    if unknown := set(error) - ERROR_MEMBERS:
        yield f"unknown members {unknown}"


def deviations(shape: Any, value: Any, path: str) -> Iterator[str]:
    """What in a JSON value is not as its shape says."""
    kinds: dict[str, type] = {"structure": dict, "map": dict, "list": list, "string": str, "blob": str, "boolean": bool}
    number = shape.type_name in ("integer", "long", "float", "timestamp")
    expected: Any = (
        (int, float) if shape.type_name in ("float", "timestamp") else int if number else kinds[shape.type_name]
    )
    if not isinstance(value, expected) or (number and isinstance(value, bool)):
        yield f"{path} is no {shape.type_name}: {value!r}"
        return
    match shape.type_name:
        case "structure":
            yield from (f"{path} has no member {name}" for name in value.keys() - shape.members.keys())
            yield from (f"{path} lacks {name}" for name in shape.required_members if name not in value)
            for name in value.keys() & shape.members.keys():
                yield from deviations(shape.members[name], value[name], f"{path}.{name}")
        case "list":
            for index, item in enumerate(value):
                yield from deviations(shape.member, item, f"{path}[{index}]")
        case "map":
            for key, item in value.items():
                yield from deviations(shape.key, key, f"{path} key")
                yield from deviations(shape.value, item, f"{path}.{key}")
        case "string" if getattr(shape, "enum", None) and value not in shape.enum:
            yield f"{path} is none of {shape.enum}: {value}"
        case "string" if "pattern" in shape.metadata:
            pattern = shape.metadata["pattern"].replace(r"\p{L}\p{Z}\p{N}", r"\w\s")
            if not re.fullmatch(pattern, value):
                yield f"{path} does not match {pattern}: {value}"
        case "float" if struct.unpack("f", struct.pack("f", value))[0] != value:
            yield f"{path} is no float32: {value}"
        case "timestamp" if not 1_700_000_000 < value < 4_000_000_000:
            yield f"{path} is not in seconds: {value}"
    size = value if number else len(value) if isinstance(value, str | list | dict) else None
    low, high = shape.metadata.get("min"), shape.metadata.get("max")
    if value == []:
        low = None  # DeletedFaces shares its shape with a request, which must name a face; an answer need not
    if size is not None and ((low is not None and size < low) or (high is not None and size > high)):
        yield f"{path} is not within {low}–{high}: {value}"


@pytest.fixture(scope="session")
def s3() -> Iterator[Any]:
    """A real S3 server process's client; the Regard server of the tests is configured for it."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    client = boto3.client(
        "s3",
        endpoint_url=f"http://{host}:{port}",
        region_name=REGION,
        aws_access_key_id="s3",
        aws_secret_access_key="s3",
    )
    yield client
    client.close()
    server.stop()


@pytest.fixture(scope="session")
def deploy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Deployment]]:
    """`deploy(**environment)` initialises a data folder of its own; what runs there at the end is ended."""
    made: list[Deployment] = []

    def new(**environment: str) -> Deployment:
        home = tmp_path_factory.mktemp("home")
        variables = os.environ | {"REGARD_HOME": str(home)} | environment
        key = json.loads(regard(variables, "init", "--purpose", "research", "--json"))
        made.append(Deployment(home, variables, key["AccessKeyId"], key["SecretAccessKey"]))
        return made[-1]

    yield new
    for deployment in made:
        for process in deployment.postgres():
            with suppress(psutil.NoSuchProcess):
                process.terminate()


@pytest.fixture
def start() -> Iterator[Callable[..., Server]]:
    """`start(deployment, **environment)` is a server that ends with the test at the latest."""
    running: list[Server] = []

    def new(deployment: Deployment, **environment: str) -> Server:
        running.append(deployment.start(**environment))
        return running[-1]

    yield new
    for server in running:
        if server.process.poll() is None:
            server.kill()


@pytest.fixture(scope="session")
def buckets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of local buckets, with an empty one: `local`."""
    folder = tmp_path_factory.mktemp("buckets")
    (folder / "local").mkdir()
    return folder


@pytest.fixture(scope="session")
def interview(buckets: Path, photos: dict[str, Path]) -> dict[str, Any]:
    """The `Video` of a portrait for 1.5 seconds; `manifest.jsonl`, beside it in the bucket, names a picture."""
    with Image.open(photos["obama2"]) as opened:
        portrait = np.array(opened.convert("RGB").resize((480, 480)))
    make_video(buckets / "local" / "interview.mp4", [portrait] * 15, rate=10)
    (buckets / "local" / "obama.jpg").write_bytes(photos["obama"].read_bytes())
    (buckets / "local" / "manifest.jsonl").write_text('{"source-ref": "s3://local/obama.jpg"}')
    return {"S3Object": {"Bucket": "local", "Name": "interview.mp4"}}


@pytest.fixture(scope="session")
def moving(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of local buckets; in `local` is `moving.mp4`, twelve seconds that grow bright and dark."""
    folder = tmp_path_factory.mktemp("videos")
    (folder / "local").mkdir()
    seconds, rate = 12, 24
    pictures = (
        np.full((240, 320, 3), round(127 + 100 * np.sin(number / 20)), np.uint8) for number in range(seconds * rate)
    )
    make_video(folder / "local" / "moving.mp4", pictures, rate=rate, gop=rate, audio="aac")
    return folder


@pytest.fixture(scope="session")
def luminance(deploy: Callable[..., Deployment], moving: Path) -> Callable[..., Deployment]:
    """`luminance(**environment)` is a deployment with the analysis of luminance.py, and `moving.mp4` in a bucket."""

    def new(**environment: str) -> Deployment:
        made = deploy(REGARD_BUCKETS=str(moving), REGARD_PRELOAD="", **environment)
        return replace(made, program=(str(Path(__file__).parent / "luminance.py"),))

    return new


@pytest.fixture(scope="session")
def server(deploy: Callable[..., Deployment], buckets: Path, s3: Any) -> Iterator[Server]:
    """The server of most tests."""
    running = deploy(
        REGARD_BUCKETS=str(buckets),
        REGARD_S3="true",
        AWS_ENDPOINT_URL_S3=s3.meta.endpoint_url,
        AWS_ACCESS_KEY_ID="s3",
        AWS_SECRET_ACCESS_KEY="s3",
        AWS_DEFAULT_REGION=REGION,
    ).start()
    yield running
    assert running.stop() == 0


@pytest.fixture(scope="session")
def rekognition(server: Server) -> Iterator[Any]:
    """boto3, nothing changed but the endpoint."""
    with closing(server.client()) as client:
        yield client


@pytest.fixture(scope="session")
def unchecked(server: Server) -> Iterator[Any]:
    """boto3 without its own validation of parameters, so that what is wrong reaches the server."""
    config = Config(retries={"total_max_attempts": 1}, parameter_validation=False)
    with closing(server.client(config=config)) as client:
        yield client


@pytest.fixture
def connect(server: Server) -> Iterator[Callable[..., Any]]:
    """`connect(**changes)` is a client of the server with other credentials, region or configuration."""
    made: list[Any] = []

    def new(**changes: Any) -> Any:
        made.append(server.client(**changes))
        return made[-1]

    yield new
    for client in made:
        client.close()


@pytest.fixture
def collection(rekognition: Any) -> Iterator[str]:
    """An empty collection."""
    name = f"test-{uuid.uuid4()}"
    rekognition.create_collection(CollectionId=name)
    yield name
    with suppress(rekognition.exceptions.ResourceNotFoundException):
        rekognition.delete_collection(CollectionId=name)


@pytest.fixture(scope="session")
def picture(photos: dict[str, Path]) -> Callable[[str], dict[str, bytes]]:
    """`picture(name)` is the `Image` parameter with that photo's bytes."""
    return lambda name: {"Bytes": photos[name].read_bytes()}


@pytest.fixture(scope="module")
def celebrity(server: Server, photos: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The id of the only celebrity whom the server knows: Barack Obama."""
    people = tmp_path_factory.mktemp("people")
    shutil.copy(photos["obama"], people / "44.jpg")
    (people / "people.csv").write_text("id,name,gender,urls\n44,Barack Obama,Male,https://example.org\n")
    server.deployment.regard("celebrities", "import", str(people))
    yield "44"
    server.deployment.regard("celebrities", "remove", "44")


def jpeg(image: Image.Image, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, "JPEG", quality=92, **options)
    return buffer.getvalue()


@pytest.fixture(scope="session")
def portrait(photos: dict[str, Path]) -> Image.Image:
    """A small photo with one face."""
    image = Image.open(photos["obama"]).convert("RGB")
    image.thumbnail((320, 320))
    return image


@pytest.fixture(scope="session")
def face(portrait: Image.Image) -> bytes:
    """The file of a small photo with one face, which costs the server little."""
    return jpeg(portrait)


@pytest.fixture(scope="session")
def faceless() -> bytes:
    """A picture without a face."""
    noise = np.random.default_rng(0).integers(0, 255, (240, 320, 3), dtype=np.uint8)
    return jpeg(Image.fromarray(noise))


@pytest.fixture(scope="session")
def two_people(photos: dict[str, Path]) -> bytes:
    """Biden, large, at the left and Obama, smaller, at the right."""
    left, right = (Image.open(photos[name]).convert("RGB") for name in ("biden", "obama2"))
    left.thumbnail((800, 800))
    right.thumbnail((400, 400))
    both = Image.new("RGB", (left.width + right.width, left.height), "gray")
    both.paste(left, (0, 0))
    both.paste(right, (left.width, 0))
    return jpeg(both)


@pytest.fixture(scope="session")
def poor_face(photos: dict[str, Path]) -> bytes:
    """A face that is found but is far too blurred to be enrolled."""
    image = Image.open(photos["obama"]).convert("RGB")
    image.thumbnail((640, 640))
    return jpeg(image.filter(ImageFilter.GaussianBlur(9)))
