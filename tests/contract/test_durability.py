"""What was acknowledged is kept, whatever ends, and whenever: the server, its database, or both."""

import itertools
import os
import random
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
import sqlalchemy as sa
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, EndpointConnectionError
from sqlalchemy.engine import make_url

from regard.store.embedded import EmbeddedPostgres

WRITERS = 4
KILLS = 2
PATIENT = Config(retries={"total_max_attempts": 1}, read_timeout=60)


@dataclass
class Written:
    """What the server has acknowledged."""

    faces: dict[str, str] = field(default_factory=dict)  # FaceId: ExternalImageId
    users: set[str] = field(default_factory=set)
    associated: dict[str, str] = field(default_factory=dict)  # FaceId: UserId
    errors: set[str] = field(default_factory=set)
    unanswered: int = 0


def write(client: Any, collection: str, image: bytes, written: Written, stop: threading.Event) -> None:
    """Enrol one person after another, until told to stop or nobody answers any more."""
    while not stop.is_set():
        person = f"person-{uuid.uuid4()}"
        try:
            indexed = client.index_faces(CollectionId=collection, Image={"Bytes": image}, ExternalImageId=person)
            (face_id,) = (record["Face"]["FaceId"] for record in indexed["FaceRecords"])
            written.faces[face_id] = person
            client.create_user(CollectionId=collection, UserId=person)
            written.users.add(person)
            answer = client.associate_faces(CollectionId=collection, UserId=person, FaceIds=[face_id])
            assert answer["AssociatedFaces"] == [{"FaceId": face_id}]
            written.associated[face_id] = person
        except ClientError as error:
            written.errors.add(error.response["Error"]["Code"])
            written.unanswered += 1
        except EndpointConnectionError:
            return
        except BotoCoreError:  # the connection broke before the answer
            written.unanswered += 1
            return


@contextmanager
def writers(client: Any, collection: str, image: bytes, written: Written) -> Iterator[None]:
    """Load for the time of the block, which starts once writes succeed."""
    stop = threading.Event()
    start = len(written.associated)
    with ThreadPoolExecutor(WRITERS) as threads:
        running: list[Future[None]] = [
            threads.submit(write, client, collection, image, written, stop) for _ in range(WRITERS)
        ]
        try:
            wait_for(lambda: len(written.associated) > start or any(future.done() for future in running))
            yield
        finally:
            stop.set()
        for future in running:
            future.result()


def more_than(count: int, written: Written) -> Callable[[], bool]:
    return lambda: len(written.associated) > count


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def check(client: Any, collection: str, image: bytes, written: Written) -> None:
    """Everything acknowledged is there, nothing is there by halves, and list, count and search agree."""
    described = client.describe_collection(CollectionId=collection)
    pages = client.get_paginator("list_faces").paginate(CollectionId=collection)
    faces = {face["FaceId"]: face for page in pages for face in page["Faces"]}
    pages = client.get_paginator("list_users").paginate(CollectionId=collection)
    users = {user["UserId"]: user["UserStatus"] for page in pages for user in page["Users"]}

    assert (described["FaceCount"], described["UserCount"]) == (len(faces), len(users))
    assert written.faces.items() <= {id_: face["ExternalImageId"] for id_, face in faces.items()}.items()
    assert written.users <= users.keys()
    owners = {id_: face["UserId"] for id_, face in faces.items() if "UserId" in face}
    assert written.associated.items() <= owners.items()
    assert {user for user, status in users.items() if status == "ACTIVE"} == set(owners.values())
    # A request without an answer may have been carried out or not; more than that cannot be there.
    assert len(faces) - len(written.faces) <= written.unanswered
    assert len(users) - len(written.users) <= written.unanswered

    search = {"CollectionId": collection, "Image": {"Bytes": image}}
    matches = client.search_faces_by_image(**search, FaceMatchThreshold=0.0)["FaceMatches"]
    assert {match["Face"]["FaceId"] for match in matches} == faces.keys()
    matches = client.search_users_by_image(**search, UserMatchThreshold=0.0, MaxUsers=500)["UserMatches"]
    assert len(matches) == min(len(set(owners.values())), 500)
    assert {match["User"]["UserId"] for match in matches} <= set(owners.values())


