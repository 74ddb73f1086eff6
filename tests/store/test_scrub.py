"""What was deleted is not in the database's files any more, whatever happened meanwhile."""

import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import sqlalchemy as sa
from numpy.typing import NDArray

from regard.settings import Settings
from regard.store import collections, deletions, faces, keys, scrub, users
from regard.store.database import Database
from regard.store.scrub import ScrubError, traces

ACCOUNT = "123456789012"
PEOPLE = 60
VICTIMS = (0, 7, 25, 59)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A data folder with a database of its own."""
    folder = tmp_path_factory.mktemp("scrub") / "home"
    yield folder
    for process in psutil.process_iter(["name", "cmdline"]):
        if process.info["name"] == "postgres" and str(folder / "postgres") in (process.info["cmdline"] or ()):
            process.terminate()


@pytest.fixture(scope="module")
def opened(home: Path) -> Iterator[Database]:
    database = Database.open(Settings(home=home))
    with database.begin() as connection:
        keys.create_account(connection, ACCOUNT)
    yield database
    database.close()


@pytest.fixture
def own(opened: Database) -> Database:
    """The database, with nobody in it and nothing to scrub."""
    with opened.begin() as connection:
        for collection in collections.every(connection, ACCOUNT):
            collections.delete(connection, collection.key)
        deletions.mark_scrubbed(connection, deletions.unscrubbed(connection))
    return opened


_random = np.random.default_rng(4)


def vectors(dimension: int) -> NDArray[np.float32]:
    drawn = _random.standard_normal((PEOPLE, dimension)).astype(np.float32)
    return np.asarray(drawn / np.linalg.norm(drawn, axis=1, keepdims=True), "<f4")


def enrol(database: Database, embeddings: NDArray[np.float32]) -> None:
    """Faces in collection c, each with a user, so that rows are moved and vectors kept twice."""
    for start in range(0, len(embeddings), 30):
        with database.begin() as connection:
            collections.create(connection, ACCOUNT, "c", "m-1")
            collection = collections.lock(connection, ACCOUNT, "c")
            assert collection is not None
            new = [
                faces.NewFace(uuid.uuid4(), uuid.uuid4(), uuid.uuid4(), f"p{start + n}", (0, 0, 1, 1), 99.0, embedding)
                for n, embedding in enumerate(embeddings[start : start + 30])
            ]
            for number, face in enumerate(faces.add(connection, collection, new)):
                user_id = f"u{start + number}"
                users.create(connection, collection, user_id)
                user = users.find(connection, collection.key, user_id)
                assert user is not None
                users.associate(connection, collection, user, [face.key])


def let_go(database: Database, numbers: tuple[int, ...] = VICTIMS) -> None:
    with database.begin() as connection:
        collection = collections.lock(connection, ACCOUNT, "c")
        assert collection is not None
        for number in numbers:
            user = users.find(connection, collection.key, f"u{number}")
            assert user is not None
            mine = faces.page(connection, collection.key, 0, 9, user_id=user.user_id)
            users.delete(connection, collection, user)
            faces.delete(connection, collection, [face.key for face in mine])
        deletions.keep(connection, uuid.uuid4(), ACCOUNT, "{}", b"")


@pytest.mark.parametrize("dimension", [128, 512, 2048], ids=["in the row", "at the edge", "in TOAST"])
def test_no_byte_of_a_deleted_face_is_left_in_any_file(home: Path, own: Database, dimension: int) -> None:
    embeddings = vectors(dimension)
    gone = [embeddings[number].tobytes() for number in VICTIMS]
    enrol(own, embeddings)
    with own.read() as connection:
        connection.exec_driver_sql("ANALYZE")
        connection.exec_driver_sql("CHECKPOINT")
    assert traces(home, gone)
    let_go(own)
    with own.read() as connection:
        connection.exec_driver_sql("VACUUM faces")
        connection.exec_driver_sql("CHECKPOINT")
        assert len(deletions.unscrubbed(connection)) == 1
    left = traces(home, gone)
    assert {file.parent.name for file in left} >= {"pg_wal"}, "what the scrub is for"
    done = scrub.scrub(own, everything=True)
    assert done.left == ()
    assert {"faces", "users", "removals", "consents"} <= done.tables.keys()
    assert traces(home, gone) == []
    assert traces(home, [embeddings[1].tobytes()]), "a search that finds nothing proves nothing"
    with own.read() as connection:
        assert deletions.unscrubbed(connection) == []
        (count,) = connection.execute(sa.text("SELECT count(*) FROM faces")).one()
        assert count == PEOPLE - len(VICTIMS)


def test_statistics_of_the_planner_hold_no_embedding(own: Database) -> None:
    enrol(own, vectors(128))
    with own.read() as connection:
        connection.exec_driver_sql("ANALYZE")
        columns = connection.execute(sa.text("SELECT attname FROM pg_stats WHERE tablename IN ('faces', 'users')"))
        assert "embedding" not in set(columns.scalars())


def test_a_scrub_waits_for_who_may_still_see_the_rows(home: Path, own: Database) -> None:
    embeddings = vectors(128)
    gone = [embeddings[number].tobytes() for number in VICTIMS]
    enrol(own, embeddings)
    with own.snapshot() as reader:
        reader.execute(sa.text("SELECT count(*) FROM faces")).one()
        let_go(own)
        running = threading.Thread(target=scrub.scrub, args=(own,), kwargs={"everything": True})
        running.start()
        running.join(1)
        assert running.is_alive()
    running.join(60)
    assert traces(home, gone) == []


def test_a_transaction_that_never_ends_is_named(own: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scrub, "_OLDER_PATIENCE_S", 0.3)
    enrol(own, vectors(128)[:30])
    with own.snapshot() as reader:
        (pid,) = reader.execute(sa.text("SELECT pg_backend_pid()")).one()
        reader.execute(sa.text("SELECT count(*) FROM faces")).one()
        let_go(own, (0, 7))
        with pytest.raises(ScrubError, match=str(pid)):
            scrub.scrub(own, everything=True)
    with own.read() as connection:
        assert len(deletions.unscrubbed(connection)) == 1
    scrub.scrub(own, everything=True)
    with own.read() as connection:
        assert deletions.unscrubbed(connection) == []


def test_one_process_scrubs_at_a_time(own: Database) -> None:
    with own.read() as connection, scrub._alone(connection), pytest.raises(ScrubError, match="another process"):
        scrub.scrub(own, everything=True)


def test_at_night_only_what_has_changed_is_rewritten(own: Database) -> None:
    enrol(own, vectors(128)[:30])
    scrub.scrub(own, everything=True)
    wait_for_counters(own)
    scrub.scrub(own, everything=False)
    assert scrub.scrub(own, everything=False).tables == {}
    let_go(own, (0, 7))
    wait_for_counters(own)
    tables = scrub.scrub(own, everything=False).tables.keys()
    assert {"faces", "users"} <= tables
    assert "consents" not in tables


def wait_for_counters(database: Database) -> None:
    """PostgreSQL's counters lag by a second at most for who is idle."""
    with database.read() as connection:
        connection.exec_driver_sql("SELECT pg_stat_force_next_flush()")
    time.sleep(1.2)


