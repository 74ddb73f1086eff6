"""The server under load over HTTP, beside the bare decoding and networks on the same machine.

    python -m benchmarks.serving [TURNS] [WORD …]

measures all operations, or those whose names contain a word, in five turns or as many as wanted. Requests are made and
signed beforehand, and sent over plain sockets from one process, so that the clients take little of the machine. The
ratio is the time of a request over the time of the same decoding and networks called directly in a process of their
own, for one client; for eight clients it is the bare throughput over the server's. Both are measured by turns, and a
ratio is the median of the turns', so that other work on the machine counts little. The last four columns are the
processor time that a request takes, bare, and in the server with its database, over the bare: what is left of the other
ratio where something else keeps the cores busy; and of it what networks take, bare and in the server.
"""

import io
import itertools
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray
from PIL import Image, ImageOps
from rich.console import Console
from rich.table import Table

from benchmarks.clients import ask, encoded, signed
from benchmarks.figures import note
from regard.demo import Running, temporary_server
from regard.media.images import decode
from regard.operations.shapes import ATTRIBUTES
from regard.settings import Settings
from regard.vision import labels, models
from regard.vision.engines import NETWORKS, Engines

WIDTHS = (640, 1920)
HD = (1280,)
CLIENTS = (1, 8)
SECONDS = 2.0  # of a turn
TURNS = 5
WARM_UP, WARM_UP_S = 3, 0.1
AHEAD = 250  # requests that are made before a load where no two are alike
FILLED, SEARCHED = "filled", "searched"  # collections
GROUP = "group"  # a picture of twelve faces
PORTRAITS = ("obama", "obama2", "obama3", "biden", "hopper", "astronaut")
NOTHING: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Scenario:
    """One operation: its name, its requests with a picture by number, and the same work without the server."""

    name: str
    operation: str
    request: Callable[[bytes, int], dict[str, Any]]
    bare: Callable[[Engines, bytes], object]
    photo: str = "obama2"
    widths: tuple[int, ...] = WIDTHS


def _detect(engines: Engines, data: bytes, wanted: frozenset[str] = NOTHING) -> Any:
    image = decode(data)
    return image, engines.faces.describe(image, engines.faces.detect(image), wanted)


def _embed(engines: Engines, data: bytes) -> object:
    image, faces = _detect(engines, data)
    return engines.faces.embed(image, faces)


def _compare(engines: Engines, data: bytes) -> object:
    return _embed(engines, data), _embed(engines, data)


def _image(picture: bytes, _: int) -> dict[str, Any]:
    return {"Image": {"Bytes": encoded(picture)}}


def _enrolment(picture: bytes, n: int) -> dict[str, Any]:
    """Of a picture that nobody has sent before: what follows a JPEG's end is not looked at, but is of its digest."""
    another = picture + n.to_bytes(4, "big")
    return {"CollectionId": FILLED, "Image": {"Bytes": encoded(another)}, "ExternalImageId": f"n{n}"}


SCENARIOS = (
    Scenario("DetectFaces DEFAULT", "DetectFaces", _image, _detect),
    Scenario(
        "DetectFaces ALL",
        "DetectFaces",
        lambda picture, n: _image(picture, n) | {"Attributes": ["ALL"]},
        lambda engines, data: _detect(engines, data, ATTRIBUTES),
    ),
    Scenario(
        "CompareFaces",
        "CompareFaces",
        lambda picture, _: {"SourceImage": {"Bytes": encoded(picture)}, "TargetImage": {"Bytes": encoded(picture)}},
        _compare,
    ),
    Scenario(
        "IndexFaces",
        "IndexFaces",
        _enrolment,
        _embed,
    ),
    Scenario(
        "SearchFacesByImage",
        "SearchFacesByImage",
        lambda picture, n: _image(picture, n) | {"CollectionId": SEARCHED, "MaxFaces": 10},
        _embed,
    ),
    Scenario("IndexFaces, 12 faces", "IndexFaces", _enrolment, _embed, GROUP, HD),
    Scenario("DetectLabels", "DetectLabels", _image, lambda e, data: labels.find(e, decode(data)), widths=HD),
    Scenario(
        "DetectModerationLabels",
        "DetectModerationLabels",
        _image,
        lambda engines, data: engines.moderation.moderate(decode(data)),
        widths=HD,
    ),
    Scenario(
        "DetectText, 35 words",
        "DetectText",
        _image,
        lambda engines, data: engines.text.read(decode(data)),
        "page",
        HD,
    ),
    Scenario(
        "DetectProtectiveEquipment",
        "DetectProtectiveEquipment",
        _image,
        lambda engines, data: engines.equipment.look(decode(data)),
        widths=HD,
    ),
)


