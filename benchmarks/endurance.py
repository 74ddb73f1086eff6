"""A server and its worker at saturation for a long time: do they err, grow, or hold on to anything?

    python -m benchmarks.endurance [MINUTES] [--series FILE]

Clients in a process of their own send a mix of all operations (`benchmarks.mix`), as many at a time as keep the
cores busy. Every few seconds memory, open files, threads, connections, rows and the size of the data folder are taken.
Memory is what processes have of their own (`Pss_Anon`): pages of files come and go as the system likes, and
PostgreSQL's shared buffers have a fixed size and fill by and by. Everything is asked for before the time begins, what
is about pictures by all clients at once, and its first sixth is warm-up, too; growth is the median of the last tenth
over that of the tenth after the warm-up. Of PostgreSQL it is that of a process: how many there are follows the peaks of
the load, up to a most that the settings give, and that is judged apart.
Exit status 1 where a goal is missed.
"""

import json
import multiprocessing
import os
import queue
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import psutil
import psycopg
import typer
from PIL import Image
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table

from benchmarks.figures import note
from benchmarks.mix import BUCKET, CELEBRITY, MANIFEST, PEOPLE, STAFF, VIDEO, Log, Place, clients
from benchmarks.video import RATE, film, travel
from regard.demo import Running, temporary_server
from regard.media.images import decode
from regard.operations import OPERATIONS
from regard.settings import Settings
from regard.vision import models

CLIENTS_PER_CORE = 2
WARM_UP, WINDOW = 1 / 6, 1 / 10  # of the time
MAX_GROWTH = 0.02
MAX_P99_RATIO = 5.0
APART = 10  # connections beside a process' pool: at hand, the audit log's, the queue's, a probe's
LEAST = 100  # requests of an operation whose p99 is judged
SAMPLE_S = 5.0
PATIENCE_S = 1200.0  # for the clients to finish what they are at
WIDTH = 640  # of the photos
MB = 1024 * 1024
TABLES = ("audit_records", "faces", "users", "collections", "jobs", "job_results", "removals", "procrastinate_jobs")


@dataclass(frozen=True)
class Held:
    """What a group of processes holds: memory in MB, open files, threads."""

    processes: int
    rss: float
    pss: float
    anonymous: float
    files: int
    threads: int

    @property
    def each(self) -> float:
        """Memory of its own that a process has."""
        return self.anonymous / self.processes


@dataclass(frozen=True)
class Sample:
    """One look at everything, so many seconds after the start."""

    at: float
    server: Held
    worker: Held
    postgres: Held
    connections: int
    rows: dict[str, int]
    folder: float


def held(processes: Sequence[psutil.Process]) -> Held:
    rss = pss = anonymous = 0.0
    count = files = threads = 0
    for process in processes:
        with suppress(psutil.NoSuchProcess, ProcessLookupError, FileNotFoundError, PermissionError):
            said = dict(
                line.split(":", 1) for line in Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines()[1:]
            )
            kb = {name: int(value.split()[0]) / 1024 for name, value in said.items()}
            rss, pss, anonymous = rss + kb["Rss"], pss + kb["Pss"], anonymous + kb["Pss_Anon"]
            files, threads = files + process.num_fds(), threads + process.num_threads()
            count += 1
    return Held(count, rss, pss, anonymous, files, threads)


class Sampler:
    """Looks at a deployment."""

    def __init__(self, home: Path, server: int, worker: int) -> None:
        self._home = home
        self._server, self._worker = psutil.Process(server), psutil.Process(worker)
        lines = (home / "postgres" / "postmaster.pid").read_text().splitlines()
        self._postmaster = psutil.Process(int(lines[0]))
        self._database = psycopg.connect(host=lines[4], port=int(lines[3]), user="postgres", autocommit=True)
        self.started = time.monotonic()

    def sample(self) -> Sample:
        rows = {name: self._ask(f"SELECT count(*) FROM {name}") for name in TABLES}  # noqa: S608
        return Sample(
            time.monotonic() - self.started,
            held([self._server]),
            held([self._worker]),
            held([self._postmaster, *self._postmaster.children(recursive=True)]),
            self._ask("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'") - 1,
            rows,
            sum(self._sizes()) / MB,
        )

    def close(self) -> None:
        self._database.close()

    def _ask(self, query: str) -> int:
        row = self._database.execute(query.encode()).fetchone()
        return int(row[0]) if row else 0

    def _sizes(self) -> Iterator[int]:
        for folder, _, names in os.walk(self._home):
            for name in names:
                with suppress(FileNotFoundError):
                    yield Path(folder, name).stat().st_size