def test_segments_of_the_log_from_before_are_written_through(home: Path, own: Database) -> None:
    """An older Regard let PostgreSQL use segments again, with what was in them."""
    embeddings = vectors(128)
    gone = [embeddings[number].tobytes() for number in VICTIMS]
    with own.read() as connection:
        connection.exec_driver_sql("ALTER SYSTEM SET wal_recycle = on")
        connection.exec_driver_sql("SELECT pg_reload_conf()")
        time.sleep(0.5)
    enrol(own, embeddings)
    let_go(own)
    with own.read() as connection:
        for _ in range(2):
            connection.exec_driver_sql("SELECT pg_switch_wal()")
            connection.exec_driver_sql("CHECKPOINT")
        assert any(file.parent.name == "pg_wal" for file in traces(home, gone))
        connection.exec_driver_sql("ALTER SYSTEM SET wal_recycle = off")
        connection.exec_driver_sql("SELECT pg_reload_conf()")
        time.sleep(0.5)
    scrub.scrub(own, everything=True)
    assert traces(home, gone) == []


SCRUB = """
import sys
from pathlib import Path
from regard.settings import Settings
from regard.store import scrub
from regard.store.database import Database
database = Database.open(Settings(home=Path(sys.argv[1])))
print("ready", flush=True)
while True:
    scrub.scrub(database, everything=True)
"""


