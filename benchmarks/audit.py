"""The audit log: what a record costs a request, and how fast a long log is verified.

    python -m benchmarks.audit [RECORDS [HOME]]

A valid log of RECORDS (100,000) records as requests leave them is written straight into the database, which the
folder HOME keeps for the next run; then come the latency of appending to it, by one caller and by eight at once, a
proof, a checkpoint, and verifying it all.
At 10 million records the log takes 10 GB of disk.
"""

import hmac
import os
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from hashlib import sha256
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track

from benchmarks.figures import note
from benchmarks.scratch import scratch
from regard.settings import Settings
from regard.store import audit as stored
from regard.store.audit import Record
from regard.store.database import Database, raw
from regard.use.audit import AuditLog, checkpoints, merkle, proofs, records, spans
from regard.use.audit.checkpoints import Signer
from regard.use.audit.verify import verify
from regard.use.seal import Sealer

APPENDS = 800
CALLERS = 8
TYPICAL = {
    "account": "123456789012",
    "principal": "AKIAIOSFODNN7EXAMPLE",
    "purpose": "building-access",
    "op": "SearchFacesByImage",
    "resource": "arn:aws:rekognition:us-east-1:123456789012:collection/staff",
    "policies": {"identity-verification@3": "9f" * 32},
    "requested": {"threshold": 80.0, "max": 5},
    "effective": {"threshold": 99.0, "max": 5},
    "input_digest": {"Image": "ab" * 32},
    "result": {"count": 1, "top_similarity": 99.87, "face_ids": ["cd" * 16]},
    "client": {"ip": "192.0.2.17", "ua": "Boto3/1.44.5 md/Botocore#1.44.5 ua/2.1 os/linux lang/python#3.11.7"},
}


def chain(count: int, key: bytes) -> Iterator[Record]:
    """A valid log, without its database: what requests leave, who differ in their ids alone.

    The bytes of the first record serve all others as a pattern, for to write each anew would take an hour for 10
    million of them.
    """
    request_ids = "00000000-0000-4000-8000-%012x"
    facts = records.checked(TYPICAL | {"request_id": request_ids % 0})
    ts, previous = records.timestamp(datetime.now(UTC)), records.NO_HASH
    first = records.chained(records.START, "request", facts, ts, key).content
    link, request_id, number = (b'"prev_hash":"', b'"request_id":"', b'"seq":')
    before, rest = first.split(link, 1)
    between, rest = rest[2 * len(previous) :].split(request_id, 1)
    middle, after = rest[len(request_ids % 0) :].split(number, 1)
    parts = (before, link, between, request_id, request_ids.encode(), middle, number, after[1:])
    pattern = b"%b%b%%b%b%b%b%b%b%%d%b" % parts
    seals = hmac.new(key, digestmod="sha256")
    for seq in range(1, count + 1):
        content = pattern % (previous.hex().encode(), seq, seq)
        previous = sha256(content).digest()
        seal = seals.copy()
        seal.update(previous)
        yield Record(seq, content, previous, seal.digest())


def fill(connection: stored.Connection, count: int, key: bytes) -> None:
    """Write a log of `count` records with the hashes of its tree."""
    tree, block, nodes = merkle.Growing(), list[bytes](), list[tuple[int, int, bytes]]()
    levels = {merkle.FANOUT**level: level for level in range(1, 5)}
    with connection.transaction(), connection.cursor() as cursor:
        with cursor.copy("COPY audit_records (seq, content, hash, seal) FROM STDIN (FORMAT BINARY)") as copy:
            copy.set_types(["int8", "bytea", "bytea", "bytea"])
            for record in track(chain(count, key), "writing", total=count):
                copy.write_row((record.seq, record.content, record.hash, record.seal))
                block.append(merkle.leaf(record.hash))
                if len(block) == merkle.FANOUT:
                    ended = tree.add(merkle.fold(block), merkle.FANOUT)
                    nodes += [(levels[n], tree.size // n - 1, hashed) for n, hashed in ended if n in levels]
                    block = []
        for node in nodes:
            stored.add_node(connection, *node)
    connection.execute("VACUUM ANALYZE audit_records, audit_nodes")


def latency(log: AuditLog, callers: int) -> list[float]:
    """Milliseconds of each of `APPENDS` appends."""
    times: list[float] = []

    def append() -> None:
        for _ in range(APPENDS // callers):
            started = time.perf_counter()
            log.record("request", TYPICAL, request_id=str(uuid.uuid4()))
            times.append((time.perf_counter() - started) * 1000)

    threads = [threading.Thread(target=append) for _ in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return times


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    console = Console()
    database = Database.open(Settings(home=Path(sys.argv[2]) if len(sys.argv) > 2 else scratch()))
    log = AuditLog(database, Sealer(bytes(32)))
    signer = Signer(log.sealer)
    with database.connect_apart() as connection:
        if stored.size(connection) < count:
            fill(connection, count, log.seal_key)
        for callers in (1, CALLERS):
            times = latency(log, callers)
            p50, p95 = np.percentile(times, (50, 95))
            note(f"audit: append at {count:,} records, {callers} callers, p50", p50, "ms")
            console.print(f"Append at {count:,} records, {callers} callers: p50 {p50:.2f} ms, p95 {p95:.2f} ms")
        started = time.perf_counter()
        checkpoints.make(connection, signer)
        console.print(f"Checkpoint: {(time.perf_counter() - started) * 1000:.1f} ms")
        started = time.perf_counter()
        proofs.prove(connection, signer, count // 3 + 1)
        console.print(f"Proof: {(time.perf_counter() - started) * 1000:.1f} ms")
    started = time.perf_counter()
    with database.snapshot() as pooled:
        cores = len(os.sched_getaffinity(0))
        share = partial(spans.shared, database.conninfo, log.seal_key, processes=cores)
        verdict = verify(raw(pooled), log.seal_key, signer.verifier, share=share)
    seconds = time.perf_counter() - started
    assert verdict.good, verdict.findings
    note("audit: verified", verdict.records / seconds, "records/s", least=100_000)
    console.print(f"Verify: {verdict.records:,} records in {seconds:.1f} s, {verdict.records / seconds:,.0f} records/s")
    log.close()
    database.close()


if __name__ == "__main__":
    main()