class Account:
    """All that the clients have met, and all samples."""

    def __init__(self) -> None:
        self.times: dict[str, list[float]] = defaultdict(list)
        self.errors: Counter[str] = Counter()
        self.samples: list[Sample] = []

    def add(self, log: Log) -> None:
        for operation, times in log.times.items():
            self.times[operation] += times
        self.errors.update(log.errors)

    @property
    def requests(self) -> int:
        return sum(map(len, self.times.values()))

    def growth(self, who: str, measure: str) -> tuple[float, float]:
        """A measure after warm-up and at the end: medians of the windows."""
        end = self.samples[-1].at

        def median(start: float, stop: float) -> float:
            values = [getattr(getattr(s, who), measure) for s in self.samples if start * end <= s.at <= stop * end]
            return float(np.median(values))

        return median(WARM_UP, WARM_UP + WINDOW), median(1 - WINDOW, 1)


@contextmanager
def deployment(folder: Path, settings: Settings) -> Iterator[tuple[Running, int, Path]]:
    """A server, the process id of its worker, and a local bucket with what the clients ask about."""
    bucket = folder / "buckets" / BUCKET
    bucket.mkdir(parents=True)
    with temporary_server(settings, REGARD_BUCKETS=str(bucket.parent), REGARD_WORKERS="0") as server:
        environment = server.environment | {"REGARD_WORKERS": str(settings.workers)}
        worker = subprocess.Popen([sys.executable, "-m", "regard", "worker"], env=environment)
        try:
            yield server, worker.pid, bucket
        finally:
            worker.terminate()
            worker.wait()


def furnish(server: Running, folder: Path, bucket: Path, photos: Mapping[str, Path]) -> dict[str, Path]:
    """Small photos, a video, a manifest, a celebrity, a collection; the files of the photos."""
    small = {}
    for name, path in photos.items():
        with Image.open(path) as opened:
            image = opened.convert("RGB")
        image.thumbnail((WIDTH, WIDTH))
        small[name] = bucket / f"{name}.jpg"
        image.save(small[name], quality=90)
    film(bucket / VIDEO, travel(decode(photos["obama2"].read_bytes()), 2 * RATE))
    lines = [json.dumps({"source-ref": f"s3://{BUCKET}/{name}.jpg"}) for name in ("hopper", "coffee", "cat")]
    (bucket / MANIFEST).write_text("".join(f"{line}\n" for line in lines))
    people = folder / "people"
    people.mkdir()
    (people / f"{CELEBRITY}.jpg").write_bytes(small[CELEBRITY].read_bytes())
    (people / "people.csv").write_text(f"id,name,gender,urls\n{CELEBRITY},Barack Obama,Male,\n")
    server.regard("celebrities", "import", str(people))
    client = server.client()
    client.create_collection(CollectionId=STAFF)
    for name in PEOPLE:
        client.index_faces(CollectionId=STAFF, Image={"Bytes": small[name].read_bytes()}, ExternalImageId=name)
    return small


def soak(place: Place, sampler: Sampler, minutes: float, account: Account, console: Console) -> None:
    """Load for so many minutes."""
    context = multiprocessing.get_context("spawn")
    reports, stop = context.Queue(), context.Event()
    process = context.Process(target=clients, args=(place, reports, stop), daemon=True)
    process.start()
    account.add(reports.get(timeout=PATIENCE_S))  # all networks are loaded
    sampler.started = started = time.monotonic()
    sampled = 0.0
    deadline = started + 60 * minutes
    with Live(console=console, refresh_per_second=1, transient=True) as live:
        while process.is_alive():
            now = time.monotonic()
            if now - sampled >= SAMPLE_S and now < deadline:
                account.samples.append(sampler.sample())
                sampled = now
            if now > deadline:
                stop.set()
            if now > deadline + PATIENCE_S:
                process.kill()
                account.errors["the clients did not end"] += 1
            with suppress(queue.Empty):
                while True:
                    account.add(reports.get(timeout=1))
            live.update(progress(account, now - started, 60 * minutes))
    process.join()


def progress(account: Account, passed: float, whole: float) -> Group:
    last = account.samples[-1]
    lines = [
        f"{passed / 60:.1f} of {whole / 60:.0f} minutes, {account.requests} requests, "
        f"{account.requests / max(passed, 1):.1f}/s, {account.errors.total()} errors",
        f"server {last.server.anonymous:.0f} MB, worker {last.worker.anonymous:.0f} MB, "
        f"PostgreSQL {last.postgres.anonymous:.0f} MB, {last.connections} connections, "
        f"data folder {last.folder:.0f} MB",
        *(f"[red]{error}" for error in list(account.errors)[-3:]),
    ]
    return Group(*lines)


