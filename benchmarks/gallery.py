"""Searching 100,000 faces through the gallery, against brute force over what PostgreSQL keeps.

Scores are normalised by the shipped cohort.

    python -m benchmarks.gallery [FACES]

Embeddings are generated: people with four faces each, as near to one another as faces of one person are to the
default network. Loading them is part of the measurement, enrolling them is not.
"""

import sys
import tempfile
import time
import uuid
from pathlib import Path

import numpy as np
import psutil
import sqlalchemy as sa
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from regard.gallery.gallery import Gallery
from regard.settings import Settings
from regard.store import collections, keys
from regard.store.database import Database
from regard.store.tables import faces as faces_table
from regard.vision import models
from regard.vision.cohort import Cohort, Comparison

ACCOUNT = "123456789012"
DIMENSION = 128
EACH = 4
PROBES = 200
SPREAD = 0.077  # a cosine of about 0.57 between faces of one person
THRESHOLD = 0.35


def people(faces: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Embeddings [faces, d] and probes [PROBES, d], another face of the first people each."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((faces // EACH, DIMENSION), np.float32)
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)

    def around(points: NDArray[np.float32]) -> NDArray[np.float32]:
        moved = points + np.float32(SPREAD) * rng.standard_normal(points.shape, np.float32)
        return np.asarray(moved / np.linalg.norm(moved, axis=1, keepdims=True), np.float32)

    return np.concatenate([around(centres) for _ in range(EACH)]), around(centres[:PROBES])


def fill(database: Database, vectors: NDArray[np.float32], face_ids: list[uuid.UUID]) -> collections.Collection:
    """A collection with these embeddings [n, d] under these ids."""
    with database.begin() as connection:
        keys.create_account(connection, ACCOUNT)
        collections.create(connection, ACCOUNT, "bench", "m")
        collection = collections.find(connection, ACCOUNT, "bench", lock=True)
        assert collection is not None
        version = collections.advance(connection, collection.key, faces=len(vectors))
        names = [column.name for column in faces_table.columns if column.name not in ("key", "user_key", "created_at")]
        cursor = connection.connection.cursor()
        quoted = ", ".join(f'"{name}"' for name in names)
        with cursor.copy(f"COPY faces ({quoted}) FROM STDIN") as copy:
            for face_id, vector in zip(face_ids, vectors, strict=True):
                row = {
                    "collection_key": collection.key,
                    "face_id": face_id,
                    "image_id": uuid.uuid4(),
                    "left": 0.1,
                    "top": 0.1,
                    "width": 0.2,
                    "height": 0.2,
                    "confidence": 99.0,
                    "embedding": vector.tobytes(),
                    "version": version,
                }
                copy.write_row([row.get(name) for name in names])
        found = collections.find(connection, ACCOUNT, "bench")
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.text("ANALYZE faces"))
    assert found is not None
    return found


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    vectors, probes = people(count)
    comparison = Comparison(Cohort.load(models.WEIGHTS / "sface" / "cohort.npz"))
    exact = comparison.references(vectors)
    face_ids = [uuid.uuid4() for _ in vectors]
    names = np.array([face_id.hex for face_id in face_ids])
    with tempfile.TemporaryDirectory(prefix="regard-") as home:
        database = Database.open(Settings(home=Path(home)))
        collection = fill(database, vectors, face_ids)
        gallery = Gallery(database)
        memory = psutil.Process().memory_info().rss
        started = time.perf_counter()
        gallery.search_faces(collection, probes[0], 1, THRESHOLD, comparison)
        first = time.perf_counter() - started
        memory = psutil.Process().memory_info().rss - memory
        table = Table(title=f"{count} faces of {DIMENSION} dimensions")
        for column in ("Matches asked for", "p50 ms", "p95 ms", "Recall against brute force", "Same order"):
            table.add_column(column, justify="right")
        for limit, floor in ((1, THRESHOLD), (10, THRESHOLD), (100, -np.inf), (4096, -np.inf)):
            times, recalls, ordered = [], [], []
            for probe in probes:
                started = time.perf_counter()
                matches = gallery.search_faces(collection, probe, limit, floor, comparison)
                times.append((time.perf_counter() - started) * 1000)
                scores = np.round(exact @ comparison.probes(probe[None])[0], 9)
                near = np.flatnonzero(scores >= floor)
                best = near[np.lexsort((names[near], -scores[near]))][:limit]
                expected = [face_ids[number] for number in best]
                found = [match.row.face_id for match in matches]
                recalls.append(len(set(found) & set(expected)) / max(1, len(expected)))
                ordered.append(found == expected)
            table.add_row(
                str(limit),
                f"{np.percentile(times, 50):.2f}",
                f"{np.percentile(times, 95):.2f}",
                f"{np.mean(recalls):.4f}",
                f"{np.mean(ordered):.0%}",
            )
        console = Console()
        console.print(table)
        console.print(
            f"First search, which loads the collection: {first:.2f} s. "
            f"Codes and keys take {gallery.nbytes(collection) / count:.0f} bytes per face; "
            f"the process grew by {memory / count:.0f}."
        )
        database.close()


if __name__ == "__main__":
    main()
