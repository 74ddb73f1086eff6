"""Searching a collection through the gallery, against brute force, and beside approximate indexes.

Scores are normalised by the shipped cohort.

    python -m benchmarks.gallery [FACES] [--rivals] [--direct]

Embeddings are generated: people with four faces each, as near to one another as faces of one person are to the
default network. They are put into PostgreSQL by COPY, which is not measured, and searched from there. With
`--direct` they are put into codes, without PostgreSQL, to scan more than there is time to store. With `--rivals`
the same vectors, as they are compared, are also in pgvector's HNSW, faiss' HNSW, usearch and, where it is
installed, hnswlib.

A machine that does other work as well answers late: beside the wall clock stands the processor time of a search,
of all threads, and the least wall time.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from typing import TypeVar

import faiss
import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks.figures import note
from benchmarks.scratch import scratch
from regard.gallery.codes import Codes
from regard.gallery.gallery import Gallery
from regard.gallery.parallel import CORES, in_parallel
from regard.settings import Settings
from regard.store import collections, faces, keys, users
from regard.store.collections import Collection
from regard.store.database import Database, raw
from regard.vision import models
from regard.vision.cohort import Cohort, Comparison

ACCOUNT = "123456789012"
DIMENSION = 128
EACH = 4
PROBES = 40
SPREAD = 0.077  # a cosine of about 0.57 between faces of one person
FLOOR = 0.3979  # Similarity 80, the least of FaceMatchThreshold's default
CHUNK = 1 << 16
SCANNED = DIMENSION // 2 + 1  # bytes of a face that every search reads: the sketch, and its part of a group's extremes
KEPT = 4096  # best of each probe that brute force notes
SEARCHES = ((1, FLOOR), (10, FLOOR), (100, -np.inf), (4096, -np.inf))

Vectors = NDArray[np.float32]
ResultT = TypeVar("ResultT")
Search = Callable[[int, int, float], NDArray[np.int64]]
"""Takes the number of a probe, a limit and a floor."""
Best = tuple[NDArray[np.float64], NDArray[np.int64]]

_FIELDS = (
    ("collection_key", ">i8"),
    ("face_id", "V16"),
    ("image_id", "V16"),
    ("left", ">f4"),
    ("top", ">f4"),
    ("width", ">f4"),
    ("height", ">f4"),
    ("confidence", ">f4"),
    ("version", ">i8"),
    ("embedding", f"V{4 * DIMENSION}"),
)
# A row of COPY's binary format: the number of fields, and each after its length.
_ROW = np.dtype([("fields", ">i2"), *(pair for name, kind in _FIELDS for pair in ((f"{name}_", ">i4"), (name, kind)))])
_HEADER, _TRAILER = b"PGCOPY\n\xff\r\n\0" + bytes(8), b"\xff\xff"


def _unit(vectors: Vectors) -> Vectors:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def chunks(count: int) -> Iterator[Vectors]:
    """Embeddings of `count` faces, some thousands at a time; the same each time."""
    for number in range(-(-count // CHUNK)):
        yield chunk(number)[: count - number * CHUNK]


def chunk(number: int) -> Vectors:
    """Some thousand embeddings: other people for each number."""
    rng = np.random.default_rng(number)
    mirrored = rng.choice(np.array([-1, 1], np.float32), DIMENSION)  # generated faster than people anew
    return np.ascontiguousarray((_first() * mirrored)[:, rng.permutation(DIMENSION)])


@cache
def _first() -> Vectors:
    rng = np.random.default_rng(0)
    centres = np.repeat(_unit(rng.standard_normal((CHUNK // EACH, DIMENSION), np.float32)), EACH, axis=0)
    return _unit(centres + np.float32(SPREAD) * rng.standard_normal(centres.shape, np.float32))


def probes_of(count: int) -> Vectors:
    """Other faces of people in the first chunk, and as many of people who are nowhere."""
    rng = np.random.default_rng(1)
    known = chunk(0)[:count][: PROBES // 2 * EACH : EACH]
    moved = known + np.float32(SPREAD) * rng.standard_normal(known.shape, np.float32)
    return np.concatenate([_unit(moved), _unit(rng.standard_normal(known.shape, np.float32))])


def brute_force(count: int, probes: Vectors, comparison: Comparison) -> list[Best]:
    """For each probe the greatest scores, falling, and the numbers of their faces."""
    queries = comparison.probes(probes)
    best: list[Best] = [(np.empty(0), np.empty(0, np.int64)) for _ in probes]
    for number, vectors in enumerate(chunks(count)):
        scores = np.round(queries @ comparison.references(vectors).T, 9)
        for probe, row in enumerate(scores):
            top = np.argpartition(row, -min(KEPT, len(row)))[-KEPT:]
            joined = np.concatenate([best[probe][0], row[top]])
            numbers = np.concatenate([best[probe][1], top + number * CHUNK])
            order = np.argsort(-joined, kind="stable")[:KEPT]
            best[probe] = joined[order], numbers[order]
    return best


class Memory:
    """Reads memory on all cores together, to tell how fast that goes."""

    def __init__(self) -> None:
        self._parts = [np.ones(1 << 24, np.int64) for _ in range(CORES)]
        self._threads = ThreadPoolExecutor(CORES)

    def bandwidths(self, count: int) -> list[float]:
        """Bytes a second, so many times."""
        return [self._bandwidth() for _ in range(count)]

    def _bandwidth(self) -> float:
        started = time.perf_counter()
        list(self._threads.map(np.max, self._parts))
        return sum(part.nbytes for part in self._parts) / (time.perf_counter() - started)


def measured(work: Callable[[], ResultT]) -> tuple[ResultT, float, float]:
    """The result, and wall and processor milliseconds, the latter of all threads."""
    wall, processor = time.perf_counter(), time.process_time()
    result = work()
    return result, (time.perf_counter() - wall) * 1000, (time.process_time() - processor) * 1000


def fill(database: Database, count: int) -> Collection:
    """A collection of generated faces, whose ids are their numbers."""
    with database.begin() as connection:
        keys.create_account(connection, ACCOUNT)
        collections.create(connection, ACCOUNT, "bench", "m")
        collection = collections.lock(connection, ACCOUNT, "bench")
        assert collection is not None
        version = collections.advance(connection, collection.key, faces=count)
        names = ", ".join(f'"{name}"' for name, _ in _FIELDS)
        cursor = connection.connection.cursor()
        with cursor.copy(f"COPY faces ({names}) FROM STDIN (FORMAT BINARY)") as copy:
            copy.write(_HEADER)
            for number, vectors in enumerate(chunks(count)):
                rows = np.zeros(len(vectors), _ROW)
                rows["fields"] = len(_FIELDS)
                for name, kind in _FIELDS:
                    rows[f"{name}_"] = np.dtype(kind).itemsize
                ids = np.zeros((len(vectors), 2), ">u8")
                ids[:, 1] = number * CHUNK + np.arange(len(vectors))
                rows["face_id"] = rows["image_id"] = ids.view("V16")[:, 0]
                rows["collection_key"], rows["version"], rows["confidence"] = collection.key, version, 99
                rows["left"] = rows["top"] = rows["width"] = rows["height"] = 0.2
                rows["embedding"] = vectors.view(f"V{4 * DIMENSION}")[:, 0]
                copy.write(rows.tobytes())
            copy.write(_TRAILER)
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.text("VACUUM ANALYZE faces"))
    return again(database)


def again(database: Database) -> Collection:
    """The collection as it is now."""
    with database.read() as connection:
        found = collections.find(raw(connection), ACCOUNT, "bench")
    assert found is not None
    return found


def table_of(title: str, *columns: str) -> Table:
    table = Table(title=title)
    for column in columns:
        table.add_column(column, justify="right")
    return table


def searches(console: Console, count: int, search: Search, best: list[Best]) -> None:
    """Print how long searches take and whether they find what brute force found."""
    table = table_of(
        f"{count:,} faces",
        *("Matches", "Floor", "Least ms", "p50 ms", "p95 ms", "Processor ms, p50", "Recall"),
    )
    for limit, floor in SEARCHES:
        times, recalls = [], []
        for number, (scores, numbers) in enumerate(best):
            found, wall, processor = measured(partial(search, number, limit, floor))
            times.append((wall, processor))
            expected = numbers[:limit][scores[:limit] >= floor]
            recalls.append(len(np.intersect1d(found, expected)) / len(expected) if len(expected) else 1.0)
        walls, processors = np.array(times).T
        what = f"gallery, {count:,} faces, best {limit}"
        goals = {1_000_000: 15.0, 20_000_000: 300.0} if floor > 0 else {}
        note(f"{what}: p50", float(np.percentile(walls, 50)), "ms", most=goals.get(count))
        note(f"{what}: recall", float(np.mean(recalls)), least=1.0)
        table.add_row(
            str(limit),
            f"{floor:.2f}",
            f"{walls.min():.1f}",
            f"{np.percentile(walls, 50):.1f}",
            f"{np.percentile(walls, 95):.1f}",
            f"{np.percentile(processors, 50):.1f}",
            f"{np.mean(recalls):.4f}",
        )
    console.print(table)


def scans(console: Console, codes: Codes, queries: NDArray[np.floating]) -> None:
    """Print how fast codes are scanned for `queries`, probes as they are compared, beside how fast memory is read.

    That wanders, for moments by half: scans and readings take turns, and medians are compared.
    """
    memory, count = Memory(), len(codes)
    note(f"gallery, {count:,} faces: a face", codes.nbytes / count, "bytes")
    table = table_of(
        f"{count:,} faces, {codes.nbytes / count:.0f} bytes each",
        *("Matches", "Floor", "Scan, p50 ms", "GB/s", "Memory, p50 GB/s", "Share"),
    )
    for limit, floor in SEARCHES:
        if floor < 0:
            continue  # much more than the sketches is read
        times, speeds = [], []
        for query in queries:
            speeds += memory.bandwidths(3)
            times += [measured(partial(codes.candidates, query, limit, floor))[1] for _ in range(3)]
        milliseconds, read = float(np.median(times)), float(np.median(speeds))
        scanned = count * SCANNED / milliseconds * 1000
        note(f"gallery, {count:,} faces, best {limit}: share of the memory's bandwidth", scanned / read, least=0.5)
        row = (f"{milliseconds:.1f}", f"{scanned / 1e9:.1f}", f"{read / 1e9:.1f}", f"{scanned / read:.0%}")
        table.add_row(str(limit), f"{floor:.2f}", *row)
    console.print(table)


def direct(console: Console, count: int, comparison: Comparison) -> None:
    probes = probes_of(count)[:: PROBES // 8]
    queries = comparison.probes(probes)
    numbers = range(-(-count // CHUNK))

    def code(own: range) -> Codes:
        made = Codes(queries.shape[1])
        for number in own:
            references = comparison.rough_references(chunk(number)[: count - number * CHUNK])
            made.add(np.arange(len(references)) + number * CHUNK, references)
        return made

    parts, wall, processor = measured(lambda: in_parallel(code, [numbers[core::CORES] for core in range(CORES)]))
    codes = parts[0]
    for part in parts[1:]:
        codes.absorb(part)
    console.print(f"Generated and coded in {wall / 1000:.0f} s, {processor / 1000:.0f} s of processor time.")
    best = brute_force(count, probes, comparison)
    searches(console, count, lambda number, *wanted: codes.candidates(queries[number], *wanted), best)
    scans(console, codes, queries)
    gone = np.random.default_rng(2).choice(count, 1000, replace=False)
    console.print(f"Removing 1,000 faces: {measured(lambda: codes.remove(gone))[1]:.0f} ms.")


_ENROL = """
import sys, uuid
import numpy as np
from sqlalchemy.engine import make_url
from regard.store import collections, faces
from regard.store.database import Database
database = Database(make_url(sys.argv[1]), pool_size=1)
for line in sys.stdin:
    with database.begin() as connection:
        collection = collections.lock(connection, "123456789012", "bench")
        vector = np.frombuffer(bytes.fromhex(line), "<f4")
        new = faces.NewFace(uuid.uuid4(), uuid.uuid4(), uuid.uuid4(), None, (0, 0, 1, 1), 99, vector)
        kept = faces.add(connection, collection, [new])
    print(kept[0].key, flush=True)