@dataclass(frozen=True)
class Measured:
    """What a load gave: milliseconds of each request, requests per second, share of all cores that was busy, and
    milliseconds of processor time a request, in all and of networks."""

    times: Sequence[float]
    rate: float
    busy: float
    cpu: float
    networks: float

    @property
    def p50(self) -> float:
        return float(np.percentile(self.times, 50))

    @property
    def p95(self) -> float:
        return float(np.percentile(self.times, 95))


def photo(width: int, photos: dict[str, Path], name: str = "obama2") -> bytes:
    """A JPEG of that width and at most three quarters of it in height: part of a real photo, scaled, or a `GROUP`.

    At 1280 pixels it is 720 high, as a video's frame is.
    """
    image = group(photos) if name == GROUP else Image.open(photos[name]).convert("RGB")
    shape = 9 / 16 if width == 1280 and name != GROUP else 3 / 4
    top = image.height // 10 if image.height > image.width * shape else 0
    image = image.crop((0, top, image.width, min(image.height, top + round(image.width * shape))))
    image = image.resize((width, round(width * image.height / image.width)), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def group(photos: dict[str, Path], side: int = 320) -> Image.Image:
    """Three rows of four portraits."""
    image = Image.new("RGB", (4 * side, 3 * side))
    for place, name in enumerate(2 * PORTRAITS):
        portrait = ImageOps.fit(Image.open(photos[name]).convert("RGB"), (side, side), centering=(0.5, 0.2))
        image.paste(portrait, (place % 4 * side, place // 4 * side))
    return image


def load(work: Callable[[], object], clients: int) -> Measured:
    """`work` over and over in that many threads of this process."""
    times: list[float] = []

    def client(stop: float) -> None:
        while (started := time.perf_counter()) < stop:
            work()
            times.append((time.perf_counter() - started) * 1000)

    def run() -> list[float]:
        stop = time.perf_counter() + SECONDS
        threads = [threading.Thread(target=client, args=(stop,)) for _ in range(clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return times

    for _ in range(WARM_UP):
        work()
    return metered(run)


def metered(run: Callable[[], list[float]], pids: Callable[[], Sequence[int]] = tuple) -> Measured:
    """What `run` takes and gives the milliseconds of; the processor time is of the processes `pids`, else ours."""

    def spent() -> NDArray[np.float64]:
        of = pids()
        return np.array([processor_seconds(of), network_seconds(of)])

    before = spent()
    psutil.cpu_percent()
    started = time.perf_counter()
    times = run()
    seconds, busy = time.perf_counter() - started, psutil.cpu_percent()
    cpu, networks = (1000 * (spent() - before) / len(times)).tolist()
    return Measured(times, len(times) / seconds, busy, cpu, networks)


def processor_seconds(pids: Sequence[int]) -> float:
    """What processes have used so far; this one, if none is named. Of those that they have outlived, too: PostgreSQL's
    end with their connections."""
    total = 0.0
    for pid in pids or (os.getpid(),):
        with suppress(psutil.NoSuchProcess):  # then it is among what its parent has outlived
            total += sum(psutil.Process(pid).cpu_times()[:4])
    return total


def network_seconds(pids: Sequence[int]) -> float:
    """What of it the threads of networks have used, which rank below the process that they are of."""
    total = 0.0
    for pid in pids or (os.getpid(),):
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(pid)
            own = process.nice()
            for thread in process.threads():
                with suppress(ProcessLookupError):  # one that has ended since is none of theirs, which stay
                    if os.getpriority(os.PRIO_PROCESS, thread.id) > own:
                        total += thread.user_time + thread.system_time
    return total


def processes(server: Running) -> Sequence[int]:
    """The server and its database, with the database's own processes."""
    postmaster = int(Path(server.environment["REGARD_HOME"], "postgres", "postmaster.pid").read_text().split()[0])
    return [server.pid, postmaster, *(child.pid for child in psutil.Process(postmaster).children())]


def together(turns: Sequence[Measured]) -> Measured:
    """Of several turns: all times, and the medians of the rest."""
    rest = np.median([(turn.rate, turn.busy, turn.cpu, turn.networks) for turn in turns], axis=0)
    return Measured([taken for turn in turns for taken in turn.times], *rest.tolist())


class Sender:
    """Sends the requests of a scenario."""

    def __init__(self, server: Running, scenario: Scenario, data: bytes) -> None:
        self._server, self._scenario, self._picture = server, scenario, data
        self._numbers = itertools.count()
        self._alike = scenario.request(b"", 0) == scenario.request(b"", 1)
        self._ready: deque[bytes] = deque()

    def load(self, clients: int, seconds: float = SECONDS) -> Measured:
        """Requests from that many clients; none is sent twice unless all are alike. The processor time is the
        server's and its database's."""
        while len(self._ready) < (1 if self._alike else AHEAD):
            self._ready.append(self._signed())
        ask(self._server, self._next, 1, WARM_UP_S)
        return metered(lambda: ask(self._server, self._next, clients, seconds), lambda: processes(self._server))

    def _next(self) -> bytes:
        if self._alike:
            return self._ready[0]
        return self._ready.popleft() if self._ready else self._signed()

    def _signed(self) -> bytes:
        parameters = self._scenario.request(self._picture, next(self._numbers))
        return signed(self._server, self._scenario.operation, parameters)


def peak_memory(pid: int) -> float:
    """The most memory that a process has had resident, in MB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))) / 1024


MOST_MS = {
    "DetectLabels": 150.0,
    "DetectModerationLabels": 120.0,
    "DetectText, 35 words": 600.0,
    "DetectProtectiveEquipment": 200.0,
}
"""Goals for one client."""


def _note(name: str, width: int, clients: int, measured: Measured, ratio: float) -> None:
    what = f"{name}, {width} px, {clients} client{'s' * (clients > 1)}"
    if clients == 1:
        note(f"{what}: p50", measured.p50, "ms", most=MOST_MS.get(name))
        note(f"{what}: time / bare time", ratio, most=1.15)
    else:
        note(f"{what}: throughput", measured.rate, "requests/s")
        note(f"{what}: throughput / bare throughput", 1 / ratio, least=0.9)


def main() -> None:
    console, settings = Console(), Settings()
    photos = models.photos(settings.cache)
    engines = Engines(settings)
    engines.load(NETWORKS)
    words = [word for word in sys.argv[1:] if not word.isdecimal()]
    wanted = [one for one in SCENARIOS if not words or any(word in one.name for word in words)]
    number_of_turns = next((int(word) for word in sys.argv[1:] if word.isdecimal()), TURNS)
    table = Table(title=f"Over HTTP, {psutil.cpu_count()} cores, {settings.threads} threads")
    for column in (
        "Operation",
        "Width",
        "Clients",
        "p50 ms",
        "p95 ms",
        "Images/s",
        "Cores busy",
        "Bare ms",
        "Ratio",
        "Bare CPU ms",
        "CPU ratio",
        "Bare networks ms",
        "Networks ms",
    ):
        table.add_column(column, justify="left" if column == "Operation" else "right")
    with temporary_server(settings) as server:
        client = server.client()
        for name in (FILLED, SEARCHED):
            client.create_collection(CollectionId=name)
        for path in photos.values():
            client.index_faces(CollectionId=SEARCHED, Image={"Bytes": path.read_bytes()})
        for scenario in wanted:
            for width in scenario.widths:
                data = photo(width, photos, scenario.photo)
                send = Sender(server, scenario, data)
                for clients in CLIENTS:
                    turns = []
                    for _ in range(number_of_turns):
                        alone = load(lambda s=scenario, d=data: s.bare(engines, d), clients)  # type: ignore[misc]
                        turns.append((alone, send.load(clients)))
                    bare, served = (together(side) for side in zip(*turns, strict=True))
                    ratio = np.median(
                        [over.p50 / alone.p50 if clients == 1 else alone.rate / over.rate for alone, over in turns]
                    )
                    row = (
                        scenario.name,
                        str(width),
                        str(clients),
                        f"{served.p50:.1f}",
                        f"{served.p95:.1f}",
                        f"{served.rate * (2 if scenario.operation == 'CompareFaces' else 1):.1f}",
                        f"{served.busy:.0f} %",
                        f"{bare.p50:.1f}",
                        f"{ratio:.2f}",
                        f"{bare.cpu:.1f}",
                        f"{np.median([over.cpu / alone.cpu for alone, over in turns]):.2f}",
                        f"{bare.networks:.1f}",
                        f"{served.networks:.1f}",
                    )
                    table.add_row(*row)
                    _note(scenario.name, width, clients, served, float(ratio))
                    print(*row, sep=", ", file=sys.stderr, flush=True)
        console.print(table)
        note("server: from start to ready", server.seconds, "s")
        note("server: peak memory", peak_memory(server.pid), "MB")
        console.print(
            f"Ready {server.seconds:.1f} s after start. Peak resident memory {peak_memory(server.pid):.0f} MB."
        )


if __name__ == "__main__":
    main()