def kill_postgres(deployment: Any, *, every: bool) -> None:
    """kill -9 of PostgreSQL's first process, or of one that serves a connection, which PostgreSQL survives."""
    first = psutil.Process(int((deployment.home / "postgres" / "postmaster.pid").read_text().split()[0]))
    if every:
        first.kill()
        return
    serving = [child for child in first.children() if "[local]" in " ".join(child.cmdline())]
    random.choice(serving).kill()


@pytest.mark.parametrize(
    ("end", "times"), [("kill the server", 3), ("kill server and database", 3), ("ask the server to end", 1)]
)
def test_acknowledged_writes_survive_the_end_of_the_server(
    deploy: Callable[..., Any], start: Callable[[Any], Any], face: bytes, end: str, times: int
) -> None:
    deployment, written = deploy(), Written()
    for time_ in range(times):
        server = start(deployment)
        assert deployment.postgres() != []
        with closing(server.client(config=PATIENT)) as client:
            if time_ == 0:
                client.create_collection(CollectionId="staff")
            else:
                check(client, "staff", face, written)
            with writers(client, "staff", face, written):
                time.sleep(random.uniform(0, 1.5))
                if end == "ask the server to end":
                    assert server.stop() == 0
                else:
                    server.kill()
                if end == "kill server and database":
                    for process in deployment.postgres():
                        process.kill()
    server = start(deployment)
    with closing(server.client(config=PATIENT)) as client:
        check(client, "staff", face, written)
    assert written.errors <= {"InternalServerError"}
    assert len(written.associated) >= times
    assert server.stop() == 0
    assert deployment.postgres() == []


@pytest.mark.parametrize("every", [True, False], ids=["the database", "one of its connections"])
def test_a_database_that_is_killed_under_load_costs_errors_and_no_data(
    deploy: Callable[..., Any], start: Callable[[Any], Any], face: bytes, every: bool
) -> None:
    deployment, written = deploy(), Written()
    server = start(deployment)
    with closing(server.client(config=PATIENT)) as client:
        client.create_collection(CollectionId="staff")
        with writers(client, "staff", face, written):
            for _ in range(KILLS):
                kill_postgres(deployment, every=every)
                wait_for(more_than(len(written.associated) + WRITERS, written))
        check(client, "staff", face, written)
    assert written.errors <= {"InternalServerError"}
    # Those that were with the database when it died; the rest waited for it.
    assert written.unanswered <= 2 * KILLS * WRITERS
    assert server.stop() == 0
    assert deployment.postgres() == []


def test_a_database_that_was_killed_while_nobody_asked_costs_no_error(
    deploy: Callable[..., Any], start: Callable[[Any], Any]
) -> None:
    deployment = deploy()
    server = start(deployment)
    with closing(server.client(config=PATIENT)) as client:
        client.create_collection(CollectionId="staff")
        kill_postgres(deployment, every=True)
        assert client.list_collections()["CollectionIds"] == ["staff"]
    assert server.stop() == 0


def test_a_database_that_was_killed_is_back_though_nobody_asks(
    deploy: Callable[..., Any], start: Callable[[Any], Any]
) -> None:
    deployment = deploy()
    server = start(deployment)
    (first,) = deployment.postgres()
    with psycopg.connect(host=str(deployment.home / "postgres"), user="postgres", autocommit=True) as connection:
        waiting = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE query LIKE 'LISTEN%')"
        wait_for(lambda: connection.execute(waiting).fetchone() == (True,))  # its worker, for jobs
    kill_postgres(deployment, every=True)
    wait_for(lambda: bool({process.pid for process in deployment.postgres()} - {first.pid}), seconds=15)
    log = deployment.home / "serve.log"
    wait_for(lambda: "the worker waits for the database" in log.read_text())
    assert server.stop() == 0
    assert "Traceback" not in log.read_text()


