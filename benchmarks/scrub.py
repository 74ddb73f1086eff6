"""How long a table is locked while what was deleted leaves its files.

    python -m benchmarks.scrub [FACES]

A collection of FACES (100,000) faces of 128 numbers is written; one is deleted, and everything is scrubbed.
"""

import sys
import time
import uuid

import numpy as np
from rich.console import Console

from benchmarks.scratch import scratch
from regard.settings import Settings
from regard.store import collections, keys
from regard.store.database import Database, raw
from regard.store.scrub import scrub

_COLUMNS = 'collection_key, face_id, image_id, embedding, version, confidence, "left", top, width, height'


def fill(database: Database, count: int) -> None:
    with database.begin() as connection:
        keys.create_account(connection, "123456789012", "", "", None)
        collections.create(connection, "123456789012", "staff", "m")
        found = collections.find(raw(connection), "123456789012", "staff")
        assert found is not None
        cursor = raw(connection).cursor()
        chance = np.random.default_rng(0)
        with cursor.copy(f"COPY faces ({_COLUMNS}) FROM STDIN") as copy:
            for _ in range(count):
                embedding = chance.standard_normal(128, np.float32).tobytes()
                copy.write_row((found.key, uuid.uuid4(), uuid.uuid4(), embedding, 1, 99.0, 0.1, 0.1, 0.2, 0.2))


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    database = Database.open(Settings(home=scratch()))
    fill(database, count)
    with database.begin() as connection:
        connection.exec_driver_sql("DELETE FROM faces WHERE key = (SELECT min(key) FROM faces)")
    started = time.perf_counter()
    scrubbed = scrub(database, everything=True)
    whole = time.perf_counter() - started
    Console().print(
        f"{count:,} faces: the table is locked for {scrubbed.tables['faces']:.1f} s; the scrub took {whole:.1f} s."
    )
    database.close()


if __name__ == "__main__":
    main()
