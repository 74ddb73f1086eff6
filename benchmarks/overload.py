"""A server that is offered more than it can do: how much of it gets done, and how long that takes.

    python -m benchmarks.overload

Requests with small pictures arrive at random times (a Poisson process), whatever became of those before. In each round
as many clients as keep the server busy tell its capacity; then 1, 2 and 4 times that is offered, one after the other,
so that all loads meet the machine in the same mood. Goodput is what was answered with a result while requests arrived,
over all rounds; the first second of each load is left out. The clients share the machine with the server, so what they
and the refusals cost is in it.
"""

import asyncio
import io
import random
import time
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table

from benchmarks.clients import address, encoded, signed
from benchmarks.figures import note
from regard.demo import Running, temporary_server
from regard.settings import Settings
from regard.vision import models

WIDTH = 320
BUSY = 24  # clients that keep a server busy
SECONDS, RAMP_S = 5.0, 1.0
ROUNDS = 3
OFFERED = (1.0, 2.0, 4.0)


@dataclass
class Outcome:
    """Codes of all answers, the latencies of those with a result, in seconds, and when these came."""

    codes: Counter[str] = field(default_factory=Counter)
    latencies: list[float] = field(default_factory=list)
    moments: list[float] = field(default_factory=list)
    started: float = field(default_factory=time.perf_counter)
    offered: float = 0.0  # requests per second

    @property
    def goodput(self) -> float:
        """Results per second while requests arrived."""
        since = [moment - self.started for moment in self.moments]
        return sum(RAMP_S <= moment < SECONDS for moment in since) / (SECONDS - RAMP_S)


class Client:
    """Sends one request after another over connections that are kept."""

    def __init__(self, server: Running) -> None:
        self._where = address(server)
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def send(self, data: bytes, outcome: Outcome) -> None:
        started = time.perf_counter()
        fresh = not self._idle
        reader, writer = await asyncio.open_connection(*self._where) if fresh else self._idle.pop()
        try:
            writer.write(data)
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            length = int(head.partition("content-length:")[2].partition("\r\n")[0])
            await reader.readexactly(length)
        except (ConnectionError, asyncio.IncompleteReadError):
            writer.close()
            if fresh:
                outcome.codes["broken"] += 1
            else:  # it had rested for too long
                await self.send(data, outcome)
            return
        self._idle.append((reader, writer))
        code = head.split()[1]
        outcome.codes["throttled" if "throttlingexception" in head else code] += 1
        if code == "200":
            outcome.moments.append(time.perf_counter())
            outcome.latencies.append(outcome.moments[-1] - started)

    def close(self) -> None:
        for _, writer in self._idle:
            writer.close()


async def busy(server: Running, data: bytes) -> Outcome:
    """Each client sends its next request when it has its answer."""
    outcome, client = Outcome(), Client(server)

    async def one() -> None:
        while time.perf_counter() - outcome.started < SECONDS:
            await client.send(data, outcome)

    await asyncio.gather(*(one() for _ in range(BUSY)))
    outcome.offered = outcome.goodput
    client.close()
    return outcome


async def offered(server: Running, data: bytes, rate: float) -> Outcome:
    """Requests arrive at `rate` per second."""
    outcome, client = Outcome(offered=rate), Client(server)
    arrival, sent = outcome.started, []
    while arrival - outcome.started < SECONDS:
        await asyncio.sleep(max(0.0, arrival - time.perf_counter()))
        sent.append(asyncio.create_task(client.send(data, outcome)))
        arrival += random.expovariate(rate)
    await asyncio.gather(*sent)
    client.close()
    return outcome


def measured(server: Running, data: bytes) -> dict[str, list[Outcome]]:
    """The outcomes of each load, by its name."""
    asyncio.run(busy(server, data))  # warms up
    found: dict[str, list[Outcome]] = {"capacity": []} | {f"{factor:g} ×": [] for factor in OFFERED}
    for _ in range(ROUNDS):
        capacity = asyncio.run(busy(server, data))
        found["capacity"].append(capacity)
        for factor in OFFERED:
            found[f"{factor:g} ×"].append(asyncio.run(offered(server, data, capacity.goodput * factor)))
    return found


def main() -> None:
    console, settings = Console(), Settings()
    picture = io.BytesIO()
    photo = Image.open(models.photos(settings.cache)["obama"])
    photo.resize((WIDTH, WIDTH * photo.height // photo.width)).save(picture, "JPEG", quality=90)
    table = Table(title=f"DetectFaces of {WIDTH} px, {settings.threads} cores, at most {settings.queue} wait")
    for column in ("Load", "Offered/s", "Goodput/s", "Of peak", "p50 ms", "p99 ms", "Throttled", "Other"):
        table.add_column(column, justify="right")
    with temporary_server(settings, REGARD_LOG_LEVEL="ERROR") as server:
        image = {"Image": {"Bytes": encoded(picture.getvalue())}}
        found = measured(server, signed(server, "DetectFaces", image))
    goodput = {name: float(np.mean([outcome.goodput for outcome in outcomes])) for name, outcomes in found.items()}
    for name, outcomes in found.items():
        codes: Counter[str] = sum((outcome.codes for outcome in outcomes), Counter())
        latencies = [latency for outcome in outcomes for latency in outcome.latencies]
        table.add_row(
            name,
            f"{np.mean([outcome.offered for outcome in outcomes]):.1f}",
            f"{goodput[name]:.1f}",
            f"{goodput[name] / max(goodput.values()):.0%}",
            f"{np.percentile(latencies, 50) * 1000:.0f}",
            f"{np.percentile(latencies, 99) * 1000:.0f}",
            f"{codes['throttled'] / codes.total():.0%}",
            str(codes.total() - codes["200"] - codes["throttled"]),
        )
        note(f"overload, {name}: goodput / peak", goodput[name] / max(goodput.values()))
        note(f"overload, {name}: p99", float(np.percentile(latencies, 99)) * 1000, "ms")
    console.print(table)


if __name__ == "__main__":
    main()
