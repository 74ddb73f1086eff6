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
from pathlib import Path

from rich.console import Console

from regard.settings import Settings
from regard.tour import tour
from regard.vision import models

_START_PATIENCE_S = 60.0


class DemoError(Exception):
    """The demo's server did not start; the text says what it said."""


def demo(settings: Settings, out: Path, console: Console) -> None:
    """Start a server, show what it does on real photos, write annotated pictures to `out`, stop it."""
    photos = models.photos(settings.cache)
    # A Unix socket's path is short, and so must be the way to the demo's database.
    with tempfile.TemporaryDirectory(prefix="regard-") as home:
        environment = os.environ | {"REGARD_HOME": home, "REGARD_LOG_LEVEL": "WARNING"}
        console.print("Making a data folder with its own PostgreSQL and an access key: [bold]regard init[/]")
        key = json.loads(_regard(environment, "init", "--json"))
        with _server(environment) as (endpoint, seconds):
            console.print(f"Serving at {endpoint}, ready after {seconds:.1f} s: [bold]regard serve[/]\n")
            os.environ |= {
                "AWS_ACCESS_KEY_ID": key["AccessKeyId"],
                "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"],
            }
            tour(endpoint, settings.region, photos, out, console)


def _regard(environment: dict[str, str], *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "regard", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise DemoError(done.stderr)
    return done.stdout


@contextmanager
def _server(environment: dict[str, str]) -> Iterator[tuple[str, float]]:
    """A running server: its endpoint and the seconds that it took to be ready."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    endpoint, started = f"http://127.0.0.1:{port}", time.monotonic()
    server = subprocess.Popen([sys.executable, "-m", "regard", "serve", "--port", str(port)], env=environment)
    try:
        while not _answers(endpoint):
            if server.poll() is not None or time.monotonic() - started > _START_PATIENCE_S:
                raise DemoError("the server did not start, see above")
            time.sleep(0.05)
        yield endpoint, time.monotonic() - started
    finally:
        server.terminate()
        server.wait()


def _answers(endpoint: str) -> bool:
    try:
        with urllib.request.urlopen(f"{endpoint}/-/healthz", timeout=5) as response:  # noqa: S310 — our own
            return bool(response.status == 200)
    except (urllib.error.URLError, ConnectionError):
        return False