def report(account: Account, console: Console, most: int) -> bool:
    """Tables and verdicts, with the `most` connections that there may be; whether all goals are met."""
    table = Table(title=f"{account.requests} requests in {account.samples[-1].at / 60:.0f} minutes")
    for column in ("Operation", "Requests", "p50 ms", "p95 ms", "p99 ms", "p99/p50"):
        table.add_column(column, justify="left" if column == "Operation" else "right")
    ratios = {}
    for operation, times in sorted(account.times.items()):
        p50, p95, p99 = (float(np.percentile(times, share)) for share in (50, 95, 99))
        if len(times) >= LEAST:
            ratios[operation] = p99 / p50
        table.add_row(operation, str(len(times)), f"{p50:.1f}", f"{p95:.1f}", f"{p99:.1f}", f"{p99 / p50:.1f}")
    console.print(table)
    memory = Table(title="What is held: after the warm-up, and at the end")
    for column in ("What", "After", "End", "Growth"):
        memory.add_column(column, justify="left" if column == "What" else "right")
    growths = {}
    for who in ("server", "worker", "postgres"):
        for measure in ("pss", "anonymous", "each", "files", "threads"):
            after, end = account.growth(who, measure)
            if measure == "each":
                growths[who] = end / after - 1
            unit = "" if measure in ("files", "threads") else "MB"
            memory.add_row(f"{who}, {measure} {unit}", f"{after:.4g}", f"{end:.4g}", f"{end / after - 1:+.1%}")
    first, last = account.samples[0], account.samples[-1]
    memory.add_row("connections", str(first.connections), str(last.connections), "")
    memory.add_row("data folder MB", f"{first.folder:.0f}", f"{last.folder:.0f}", "")
    for name in TABLES:
        memory.add_row(f"rows of {name}", str(first.rows[name]), str(last.rows[name]), "")
    console.print(memory)
    for error, count in account.errors.most_common(20):
        console.print(f"[red]{count} × {error}", highlight=False)
    missing = sorted(OPERATIONS.keys() - account.times.keys())
    connections = max(sample.connections for sample in account.samples)
    note("endurance: connections to PostgreSQL", connections, most=most)
    for who, growth in growths.items():
        note(f"endurance: growth of a {who} process", 100 * growth, "%", most=100 * MAX_GROWTH)
    note("endurance: errors", account.errors.total(), most=0)
    note("endurance: greatest p99 / p50", max(ratios.values(), default=0), most=MAX_P99_RATIO)
    worst = max(ratios, key=lambda name: ratios[name], default=None)
    verdicts = [
        (not account.errors, f"{account.errors.total()} errors; the goal is none"),
        *(
            (
                growths[who] <= MAX_GROWTH,
                f"memory of a {who} process grew by {growths[who]:.1%}; the goal is 2 % at most",
            )
            for who in ("server", "worker", "postgres")
        ),
        (connections <= most, f"{connections} connections at most; server and worker may open {most}"),
        (
            worst is None or ratios[worst] <= MAX_P99_RATIO,
            f"p99 is at most {ratios[worst] if worst else 0:.1f} times p50 ({worst}); the goal is {MAX_P99_RATIO:.0f}",
        ),
        (not missing, f"{len(OPERATIONS) - len(missing)} of {len(OPERATIONS)} operations {' '.join(missing)}"),
    ]
    for good, text in verdicts:
        console.print(f"{'[green]met' if good else '[red]MISSED'}[/]: {text}", highlight=False)
    return all(good for good, _ in verdicts)


def main(
    minutes: Annotated[float, typer.Argument(min=0.5)] = 60,
    series: Annotated[Path | None, typer.Option(help="Where to write the samples as JSON.")] = None,
) -> None:
    """Load a server for MINUTES and say what became of it."""
    console, settings, account = Console(), Settings(), Account()
    with tempfile.TemporaryDirectory(prefix="regard-") as scratch, deployment(Path(scratch), settings) as running:
        server, worker, bucket = running
        photos = furnish(server, Path(scratch), bucket, models.photos(settings.cache))
        place = Place(server.endpoint, server.key, photos, bucket, CLIENTS_PER_CORE * settings.threads)
        sampler = Sampler(Path(server.environment["REGARD_HOME"]), server.pid, worker)
        try:
            soak(place, sampler, minutes, account, console)
        finally:
            sampler.close()
            if series is not None:
                series.write_text(json.dumps([asdict(sample) for sample in account.samples]))
    if not report(account, console, 2 * (settings.connections + APART)):
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