def test_two_servers_of_one_data_folder_are_as_one(
    deploy: Callable[..., Any], start: Callable[[Any], Any], face: bytes
) -> None:
    deployment = deploy()
    servers = [start(deployment), start(deployment)]
    search = {"CollectionId": "staff", "Image": {"Bytes": face}}
    with closing(servers[0].client()) as one, closing(servers[1].client()) as other:
        one.create_collection(CollectionId="staff")
        for number, (here, there) in enumerate(itertools.islice(itertools.cycle([(one, other), (other, one)]), 6)):
            indexed = here.index_faces(**search, ExternalImageId=f"n{number}")
            (face_id,) = (record["Face"]["FaceId"] for record in indexed["FaceRecords"])
            (match,) = there.search_faces_by_image(**search)["FaceMatches"]
            assert match["Face"]["FaceId"] == face_id
            here.create_user(CollectionId="staff", UserId=f"u{number}")
            there.associate_faces(CollectionId="staff", UserId=f"u{number}", FaceIds=[face_id])
            assert len(here.search_users_by_image(**search)["UserMatches"]) == 1
            there.delete_user(CollectionId="staff", UserId=f"u{number}")
            assert here.search_users_by_image(**search)["UserMatches"] == []
            there.delete_faces(CollectionId="staff", FaceIds=[face_id])
            assert here.search_faces_by_image(**search)["FaceMatches"] == []
        one.index_faces(**search)
        assert len(other.search_faces_by_image(**search)["FaceMatches"]) == 1
        one.delete_collection(CollectionId="staff")
        one.create_collection(CollectionId="staff")
        assert other.search_faces_by_image(**search)["FaceMatches"] == []
        one.create_collection(CollectionId="visitors")
        token = one.list_collections(MaxResults=1)["NextToken"]
        assert other.list_collections(NextToken=token)["CollectionIds"] == ["visitors"]
        other.delete_collection(CollectionId="visitors")
        assert servers[0].stop() == 0
        assert other.list_collections()["CollectionIds"] == ["staff"]
        assert servers[1].stop() == 0
    assert deployment.postgres() == []


def test_a_postgresql_of_ones_own_is_used_and_left_alone(
    deploy: Callable[..., Any], start: Callable[[Any], Any], postgres: EmbeddedPostgres, face: bytes
) -> None:
    name = f"own_{uuid.uuid4().hex}"
    url = make_url(postgres.url).set(drivername="postgresql", database=name)
    engine = sa.create_engine(postgres.url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(f'CREATE DATABASE "{name}"')
    deployment, written = deploy(REGARD_DATABASE_URL=url.render_as_string(hide_password=False)), Written()
    for _ in range(2):
        server = start(deployment)
        with closing(server.client(config=PATIENT)) as client:
            if not written.faces:
                client.create_collection(CollectionId="staff")
            with writers(client, "staff", face, written):
                pass
            check(client, "staff", face, written)
        assert server.stop() == 0
    assert written.errors == set()
    assert not (deployment.home / "postgres").exists()
    with engine.connect() as connection:
        connection.exec_driver_sql(f'DROP DATABASE "{name}"')  # refused if a connection were left
    engine.dispose()


def test_a_request_that_is_being_answered_is_finished_before_the_server_ends(
    deploy: Callable[..., Any], start: Callable[[Any], Any], photos: dict[str, Path]
) -> None:
    server = start(deploy())
    with closing(server.client(config=PATIENT)) as client, ThreadPoolExecutor(1) as thread:
        image = {"Bytes": photos["obama"].read_bytes()}
        answer = thread.submit(client.detect_faces, Image=image, Attributes=["ALL"])
        wait_for(lambda: psutil.Process(server.process.pid).net_connections("tcp4")[1:] != [])
        os.kill(server.process.pid, signal.SIGTERM)
        assert len(answer.result()["FaceDetails"]) == 1
    assert server.process.wait(60) == 0