@pytest.mark.parametrize("pause", [0.02, 0.15, 0.4])
def test_killed_with_its_database_a_scrub_is_done_by_the_next(home: Path, own: Database, pause: float) -> None:
    """A killed PostgreSQL leaves files of half-written tables, which hold everybody who is let go later."""
    embeddings = vectors(128)
    gone = [embeddings[number].tobytes() for number in VICTIMS]
    enrol(own, embeddings)
    arguments = [sys.executable, "-c", SCRUB, str(home)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        time.sleep(pause)
        process.kill()
        kill_postgres(home)
    let_go(own)
    scrub.scrub(own, everything=True)
    assert traces(home, gone) == []
    with own.read() as connection:
        assert scrub._orphans(connection) == set()
        (count,) = connection.execute(sa.text("SELECT count(*) FROM faces")).one()
        assert count == PEOPLE - len(VICTIMS)


def kill_postgres(home: Path) -> None:
    first: Any = psutil.Process(int((home / "postgres" / "postmaster.pid").read_text().split()[0]))
    for process in [*first.children(), first]:
        with suppress(psutil.NoSuchProcess):
            process.kill()


def test_a_file_that_no_table_owns_is_removed_and_no_other(home: Path, own: Database) -> None:
    enrol(own, vectors(128)[:30])
    with own.read() as connection:
        path = connection.execute(sa.text("SELECT pg_relation_filepath('faces')")).scalar_one()
    orphan = (home / "postgres" / path).parent / "99999999"
    orphan.write_bytes(vectors(128)[0].tobytes())
    with own.begin() as connection:  # a table that only this transaction knows
        connection.exec_driver_sql("CREATE TABLE unborn AS SELECT 1 AS a")
        unborn = connection.execute(sa.text("SELECT pg_relation_filepath('unborn')")).scalar_one()
        thread = threading.Thread(target=scrub.scrub, args=(own,), kwargs={"everything": True})
        thread.start()
        thread.join(1)
    thread.join(60)
    assert not orphan.exists()
    assert (home / "postgres" / str(unborn)).exists()
    with own.read() as connection:
        assert connection.execute(sa.text("SELECT a FROM unborn")).scalar_one() == 1
        connection.exec_driver_sql("DROP TABLE unborn")


def test_traces_are_found_wherever_and_in_pieces(tmp_path: Path) -> None:
    secret = vectors(128)[0].tobytes()
    noise = np.random.default_rng(8).integers(0, 256, 5_000_000, np.uint8).tobytes()
    places = {
        "whole": noise[:1001] + secret + noise[1001:5000],
        "half": noise[:4096] + secret[256:] + noise[:3],
        "across two reads": noise[: (1 << 22) - 40] + secret[:80] + noise[:100],
        "at the end": noise[:77] + secret[-32:],
        "too little": noise[:100] + secret[:31] + noise[:100],
        "none": noise,
        "empty": b"",
    }
    for name, content in places.items():
        (tmp_path / name).write_bytes(content)
    found = {file.name for file in scrub.traces(tmp_path, [secret, bytes(512)])}
    assert found == {"whole", "half", "across two reads", "at the end"}
    assert scrub.traces(tmp_path, []) == []
