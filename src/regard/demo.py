"""The demo: a server of its own in a temporary data folder, the tour through it, and its end."""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from rich.console import Console

from regard.settings import Settings
from regard.tour import tour
from regard.vision import models

CELEBRITIES = {"obama": "Barack Obama", "hopper": "Grace Hopper"}  # photos, and whom they show
_START_PATIENCE_S = 180.0
_REGARD = (sys.executable, "-m", "regard")


class DemoError(Exception):
    """The demo's server did not start; the text says what it said."""


@dataclass(frozen=True, slots=True)
class Running:
    """A server that answers: where, its process, its access key, the seconds from its start to that.

    `environment` is what its process was given.
    """

    endpoint: str
    pid: int
    key: dict[str, str]
    seconds: float
    environment: dict[str, str]

    def regard(self, *words: str) -> str:
        """What a `regard` command prints that is given on its data folder. Raises `DemoError`."""
        return _regard(self.environment, *words)

    def client(self) -> Any:
        """boto3's client for it."""
        return boto3.session.Session(
            self.key["AccessKeyId"], self.key["SecretAccessKey"], region_name=self.key["Region"]
        ).client("rekognition", endpoint_url=self.endpoint)


def demo(settings: Settings, out: Path, console: Console) -> None:
    """Start a server, show what it does on real photos, write annotated pictures to `out`, stop it."""
    photos = models.photos(settings.cache)
    console.print("A data folder with a PostgreSQL of its own, an access key for one purpose, a server:")
    console.print("[bold]regard init --purpose photo-search, regard serve[/]")
    with temporary_server(settings) as server:
        console.print(f"Ready after {server.seconds:.1f} s.\n")
        _celebrate(server, photos, console)
        tour(server.client(), photos, out, console)


def _celebrate(server: Running, photos: Mapping[str, Path], console: Console) -> None:
    """Import two of the people shown as celebrities, as an operator would."""
    with tempfile.TemporaryDirectory() as people:
        for name in CELEBRITIES:
            shutil.copy(photos[name], people)
        rows = [f"{name},{title},," for name, title in CELEBRITIES.items()]
        Path(people, "people.csv").write_text("\n".join(["id,name,gender,urls", *rows]))
        console.print("A list of celebrities, of one's own making: [bold]regard celebrities import people[/]")
        console.print(server.regard("celebrities", "import", people), style="dim")


@contextmanager
def temporary_server(settings: Settings, *, command: Sequence[str] = ("serve",), **more: str) -> Iterator[Running]:
    """A server with a data folder of its own, which goes with it, and `more` in its environment.

    Of the environment's settings it keeps where networks are; the rest, AWS's too, are for other servers.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("REGARD_", "AWS_"))}
    environment |= {"REGARD_CACHE": str(settings.cache), "REGARD_LOG_LEVEL": "WARNING"} | more
    # A Unix socket's path is short, and so must be the way to the database.
    with tempfile.TemporaryDirectory(prefix="regard-") as home:
        environment["REGARD_HOME"] = home
        key = json.loads(_regard(environment, "init", "--purpose", "photo-search", "--json"))
        port = _free_port()
        endpoint, started = f"http://127.0.0.1:{port}", time.monotonic()
        server = subprocess.Popen([*_REGARD, *command, "--port", str(port)], env=environment)
        try:
            while not _answers(endpoint):
                if server.poll() is not None or time.monotonic() - started > _START_PATIENCE_S:
                    raise DemoError("the server did not start, see above")
                time.sleep(0.05)
            yield Running(endpoint, server.pid, key, time.monotonic() - started, environment)
        finally:
            server.terminate()
            server.wait(_START_PATIENCE_S)


def _regard(environment: dict[str, str], *words: str) -> str:
    finished = subprocess.run([*_REGARD, *words], env=environment, capture_output=True, text=True, check=False)
    if finished.returncode:
        raise DemoError(finished.stderr)
    return finished.stdout


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers(endpoint: str) -> bool:
    try:
        with urllib.request.urlopen(f"{endpoint}/-/healthz", timeout=5) as response:  # noqa: S310 — our own
            return bool(response.status == 200)
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False
