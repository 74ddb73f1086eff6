"""What the rules of use cost a request, and what the limiter of repeated searches finds.

    python -m benchmarks.use [RECORDS [HOME]]

The database holds 1,000 use policies, each of a purpose of its own, 10,000 access keys, and an audit log of RECORDS
(100,000) records; in the folder HOME it is kept for the next run. Measured are the look-up of the caller, all stages
around an operation that does nothing, and all of it with its record in the log, in one thread. For the limiter,
pictures of people in `REGARD_EVALUATION_DATA`/lfw are compared by their signatures, if they are there.
"""

import os
import sys
import time
from collections.abc import Callable, Mapping
from itertools import combinations
from pathlib import Path

import numpy as np
import sqlalchemy as sa
from rich.console import Console
from rich.table import Table

from benchmarks import audit
from benchmarks.figures import note
from benchmarks.scratch import scratch
from regard.app import every_stage
from regard.evaluate import portraits, verification
from regard.gallery.gallery import Gallery
from regard.media.storage import ObjectStore
from regard.operations.context import Context, Services
from regard.settings import Settings
from regard.store import audit as stored
from regard.store import collections, policies, tags
from regard.store.database import Database
from regard.store.tables import access_keys
from regard.use import keys, probes
from regard.use.audit import AuditLog
from regard.use.audit.requests import recording
from regard.use.book import digest_of, presets
from regard.use.chain import Call, Shape, run
from regard.use.seal import Sealer, load_sealer
from regard.vision.engines import Engines
from regard.wire.errors import InternalServerError

POLICIES, KEYS, CALLS, WARM_UP = 1_000, 10_000, 500, 50
PEOPLE = 150
BODY = b'{"CollectionId": "staff", "Image": {"Bytes": "aGFsbG8="}, "FaceMatchThreshold": 99}'


def main() -> None:
    chain(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000, Path(sys.argv[2]) if len(sys.argv) > 2 else scratch())
    limiter()


def chain(records: int, home: Path) -> None:
    """Milliseconds of the look-up of the caller, and of the chain."""
    settings = Settings(home=home)
    database, sealer = Database.open(settings), load_sealer(settings)
    log = AuditLog(database, sealer)
    fill(database, sealer, log, records)
    services = Services(settings, database, sealer, Engines(settings), Gallery(database), ObjectStore(settings), log)
    stages = every_stage(services)

    def look_up(key_id: str) -> keys.Principal:
        with database.at_hand() as connection:
            principal = keys.principal(connection, sealer, key_id)
        assert principal is not None
        return principal

    def call_of(principal: keys.Principal) -> Call:
        return Call("", "SearchFacesByImage", Context(principal, services), BODY, client_ip="127.0.0.1")

    def carry_out(principal: keys.Principal) -> None:
        run(call_of(principal), lambda *_: {"FaceMatches": []}, stages)

    def whole(principal: keys.Principal) -> None:
        call = call_of(look_up(principal.access_key_id))
        with recording(log, call, lambda _: InternalServerError()):
            run(call, lambda *_: {"FaceMatches": []}, stages)

    def shape(principal: keys.Principal) -> None:
        Shape().before(call_of(principal))

    started = time.perf_counter()
    principals = [look_up(_key_id(int(number))) for number in np.random.default_rng(0).integers(0, KEYS, CALLS)]
    carry_out(principals[0])
    loading = time.perf_counter() - started
    title = f"{POLICIES:,} policies, {KEYS:,} access keys, {records:,} audit records"
    Console().print(
        measured(
            title,
            {
                "a query for nothing, to compare with": lambda _: ask(database),
                "a row that waits for the disk, to compare with": lambda _: write(database),
                "look-up of the key, its account and the epochs": lambda n: look_up(principals[n].access_key_id),
                "reading and validating the request, as before": lambda n: shape(principals[n]),
                "all stages, with a budget": lambda n: carry_out(principals[n]),
                "look-up, all stages, and the record: all of it": lambda n: whole(principals[n]),
            },
        )
    )
    log.close()
    Console().print(f"Reading all policies once took {loading:.1f} s; a change costs the reading of what changed.")
    database.close()


