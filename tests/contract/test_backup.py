"""A backup made while a server answers, and brought back into an empty deployment."""

import base64
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from regard.store.embedded import EmbeddedPostgres

TABLES = ("accounts", "access_keys", "collections", "faces", "users", "consents", "deletions", "policies")


def regard(environment: dict[str, str], *arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "regard", *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def rows(home: Path, table: str) -> list[Any]:
    """All of a table, from a database that runs."""
    lines = (home / "postgres" / "postmaster.pid").read_text().splitlines()
    with psycopg.connect(host=lines[4], user="postgres", dbname="postgres") as connection:
        return connection.execute(f"SELECT * FROM {table} ORDER BY 1, 2").fetchall()  # noqa: S608


@dataclass(frozen=True)
class Made:
    """A backup, what was in the database then, and the receipts of what was deleted afterwards."""

    deployment: Any
    file: Path
    passphrase: Path
    kept: dict[str, list[Any]]
    face_id: str
    receipts: Path

    def home(self, folder: Path, *, master_key: bool = True) -> dict[str, str]:
        """The environment of an empty data folder."""
        if master_key:
            shutil.copy(self.deployment.home / "master.key", folder / "master.key")
        return os.environ | {"REGARD_HOME": str(folder)}

    def restore(self, environment: dict[str, str], *arguments: str | Path) -> "subprocess.CompletedProcess[str]":
        return regard(environment, "restore", self.file, "--passphrase-file", self.passphrase, *arguments)


@pytest.fixture(scope="module")
def made(deploy: Callable[..., Any], face: bytes, tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder, deployment = tmp_path_factory.mktemp("backup"), deploy(REGARD_WORKERS="0")
    (folder / "passphrase").write_text("correct horse battery staple\n")
    key = base64.b64encode((deployment.home / "master.key").read_bytes()).decode()
    (deployment.home / "regard.env").write_text(f"REGARD_LOG_LEVEL=DEBUG\nREGARD_MASTER_KEY={key}\n")
    server = deployment.start()
    with closing(server.client()) as client:
        client.create_collection(CollectionId="staff")
        indexed = client.index_faces(CollectionId="staff", Image={"Bytes": face}, ExternalImageId="ann-of-the-backup")
        face_id = indexed["FaceRecords"][0]["Face"]["FaceId"]
        client.create_user(CollectionId="staff", UserId="ann-of-the-backup")
        client.associate_faces(CollectionId="staff", UserId="ann-of-the-backup", FaceIds=[face_id])
        done = regard(deployment.environment, "backup", folder / "backup", "--passphrase-file", folder / "passphrase")
        assert done.returncode == 0, done.stderr
        assert "is NOT in it" in done.stdout
        kept = {table: rows(deployment.home, table) for table in TABLES}
        client.disassociate_faces(CollectionId="staff", UserId="ann-of-the-backup", FaceIds=[face_id])
        client.delete_faces(CollectionId="staff", FaceIds=[face_id])
        (folder / "receipts").write_text(deployment.regard("retention", "receipts"))
    assert server.stop() == 0
    return Made(deployment, folder / "backup", folder / "passphrase", kept, face_id, folder / "receipts")


def test_a_backup_is_for_nobody_else(made: Made) -> None:
    content = made.file.read_bytes()
    assert made.file.stat().st_mode & 0o777 == 0o600
    for secret in (b"PGDMP", b"staff", b"ann-of-the-backup", (made.deployment.home / "master.key").read_bytes()):
        assert secret not in content


def test_what_is_not_whole_and_what_lacks_its_key_is_refused_before_anything_is_written(
    made: Made, tmp_path: Path
) -> None:
    refused = made.restore(made.home(tmp_path, master_key=False))
    assert refused.returncode == 1
    assert "is not in the backup: put your copy of it at" in refused.stderr
    cut = tmp_path / "cut"
    cut.write_bytes(made.file.read_bytes()[:-1])
    refused = replace(made, file=cut).restore(made.home(tmp_path))
    assert refused.returncode == 1
    assert "the file is not whole" in refused.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cut", "master.key"]


def test_a_backup_brings_back_what_was_there(made: Made, face: bytes, tmp_path: Path) -> None:
    there = made.home(tmp_path)
    done = made.restore(there)
    assert done.returncode == 0, done.stderr
    assert "Whoever was erased after that is here again" in done.stdout
    assert (tmp_path / "regard.env.restored").read_text() == "REGARD_LOG_LEVEL=DEBUG\n"
    server = replace(made.deployment, home=tmp_path, environment=there).start()
    with closing(server.client()) as client:
        assert {table: rows(tmp_path, table) for table in TABLES} == made.kept
        assert client.list_faces(CollectionId="staff")["Faces"][0]["FaceId"] == made.face_id
        search = {"CollectionId": "staff", "Image": {"Bytes": face}}
        assert len(client.search_faces_by_image(**search)["FaceMatches"]) == 1
        operations = [json.loads(bytes(row[1])).get("op") for row in rows(tmp_path, "audit_records")]
        assert {"Backup", "Restore"} <= set(operations)
        verified = regard(there, "audit", "verify")
        assert verified.returncode == 0, verified.stdout + verified.stderr
        assert "there is a deployment here already" in made.restore(there).stderr
    assert server.stop() == 0


def test_who_was_erased_since_is_erased_again(made: Made, tmp_path: Path) -> None:
    done = made.restore(made.home(tmp_path), "--reapply-deletions", made.receipts)
    assert done.returncode == 0, done.stderr
    assert "1 faces that had been deleted after that are deleted again." in done.stdout
    postgres = EmbeddedPostgres(tmp_path / "postgres")
    assert rows(tmp_path, "faces") == rows(tmp_path, "users") == []  # who is left without a face goes, too
    assert len(rows(tmp_path, "deletions")) == len(made.kept["deletions"]) + 1
    assert postgres.url