"""


def changes(console: Console, database: Database, gallery: Gallery, comparison: Comparison) -> None:
    """Print how long it takes until a change by another process is seen, and that it is."""
    vectors = _unit(np.random.default_rng(3).standard_normal((20, DIMENSION), np.float32))
    url = database.engine.url.render_as_string(hide_password=False)
    seen, gone, added = [], [], []
    with subprocess.Popen([sys.executable, "-c", _ENROL, url], stdin=-1, stdout=-1, text=True) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        for vector in vectors:
            other.stdin.write(vector.tobytes().hex() + "\n")
            other.stdin.flush()
            added.append(int(other.stdout.readline()))
            started = time.perf_counter()
            (match,) = gallery.search_faces(again(database), vector, 1, 0.9, comparison)
            seen.append((time.perf_counter() - started) * 1000)
            assert match.row.key == added[-1]
        other.stdin.close()
    for vector, key in zip(vectors, added, strict=True):
        with database.begin() as connection:
            collection = collections.lock(connection, ACCOUNT, "bench")
            assert collection is not None
            faces.delete(connection, collection, [key])
        started = time.perf_counter()
        assert not gallery.search_faces(again(database), vector, 1, 0.9, comparison)
        gone.append((time.perf_counter() - started) * 1000)
    with database.begin() as connection:
        collection = collections.lock(connection, ACCOUNT, "bench")
        assert collection is not None
        some = faces.page(connection, collection.key, 0, 800)
        for number in range(0, len(some), EACH):
            name = f"user-{number}"
            users.create(connection, collection, name)
            user = users.find(connection, collection.key, name)
            assert user is not None
            users.associate(connection, collection, user, [face.key for face in some[number : number + EACH]])
    named = [gallery.search_users(again(database), face.embedding, 1, FLOOR, comparison) for face in some[::EACH]]
    right = np.mean([match[0].row.user_id == f"user-{EACH * place}" for place, match in enumerate(named) if match])
    note("gallery: from another process' commit to found", float(np.median(seen)), "ms")
    console.print(
        f"From the commit of another process to the search that finds the face: p50 {np.median(seen):.1f} ms; "
        f"to the one that does not after its removal: {np.median(gone):.1f} ms. "
        f"{len(named)} users, each found by a face of theirs: {right:.0%}."
    )


def rivals(console: Console, database: Database, count: int, comparison: Comparison, best: list[Best]) -> None:
    """Print the recall and the time of approximate indexes, over several efforts."""
    from usearch.index import Index

    vectors = np.concatenate([comparison.rough_references(part).astype(np.float32) for part in chunks(count)])
    queries = comparison.probes(probes_of(count)).astype(np.float32)
    width = vectors.shape[1]
    table = table_of(
        f"Approximate indexes, the best 10 of {count:,} vectors", "Index", "Effort", "p50 ms", "Recall", "Build s"
    )

    def measure(name: str, built: float, effort: int, search: Callable[[Vectors], NDArray[np.int64]]) -> None:
        times, recalls = [], []
        for query, (_, numbers) in zip(queries, best, strict=True):
            found, wall, _ = measured(partial(search, query))
            times.append(wall)
            recalls.append(len(np.intersect1d(found, numbers[:10])) / 10)
        note(f"{name}, {count:,} faces, effort {effort}: p50", float(np.percentile(times, 50)), "ms")
        note(f"{name}, {count:,} faces, effort {effort}: recall", float(np.mean(recalls)))
        table.add_row(name, str(effort), f"{np.percentile(times, 50):.2f}", f"{np.mean(recalls):.4f}", f"{built:.0f}")

    efforts = (64, 400, 1000)
    faiss.omp_set_num_threads(CORES)
    index = faiss.IndexHNSWFlat(width, 32, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = 200
    built = measured(lambda: index.add(vectors))[1] / 1000
    for effort in efforts:
        index.hnsw.efSearch = effort
        measure("faiss HNSW", built, effort, lambda query: index.search(query[None], 10)[1][0])
    try:
        import hnswlib
    except ImportError:
        console.print("hnswlib, which pip compiles, is not installed: nothing is said of it.")
    else:
        second = hnswlib.Index("ip", width)
        second.init_index(count, M=32, ef_construction=200)
        built = measured(lambda: second.add_items(vectors, num_threads=CORES))[1] / 1000
        for effort in efforts:
            second.set_ef(effort)
            measure("hnswlib", built, effort, lambda query: second.knn_query(query[None], 10)[0][0].astype(np.int64))
    third = Index(ndim=width, metric="ip", dtype="f16", connectivity=32, expansion_add=200)
    built = measured(lambda: third.add(np.arange(count), vectors, threads=CORES))[1] / 1000
    for effort in efforts:
        third.expansion_search = effort
        measure("usearch", built, effort, lambda query: third.search(query, 10).keys.astype(np.int64))
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        cursor = connection.connection.cursor()
        cursor.execute("CREATE EXTENSION IF NOT EXISTS vector")
        cursor.execute(f"CREATE TABLE rival (number int, v vector({width}))")
        with cursor.copy("COPY rival FROM STDIN") as copy:
            for number, vector in enumerate(vectors):
                copy.write_row([number, "[" + ",".join(f"{value:.6g}" for value in vector) + "]"])
        cursor.execute("SET maintenance_work_mem = '1GB'")
        built = (
            measured(
                lambda: cursor.execute(
                    "CREATE INDEX ON rival USING hnsw (v vector_ip_ops) WITH (m = 16, ef_construction = 100)"
                )
            )[1]
            / 1000
        )

        def search(query: Vectors) -> NDArray[np.int64]:
            cursor.execute(
                "SELECT number FROM rival ORDER BY v <#> %s LIMIT 10", ["[" + ",".join(map(str, query)) + "]"]
            )
            return np.array([row[0] for row in cursor.fetchall()], np.int64)

        for effort in efforts:
            cursor.execute(f"SET hnsw.ef_search = {effort}")
            measure("pgvector HNSW", built, effort, search)
        cursor.execute("DROP TABLE rival")
    console.print(table)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("faces", nargs="?", type=int, default=100_000)
    parser.add_argument("--rivals", action="store_true")
    parser.add_argument("--direct", action="store_true")
    chosen = parser.parse_args(arguments)
    console, count = Console(), chosen.faces
    comparison = Comparison(Cohort.load(models.WEIGHTS / "sface" / "cohort.npz"))
    if chosen.direct:
        direct(console, count, comparison)
        return
    probes = probes_of(count)
    best = brute_force(count, probes, comparison)
    database = Database.open(Settings(home=scratch()))
    try:
        collection = fill(database, count)
        gallery = Gallery(database)
        _, wall, processor = measured(lambda: gallery.search_faces(collection, probes[0], 1, FLOOR, comparison))
        note(f"gallery, {count:,} faces: loaded", count / wall * 1000, "faces/s", least=200_000)
        console.print(
            f"From start to the end of the first search, which loads the collection: {wall / 1000:.1f} s, "
            f"{count / wall * 1000:,.0f} faces/s; {processor / 1000:.1f} s of this process' processor time."
        )

        def search(number: int, limit: int, floor: float) -> NDArray[np.int64]:
            found = gallery.search_faces(collection, probes[number], limit, floor, comparison)
            return np.array([match.row.face_id.int for match in found], np.int64)

        searches(console, count, search, best)
        codes = gallery._entries[collection.key].faces.codes
        assert codes is not None
        scans(console, codes, comparison.probes(probes))
        changes(console, database, gallery, comparison)
        if chosen.rivals:
            rivals(console, database, count, comparison, best)
    finally:
        database.close()


if __name__ == "__main__":
    main()