def _key_id(number: int) -> str:
    return f"AKIA{number:016}"


def fill(database: Database, sealer: Sealer, log: AuditLog, count: int) -> None:
    """Policies, keys, a tagged collection and audit records, unless they are there."""
    with database.connect_apart() as connection:
        if stored.size(connection) >= count:
            return
        audit.fill(connection, count, log.seal_key)
    text = presets()["building-access"]
    documents = {}
    for number in range(POLICIES):
        name = f"building-{number}"
        document = text.replace('"building-access"', f'"{name}"')
        documents[name] = (document, digest_of(document))
    with database.begin() as connection:
        policies.put(connection, documents)
        account_id = keys.create_account(connection)
        rows = [
            {
                "access_key_id": key_id,
                "account_id": account_id,
                "sealed_secret": sealer.seal("s" * 40, key_id),
                "description": "",
                "purpose": f"building-{number % POLICIES}",
            }
            for number, key_id in enumerate(map(_key_id, range(KEYS)))
        ]
        connection.execute(sa.insert(access_keys), rows)
        collections.create(connection, account_id, "staff", "m")
        arn = f"arn:aws:rekognition:us-east-1:{account_id}:collection/staff"
        purposes = " ".join(documents)
        tags.put(connection, arn, {"use:purpose": purposes, "use:basis": "consent", "use:retention-days": "30"})


def ask(database: Database) -> None:
    with database.read() as connection:
        connection.exec_driver_sql("SELECT 1")


def write(database: Database) -> None:
    with database.at_hand() as connection:
        connection.execute("INSERT INTO standings (subject, status, reason) VALUES ('nobody', 'active', 'benchmark')")


def measured(title: str, actions: Mapping[str, Callable[[int], object]]) -> Table:
    """Milliseconds of each action, which take turns, so that what else the machine does is the same for all."""
    times: dict[str, list[float]] = {name: [] for name in actions}
    for number in range(CALLS):
        for name, action in actions.items():
            started = time.perf_counter()
            action(number)
            times[name].append(1000 * (time.perf_counter() - started))
    table = Table("ms", "p10", "p50", "p95", title=title, title_justify="left")
    for name, taken in times.items():
        note(f"use: {name}, p50", float(np.median(taken[WARM_UP:])), "ms", most=2.0 if "all of it" in name else None)
        table.add_row(name, *(f"{value:.2f}" for value in np.percentile(taken[WARM_UP:], (10, 50, 95))))
    return table


def limiter() -> None:
    """How many pairs of pictures of one person the signatures find, and how many strangers they confuse."""
    folder = Path(os.environ.get("REGARD_EVALUATION_DATA", "")) / "lfw"
    if not os.environ.get("REGARD_EVALUATION_DATA") or not folder.is_dir():
        Console().print("Of the limiter nothing is measured: REGARD_EVALUATION_DATA/lfw is not there.")
        return
    engine = Engines(Settings()).faces
    pictures = [files[:2] for files in verification.by_person(folder).values() if len(files) > 1][:PEOPLE]
    seen = [portraits.portrait(engine, portraits.read(path)) for pair in pictures for path in pair]
    found = portraits.embeddings(seen)
    signatures = np.array([list(probes.signature(embedding, b"k" * 32)) for embedding in found]) == "1"
    same, strangers = [], []
    for one, other in combinations(range(len(found)), 2):
        alike = int((signatures[one] != signatures[other]).sum()) <= probes.RADIUS
        (same if one // 2 == other // 2 else strangers).append(alike)
    Console().print(
        f"Repeated searches: of {len(same)} pairs of pictures of one person {np.mean(same):.1%} count as one, "
        f"of {len(strangers):,} pairs of strangers {sum(strangers):,}."
    )


if __name__ == "__main__":
    main()
