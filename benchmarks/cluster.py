"""Two nodes with a core each against one, and what Ray costs a request.

    python -m benchmarks.cluster

`regard up --nodes 2 --cores 1` on a machine with two cores at least: the first node and all its processes are pinned
to one core, the second to another. The front, the database and the clients belong to no node. Where the machine has a
third core they get what is left, and one node is compared with two as they are. Where it has not, they are on the
second node's core, and the comparison is of a machine of two cores, a node on each, with one of a single core that has
all of it. Then the second node is killed, and the same is measured with one; what the front takes meanwhile is told.
Last the plain server with one thread, pinned to the first node's core, says what Ray costs a request.
"""

import os
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

from benchmarks.figures import note
from benchmarks.serving import SCENARIOS, Scenario, Sender, photo, processes
from regard.demo import Running, temporary_server
from regard.settings import Settings
from regard.vision import models

OPERATIONS = {"DetectLabels": 1280, "DetectText, 35 words": 1280, "DetectFaces DEFAULT": 640}
CLIENTS, SECONDS, SCALING_S = 4, 15.0, 60.0
OVERHEAD = (640, 1920)
VCPU_HOUR = 0.045  # USD, an assumption: about what large clouds ask for one of a general machine, on demand
AWS_IMAGE = 0.001  # USD, AWS's list price in us-east-1 for each of the first million pictures of a month
PRELOAD = {"REGARD_PRELOAD": "faces,labels,text", "REGARD_LOG_LEVEL": "WARNING"}


def pin(which: Iterable[psutil.Process], cores: set[int]) -> None:
    """Threads, too: new ones, and new processes, go where those that make them are."""
    for process in which:
        with suppress(psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
            for thread in Path(f"/proc/{process.pid}/task").iterdir():
                os.sched_setaffinity(int(thread.name), cores)


def node_of(process: psutil.Process) -> bool:
    """Whether this is what `regard up` has started its second node by."""
    return any("ray.scripts" in word for word in process.cmdline())


def of_no_node(server: Running) -> list[psutil.Process]:
    """The clients, the front and the database."""
    return [psutil.Process(), *map(psutil.Process, processes(server))]


def replicas(among: Iterable[psutil.Process]) -> int:
    """How many replicas of networks there are."""
    count = 0
    for process in among:
        with suppress(psutil.NoSuchProcess):
            count += any("ServeReplica:regard" in word and "Networks" in word for word in process.cmdline())
    return count


@dataclass(frozen=True)
class Rate:
    """Pictures per second, and the cores that the front was busy on meanwhile, database and clients not counted."""

    pictures: float
    front: float

    @property
    def per_million(self) -> float:
        """USD for a million pictures by one node's core and what the front needs beside it, always busy."""
        return 1e6 / self.pictures / 3600 * (1 + self.front) * VCPU_HOUR


def measure(
    server: Running, data: dict[str, bytes], scenarios: Iterable[Scenario], seconds: float = SECONDS
) -> dict[str, Rate]:
    found, front = {}, psutil.Process(server.pid)
    for scenario in scenarios:
        send = Sender(server, scenario, data[scenario.name])
        before, started = front.cpu_times(), time.monotonic()
        rate = send.load(CLIENTS, seconds).rate
        used = front.cpu_times()
        busy = used.user + used.system - before.user - before.system
        found[scenario.name] = Rate(rate, busy / (time.monotonic() - started))
    return found


def main() -> None:
    console, settings = Console(), Settings(threads=1)
    photos = models.photos(settings.cache)
    scenarios = [scenario for scenario in SCENARIOS if scenario.name in OPERATIONS]
    data = {scenario.name: photo(OPERATIONS[scenario.name], photos, scenario.photo) for scenario in scenarios}
    faces = next(scenario for scenario in SCENARIOS if scenario.name == "DetectFaces DEFAULT")
    pictures = {width: photo(width, photos) for width in OVERHEAD}
    everywhere = sorted(os.sched_getaffinity(0))
    first, second = {everywhere[0]}, {everywhere[1]}
    outside = set(everywhere[2:]) or second
    with temporary_server(settings, command=("up", "--nodes", "2", "--cores", "1"), **PRELOAD) as server:
        front = psutil.Process(server.pid)
        (node,) = filter(node_of, front.children())
        on_second = [node, *node.children(recursive=True)]
        on_first = [process for process in front.children(recursive=True) if process not in on_second]
        pin(on_first, first)
        pin(on_second, second)
        pin(of_no_node(server), outside)
        names = [scenario.name for scenario in scenarios]
        for wanted, scenario in enumerate(scenarios, len(scenarios) + 1):  # a replica on either node for each of them
            deadline = time.monotonic() + SCALING_S
            while replicas(front.children(recursive=True)) < wanted and time.monotonic() < deadline:
                measure(server, data, [scenario], 3.0)
        here = replicas(node.children(recursive=True))
        console.print(
            f"Replicas: {replicas(front.children(recursive=True)) - here} on the first node, {here} on the second"
        )
        both = measure(server, data, scenarios)
        for process in [node, *node.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        measure(server, data, scenarios, 5.0)  # until whatever was there is here
        one = measure(server, data, scenarios)
        all_in_one = one
        if outside == second:
            pin(of_no_node(server), first)
            all_in_one = measure(server, data, scenarios)
            pin(of_no_node(server), outside)
        alone = {width: Sender(server, faces, pictures[width]).load(1, SECONDS) for width in OVERHEAD}
    with temporary_server(settings, REGARD_THREADS="1", **PRELOAD) as plain:
        pin([psutil.Process(plain.pid)], first)
        without = {width: Sender(plain, faces, pictures[width]).load(1, SECONDS) for width in OVERHEAD}
    table = Table(title=f"{CLIENTS} clients, pictures/s; front, clients and database on {sorted(outside)}")
    table.add_column("Operation")
    figures = ("Width", "Two", "One", "Ratio", "One, rest apart", "Ratio", "Front, cores", "USD a million", "AWS")
    for column in figures:
        table.add_column(column, justify="right")
    for name in names:
        single, ratio = one[name], both[name].pictures / all_in_one[name].pictures
        note(f"cluster, {name}: two nodes / one", ratio, least=1.7)
        table.add_row(
            name,
            str(OPERATIONS[name]),
            f"{both[name].pictures:.1f}",
            f"{all_in_one[name].pictures:.1f}",
            f"{ratio:.2f}",
            f"{single.pictures:.1f}",
            f"{both[name].pictures / single.pictures:.2f}",
            f"{single.front:.2f}",
            f"{single.per_million:.1f}",
            f"{AWS_IMAGE * 1e6:.0f}",
        )
    console.print(table)
    costs = Table(title="DetectFaces, one client, p50 ms")
    for column in ("Width", "Plain server", "One node", "Ray's share"):
        costs.add_column(column, justify="right")
    for width in OVERHEAD:
        ray, own = alone[width].p50, without[width].p50
        note(f"cluster, DetectFaces, {width} px: what Ray adds", ray - own, "ms")
        costs.add_row(str(width), f"{own:.1f}", f"{ray:.1f}", f"{ray - own:.1f}")
    console.print(costs)


if __name__ == "__main__":
    main()
