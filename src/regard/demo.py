"""The demo: a server of its own in a temporary data folder, the tour through it, and its end."""

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from rich.console import Console

from regard.settings import Settings
from regard.tour import tour
from regard.vision import models

_START_PATIENCE_S = 60.0
_REGARD = (sys.executable, "-m", "regard")


class DemoError(Exception):
    """The demo's server did not start; the text says what it said."""


@dataclass(frozen=True, slots=True)
class Running:
    """A server that answers: where, its process, its access key, and the seconds from its start to that."""

    endpoint: str
    pid: int
    key: dict[str, str]
    seconds: float

    def client(self) -> Any:
        """boto3's client for it."""
        return boto3.session.Session(
            self.key["AccessKeyId"], self.key["SecretAccessKey"], region_name=self.key["Region"]
        ).client("rekognition", endpoint_url=self.endpoint)


def demo(settings: Settings, out: Path, console: Console) -> None:
    """Start a server, show what it does on real photos, write annotated pictures to `out`, stop it."""
    photos = models.photos(settings.cache)
    console.print("A data folder with a PostgreSQL of its own, an access key, a server: [bold]regard init, serve[/]")
    with temporary_server(settings) as server:
        console.print(f"Ready after {server.seconds:.1f} s.\n")
        tour(server.client(), photos, out, console)


@contextmanager
def temporary_server(settings: Settings) -> Iterator[Running]:
    """A server with a data folder of its own, which goes with it.

    Of the environment's settings it keeps where networks are; the rest, AWS's too, are for other servers.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("REGARD_", "AWS_"))}
    environment |= {"REGARD_CACHE": str(settings.cache), "REGARD_LOG_LEVEL": "WARNING"}
    # A Unix socket's path is short, and so must be the way to the database.
    with tempfile.TemporaryDirectory(prefix="regard-") as home:
        environment["REGARD_HOME"] = home
        made = subprocess.run(
            [*_REGARD, "init", "--json"], env=environment, capture_output=True, text=True, check=False
        )
        if made.returncode:
            raise DemoError(made.stderr)
        port = _free_port()
        endpoint, started = f"http://127.0.0.1:{port}", time.monotonic()
        server = subprocess.Popen([*_REGARD, "serve", "--port", str(port)], env=environment)
        try:
            while not _answers(endpoint):
                if server.poll() is not None or time.monotonic() - started > _START_PATIENCE_S:
                    raise DemoError("the server did not start, see above")
                time.sleep(0.05)
            yield Running(endpoint, server.pid, json.loads(made.stdout), time.monotonic() - started)
        finally:
            server.terminate()
            server.wait(_START_PATIENCE_S)


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
